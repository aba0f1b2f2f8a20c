//! What was read from the XML of each domain, for as long as libvirt gives the same text: to parse it costs more than the
//! rest of a look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{DomainRecord, Element, Facts, XmlError};

/// The XML of a domain, as libvirt gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainXml {
    pub uuid: Uuid,
    pub name: String,
    /// What the next start runs.
    pub definition: String,
    /// What runs now.
    pub live: Option<String>,
    /// See [`DomainSeen::persistent`](super::DomainSeen::persistent).
    pub persistent: bool,
}

/// What stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainFacts {
    pub owner: Option<DomainRecord>,
    pub live: Option<Facts>,
    pub next: Facts,
    /// The definition with the record that counts.
    pub definition: String,
}

/// The last XML of each domain with its facts. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ParsedDomains(Arc<Mutex<HashMap<Uuid, (DomainXml, DomainFacts)>>>);

impl ParsedDomains {
    /// Reads the XML, or gives what was read from the very same.
    ///
    /// # Errors
    /// When it is not a domain's.
    pub fn read(&self, xml: DomainXml) -> Result<DomainFacts, XmlError> {
        if let Some((last, facts)) = self.lock().get(&xml.uuid)
            && *last == xml
        {
            return Ok(facts.clone());
        }
        let facts = DomainFacts::parse(&xml)?;
        self.lock().insert(xml.uuid, (xml, facts.clone()));
        Ok(facts)
    }

    /// There is no such domain any more.
    pub fn forget(&self, uuid: Uuid) {
        self.lock().remove(&uuid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, (DomainXml, DomainFacts)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DomainFacts {
    fn parse(xml: &DomainXml) -> Result<Self, XmlError> {
        let DomainXml { uuid, name, definition, live, persistent } = xml;
        let facts = |xml: &str| Element::parse(xml).and_then(|tree| Ok((Facts::read(&tree)?, tree)));
        let (next, mut tree) = facts(definition)?;
        let live = live.as_deref().map(facts).transpose()?;
        let mut definition = definition.clone();
        // A domain that was undefined while it runs has its record in what runs alone; the rest may be of before.
        if let (false, Some(metadata)) = (persistent, live.as_ref().and_then(|(_, tree)| tree.find("metadata"))) {
            tree.put(metadata.clone());
            definition = tree.to_xml();
        }
        let owner = tree.find("metadata").and_then(|metadata| DomainRecord::from_metadata(metadata, *uuid, name));
        Ok(Self { owner, live: live.map(|(facts, _)| facts), next, definition })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(vcpus: u32) -> DomainXml {
        let definition = format!(
            "<domain type='qemu'><name>a</name><memory unit='KiB'>1024</memory><vcpu>{vcpus}</vcpu>\
             <os><type machine='q35'>hvm</type></os><devices/></domain>"
        );
        DomainXml { uuid: Uuid::from_u128(7), name: "a".into(), definition, live: None, persistent: true }
    }

    #[test]
    fn another_text_is_read_again_and_what_cannot_be_read_is_no_answer_of_before() {
        let parsed = ParsedDomains::default();
        let read = |xml: DomainXml| parsed.read(xml).map(|facts| (facts.next.vcpus, facts.live.map(|live| live.vcpus)));
        assert_eq!(read(xml(1)).unwrap(), (1, None));
        assert_eq!(read(xml(1)).unwrap(), (1, None));
        assert_eq!(read(xml(2)).unwrap(), (2, None));
        let running = DomainXml { live: Some(xml(3).definition), ..xml(2) };
        assert_eq!(read(running).unwrap(), (2, Some(3)));
        assert!(read(DomainXml { definition: "<domain>".into(), ..xml(2) }).is_err());
        assert_eq!(read(xml(2)).unwrap(), (2, None));
        parsed.forget(Uuid::from_u128(7));
        assert!(parsed.lock().is_empty());
    }
}
