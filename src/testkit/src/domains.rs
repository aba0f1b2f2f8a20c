//! Domains without libvirt: what an agent is tested against, and what a simulated host runs.
//!
//! It keeps definitions as libvirt does (text, with the machine type resolved), so that what is merged into them is
//! tested too. A guest here boots at once, and powers off at once when its button is pressed, unless it is deaf.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nubium_host::libvirt::{
    DomainFacts, DomainList, DomainRecord, DomainSeen, DomainState, DomainXml, Domains, Element, Facts, LibvirtError,
    METADATA_URI, Off, ParsedDomains, Pause, PoolError, Unreadable, XmlError,
};
use uuid::Uuid;

/// A method that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainVerb {
    List,
    Look,
    Named,
    Define,
    Start,
    Resume,
    Shutdown,
    Destroy,
    Undefine,
    SetOwner,
}

#[derive(Debug, Clone)]
struct SimDomain {
    name: String,
    definition: String,
    /// The definition that the running guest was started with.
    live: Option<String>,
    state: DomainState,
    persistent: bool,
    readable: bool,
    console_lost: bool,
    starts: u32,
}

#[derive(Debug, Default)]
struct State {
    domains: BTreeMap<Uuid, SimDomain>,
    failures: VecDeque<DomainVerb>,
    deaf: bool,
    parsed: ParsedDomains,
}

/// One simulated libvirt. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimDomains {
    state: Arc<Mutex<State>>,
}

impl SimDomains {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next call of that verb fails, and does nothing.
    pub fn fail(&self, verb: DomainVerb) {
        self.lock().failures.push_back(verb);
    }

    /// Guests do not hear their power button from now on, or do again.
    pub fn set_deaf(&self, deaf: bool) {
        self.lock().deaf = deaf;
    }

    /// Puts a domain into a state, as the world does without asking.
    pub fn set_state(&self, uuid: Uuid, state: DomainState) {
        if let Some(domain) = self.lock().domains.get_mut(&uuid) {
            domain.state = state;
            match state {
                DomainState::Off(_) => domain.live = None,
                _ => domain.live = domain.live.take().or_else(|| Some(domain.definition.clone())),
            }
        }
        self.lock().forget_transient();
    }

    /// Somebody undefines the domain: one that is off is gone, one that runs is gone when it ends.
    pub fn undefine_behind_our_back(&self, uuid: Uuid) {
        let mut state = self.lock();
        match state.domains.get_mut(&uuid) {
            Some(domain) if domain.is_active() => domain.persistent = false,
            _ => drop(state.domains.remove(&uuid)),
        }
    }

    /// Nobody can read the domain from now on.
    pub fn spoil(&self, uuid: Uuid) {
        if let Some(domain) = self.lock().domains.get_mut(&uuid) {
            domain.readable = false;
        }
    }

    /// What writes the consoles' logs ends, and is started again: guests that run are no longer heard.
    pub fn lose_consoles(&self) {
        for domain in self.lock().domains.values_mut() {
            domain.console_lost = domain.is_active();
        }
    }

    /// libvirtd is restarted: guests go on, and why the others are off is forgotten.
    pub fn restart_libvirtd(&self) {
        for domain in self.lock().domains.values_mut() {
            if let DomainState::Off(_) = domain.state {
                domain.state = DomainState::Off(Off::Unknown);
            }
        }
    }

    /// How many times the guest was started from its first instruction.
    #[must_use]
    pub fn starts(&self, uuid: Uuid) -> u32 {
        self.lock().domains.get(&uuid).map_or(0, |domain| domain.starts)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, verb: DomainVerb, what: &'static str) -> Result<MutexGuard<'_, State>, LibvirtError> {
        let mut state = self.lock();
        match state.failures.iter().position(|failing| *failing == verb).and_then(|at| state.failures.remove(at)) {
            Some(_) => Err(LibvirtError::NoAnswer { what, source: PoolError::Late(Duration::from_secs(30)) }),
            None => Ok(state),
        }
    }

    fn on(
        &self,
        verb: DomainVerb,
        what: &'static str,
        uuid: Uuid,
        act: impl FnOnce(&mut SimDomain, bool),
    ) -> Result<(), LibvirtError> {
        let mut state = self.begin(verb, what)?;
        let deaf = state.deaf;
        act(state.domains.get_mut(&uuid).ok_or(LibvirtError::Gone { uuid })?, deaf);
        state.forget_transient();
        Ok(())
    }
}

impl State {
    /// A domain that is not persistent is gone when its guest has ended.
    fn forget_transient(&mut self) {
        self.domains.retain(|_, domain| domain.persistent || domain.is_active());
    }
}

impl SimDomain {
    fn is_active(&self) -> bool {
        !matches!(self.state, DomainState::Off(_))
    }

    fn end(&mut self, off: Off) {
        if self.is_active() {
            self.state = DomainState::Off(off);
            self.live = None;
        }
    }

