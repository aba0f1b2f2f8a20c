//! Whose a domain is: the record in its libvirt metadata. The name is for people; this is what counts.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::xml::{Element, XmlError};

/// The XML namespace of our record.
pub const METADATA_URI: &str = "https://nubium.dev/libvirt/1";
/// The prefix libvirt is asked to write it with.
pub const METADATA_KEY: &str = "nubium";

/// The record: the Server that a domain is, and what its agent must remember about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRecord {
    pub namespace: String,
    pub name: String,
    /// The Server's UID, and the domain's UUID.
    pub uid: Uuid,
    /// The generation of the Server that the domain was last made from.
    pub generation: i64,
    /// The `restartedAt` that the running guest was started under.
    pub restarted_at: Option<String>,
    pub stop: Option<Stop>,
    /// The taps it was given, and the network namespace each was moved to: what has to go when the domain goes.
    pub taps: BTreeMap<String, String>,
}

/// Who stopped, or is stopping, the guest. libvirtd forgets over its own restart, so it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// We asked it to. Both are Unix times in seconds.
    Asked {
        /// When we first did: its deadline counts from there.
        at: i64,
        /// When its power button was last pressed.
        pressed: i64,
    },
    /// It was stopped because the Server is wished so.
    Wished,
    /// The guest powered itself off while it was wished to run: it stays off.
    Guest,
}

impl DomainRecord {
    /// The domain's name, as people see it in `virsh list`.
    #[must_use]
    pub fn domain_name(&self) -> String {
        format!("nubium.{}.{}", self.namespace, self.name)
    }

    /// The element that [`virDomainSetMetadata`] takes: without a prefix, which libvirt adds.
    #[must_use]
    pub fn to_element(&self, name: &str) -> Element {
        let DomainRecord { namespace, name: server, uid, generation, restarted_at, stop, taps } = self;
        let mut element = Element::new(name)
            .with("namespace", namespace)
            .with("name", server)
            .with("uid", uid)
            .with("generation", generation);
        if let Some(at) = restarted_at {
            element.set("restartedAt", at);
        }
        match stop {
            None => {}
            Some(Stop::Asked { at, pressed }) => {
                element.set("stop", "asked");
                element.set("stopAskedAt", at);
                element.set("stopPressedAt", pressed);
            }
            Some(Stop::Wished) => element.set("stop", "wished"),
            Some(Stop::Guest) => element.set("stop", "guest"),
        }
        // libvirt puts what it is given whole into our XML namespace; what we write ourselves looks the same.
        let tap_name = if name.contains(':') { "nubium:tap" } else { "tap" };
        for (tap, netns) in taps {
            element.children.push(Element::new(tap_name).with("name", tap).with("netns", netns));
        }
        element
    }

    /// Reads the record from a domain's `<metadata>`. `None`: it is not ours.
    ///
    /// # Errors
    /// When it is ours and cannot be understood: such a domain is to be left alone and reported.
    pub fn from_metadata(metadata: &Element) -> Result<Option<Self>, XmlError> {
        let ours = |element: &&Element| {
            element.attributes.iter().any(|(name, value)| name.starts_with("xmlns") && value == METADATA_URI)
        };
        let Some(element) = metadata.children.iter().find(ours) else { return Ok(None) };
        let get = |name| element.get(name).ok_or(XmlError::Shape("our record lacks an attribute"));
        let number = |text: &str| text.parse().map_err(|_| XmlError::Shape("our record holds a wrong number"));
        let stop = match element.get("stop") {
            Some("asked") => {
                let at = number(get("stopAskedAt")?)?;
                // An earlier Nubium did not write it down.
                let pressed = element.get("stopPressedAt").map_or(Ok(at), number)?;
                Some(Stop::Asked { at, pressed })
            }
            Some("wished") => Some(Stop::Wished),
            Some("guest") => Some(Stop::Guest),
            Some(_) | None => None,
        };
        let taps =
            element.children.iter().filter(|child| ["tap", "nubium:tap"].contains(&child.name.as_str())).map(|tap| {
                let get = |name| {
                    tap.get(name).map(str::to_owned).ok_or(XmlError::Shape("our record of a tap lacks an attribute"))
                };
                Ok((get("name")?, get("netns")?))
            });
        Ok(Some(Self {
            namespace: get("namespace")?.to_owned(),
            name: get("name")?.to_owned(),
            uid: get("uid")?.parse().map_err(|_| XmlError::Shape("our record holds a wrong uid"))?,
            generation: number(get("generation")?)?,
            restarted_at: element.get("restartedAt").map(str::to_owned),
            stop,
            taps: taps.collect::<Result<_, _>>()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let asked = Stop::Asked { at: 1_800_000_000, pressed: 1_800_000_005 };
        for stop in [None, Some(asked), Some(Stop::Wished), Some(Stop::Guest)] {
            let owner = DomainRecord {
                namespace: "shop".into(),
                name: "web-1".into(),
                uid: Uuid::from_u128(7),
                generation: 3,
                restarted_at: Some("2026-11-21T01:00:00Z".into()),
                stop,
                taps: BTreeMap::from([("nub1".into(), "nubium.shop.blue".into())]),
            };
            let written = owner.to_element("nubium:server").with("xmlns:nubium", METADATA_URI);
            let metadata = Element::new("metadata").child(Element::new("other:x")).child(written);
            assert_eq!(DomainRecord::from_metadata(&metadata).unwrap(), Some(owner));
        }
    }

    #[test]
    fn another_program_s_metadata_is_not_ours() {
        let metadata =
            Element::parse("<metadata><n:server xmlns:n='https://example.org' uid='x'/></metadata>").unwrap();
        assert_eq!(DomainRecord::from_metadata(&metadata).unwrap(), None);
    }
}
