//! Whose a domain is: the record in its libvirt metadata. The name is for people; this is what counts.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::xml::Element;

/// The XML namespace of our record.
pub const METADATA_URI: &str = "https://nubium.dev/libvirt/1";
/// The prefix libvirt is asked to write it with.
pub const METADATA_KEY: &str = "nubium";
/// [`Stop::Desired`] in the record, as all releases have written it.
const DESIRED: &str = "wished";

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
    /// We asked it to. Both are seconds since the machine was booted; one that is still to come is of an earlier boot, or
    /// a Unix time of an earlier release.
    Asked {
        /// When we first did: its deadline counts from there.
        at: i64,
        /// When its power button was last pressed.
        pressed: i64,
    },
    /// It was stopped because the Server's spec says so.
    Desired,
    /// The guest powered itself off while it was to run: it stays off.
    Guest,
}

/// The name of a Server's domain, as people see it in `virsh list`.
#[must_use]
pub fn domain_name(namespace: &str, server: &str) -> String {
    format!("nubium.{namespace}.{server}")
}

impl DomainRecord {
    /// The domain's name, as people see it in `virsh list`.
    #[must_use]
    pub fn domain_name(&self) -> String {
        domain_name(&self.namespace, &self.name)
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
            Some(Stop::Desired) => element.set("stop", DESIRED),
            Some(Stop::Guest) => element.set("stop", "guest"),
        }
        // libvirt puts what it is given whole into our XML namespace; what we write ourselves looks the same.
        let tap_name = if name.contains(':') { "nubium:tap" } else { "tap" };
        for (tap, netns) in taps {
            element.children.push(Element::new(tap_name).with("name", tap).with("netns", netns));
        }
        element
    }

    /// Reads the record from the `<metadata>` of the domain with that UUID and name. `None`: it is not ours.
    ///
    /// Each field is read by itself: a damaged one counts as never written (of an older generation than any Server's, so
    /// that the next pass writes it again), and keeps nobody from stopping or deleting the guest.
    #[must_use]
    pub fn from_metadata(metadata: &Element, uuid: Uuid, domain_name: &str) -> Option<Self> {
        let ours = |element: &&Element| {
            element.attributes.iter().any(|(name, value)| name.starts_with("xmlns") && value == METADATA_URI)
        };
        let element = metadata.children.iter().find(ours)?;
        let mut named = domain_name.splitn(3, '.').skip(1);
        let mut text = |attribute| element.get(attribute).or(named.next()).unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let number = |attribute| element.get(attribute).and_then(|text| text.parse().ok());
        let stop = match element.get("stop") {
            Some("asked") => {
                let at = number("stopAskedAt").unwrap_or_default();
                // An earlier Nubium did not write it down.
                let pressed = number("stopPressedAt").unwrap_or(at);
                Some(Stop::Asked { at, pressed })
            }
            Some(DESIRED) => Some(Stop::Desired),
            Some("guest") => Some(Stop::Guest),
            Some(_) | None => None,
        };
        let taps = element.children.iter().filter(|child| ["tap", "nubium:tap"].contains(&child.name.as_str()));
        Some(Self {
            namespace,
            name,
            uid: element.get("uid").and_then(|uid| uid.parse().ok()).unwrap_or(uuid),
            generation: number("generation").unwrap_or_default(),
            restarted_at: element.get("restartedAt").map(str::to_owned),
            stop,
            taps: taps.filter_map(|tap| Some((tap.get("name")?.to_owned(), tap.get("netns")?.to_owned()))).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let asked = Stop::Asked { at: 1_800_000_000, pressed: 1_800_000_005 };
        for stop in [None, Some(asked), Some(Stop::Desired), Some(Stop::Guest)] {
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
            assert_eq!(DomainRecord::from_metadata(&metadata, owner.uid, &owner.domain_name()), Some(owner));
        }
    }

    #[test]
    fn another_program_s_metadata_is_not_ours() {
        let metadata =
            Element::parse("<metadata><n:server xmlns:n='https://example.org' uid='x'/></metadata>").unwrap();
        assert_eq!(DomainRecord::from_metadata(&metadata, Uuid::nil(), "nubium.shop.web-1"), None);
    }

    #[test]
    fn a_damaged_field_spoils_no_other() {
        let whole = DomainRecord {
            namespace: "shop".into(),
            name: "web-1".into(),
            uid: Uuid::from_u128(7),
            generation: 3,
            restarted_at: Some("2026-11-21T01:00:00Z".into()),
            stop: Some(Stop::Asked { at: 5, pressed: 6 }),
            taps: BTreeMap::from([("nub1".into(), "nubium.shop.blue".into())]),
        };
        let element = whole.to_element("nubium:server").with("xmlns:nubium", METADATA_URI);
        for attribute in
            ["namespace", "name", "uid", "generation", "restartedAt", "stop", "stopAskedAt", "stopPressedAt"]
        {
            for damage in [Some("?"), None] {
                let mut damaged = element.clone();
                damaged.attributes.retain(|(name, _)| name != attribute || damage.is_some());
                if let Some(text) = damage {
                    damaged.set(attribute, text);
                }
                let metadata = Element::new("metadata").child(damaged);
                let case = format!("{attribute} {damage:?}");
                let read = DomainRecord::from_metadata(&metadata, whole.uid, &whole.domain_name()).expect(&case);
                assert_eq!((read.uid, &read.taps), (whole.uid, &whole.taps), "{case}");
                let expected = if attribute == "generation" { 0 } else { whole.generation };
                assert_eq!(read.generation, expected, "{case}");
            }
        }
    }
}