    fn seen(&self, uuid: Uuid, parsed: &ParsedDomains) -> Result<DomainSeen, LibvirtError> {
        if !self.readable {
            return Err(LibvirtError::Xml(XmlError::Shape("spoilt by the test")));
        }
        // Its record is always in its definition.
        let (name, definition, live) = (self.name.clone(), self.definition.clone(), self.live.clone());
        let xml = DomainXml { uuid, name, definition, live, persistent: true };
        let DomainFacts { owner, live, next, definition } = parsed.read(xml).map_err(LibvirtError::Xml)?;
        Ok(DomainSeen {
            uuid,
            name: self.name.clone(),
            state: self.state,
            owner,
            live,
            next,
            definition,
            persistent: self.persistent,
            console_lost: self.console_lost && self.live.is_some(),
        })
    }
}

impl Domains for SimDomains {
    async fn list(&self) -> Result<DomainList, LibvirtError> {
        let state = self.begin(DomainVerb::List, "list the domains")?;
        let mut list = DomainList::default();
        for (uuid, domain) in &state.domains {
            match domain.seen(*uuid, &state.parsed) {
                Ok(seen) => list.seen.push(seen),
                Err(why) => {
                    let (uuid, name, active) = (*uuid, domain.name.clone(), domain.is_active());
                    list.unreadable.push(Unreadable { uuid, name, ours: true, active, why });
                }
            }
        }
        Ok(list)
    }

    async fn look(&self, uuid: Uuid) -> Result<Option<DomainSeen>, LibvirtError> {
        let state = self.begin(DomainVerb::Look, "look at a domain")?;
        state.domains.get(&uuid).map(|domain| domain.seen(uuid, &state.parsed)).transpose()
    }

    async fn named(&self, name: String) -> Result<Option<Uuid>, LibvirtError> {
        let state = self.begin(DomainVerb::Named, "look for a domain's name")?;
        Ok(state.domains.iter().find(|(_, domain)| domain.name == name).map(|(uuid, _)| *uuid))
    }

    async fn define(&self, xml: String) -> Result<(), LibvirtError> {
        let mut state = self.begin(DomainVerb::Define, "define the domain")?;
        let refuse = |why| LibvirtError::Xml(XmlError::Shape(why));
        let mut tree = Element::parse(&xml).map_err(LibvirtError::Xml)?;
        Facts::read(&tree).map_err(LibvirtError::Xml)?;
        let name = tree.find("name").map(|name| name.text.clone()).unwrap_or_default();
        let uuid: Uuid = tree.find("uuid").and_then(|uuid| uuid.text.parse().ok()).ok_or(refuse("no uuid"))?;
        if state.domains.iter().any(|(other, domain)| *other != uuid && domain.name == name) {
            return Err(refuse("another domain has that name"));
        }
        let machine = tree.entry("os").entry("type");
        if machine.get("machine") == Some("q35") {
            machine.set("machine", "pc-q35-7.2");
        }
        let definition = tree.to_xml();
        match state.domains.get_mut(&uuid) {
            Some(there) => {
                there.definition = definition;
                there.persistent = true;
            }
            None => {
                let new = SimDomain {
                    name,
                    definition,
                    live: None,
                    state: DomainState::Off(Off::Unknown),
                    persistent: true,
                    readable: true,
                    console_lost: false,
                    starts: 0,
                };
                state.domains.insert(uuid, new);
            }
        }
        Ok(())
    }

    async fn start_paused(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        self.on(DomainVerb::Start, "start the domain", uuid, |domain, _| {
            if !domain.is_active() {
                domain.state = DomainState::Paused(Pause::Asked);
                domain.live = Some(domain.definition.clone());
                domain.console_lost = false;
                domain.starts += 1;
            }
        })
    }

    async fn resume(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        self.on(DomainVerb::Resume, "resume the domain", uuid, |domain, _| {
            if domain.is_active() {
                domain.state = DomainState::Running;
            }
        })
    }

    async fn shutdown(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        self.on(DomainVerb::Shutdown, "ask the guest to power off", uuid, |domain, deaf| {
            if !deaf && matches!(domain.state, DomainState::Running | DomainState::Stopping) {
                domain.end(Off::Guest);
            }
        })
    }

    async fn destroy(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        self.on(DomainVerb::Destroy, "destroy the domain", uuid, |domain, _| domain.end(Off::Destroyed))
    }

    async fn undefine(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        let mut state = self.begin(DomainVerb::Undefine, "undefine the domain")?;
        if state.domains.get(&uuid).is_some_and(|domain| !domain.is_active()) {
            state.domains.remove(&uuid);
        }
        Ok(())
    }

    async fn set_owner(&self, owner: DomainRecord) -> Result<(), LibvirtError> {
        let mut record = owner.to_element("nubium:server");
        record.attributes.insert(0, ("xmlns:nubium".into(), METADATA_URI.into()));
        self.on(DomainVerb::SetOwner, "write the domain's record", owner.uid, |domain, _| {
            if let Ok(mut tree) = Element::parse(&domain.definition) {
                tree.entry("metadata").put(record);
                domain.definition = tree.to_xml();
            }
        })
    }
}
