//! [`Domains`] by a real libvirt.

use std::fs;
use std::io::ErrorKind;
use std::os::raw::{c_int, c_uint};
use std::path::Path;

use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::enumutil::Enum;
use virt::error::{Error, ErrorNumber};
use virt::sys;

use super::connection::call;
use super::events::HostShutdowns;
use super::files::Files;
use super::{
    Connection, DomainFacts, DomainList, DomainRecord, DomainSeen, DomainState, DomainXml, Domains, LibvirtError,
    METADATA_KEY, METADATA_URI, Off, ParsedDomains, Pause, Unreadable,
};

impl Domains for Connection {
    async fn list(&self) -> Result<DomainList, LibvirtError> {
        let looker = self.looker();
        self.with("list the domains", move |connect| {
            let mut list = DomainList::default();
            for domain in connect.list_all_domains(0).map_err(call("list the domains"))? {
                match looker.look(&domain) {
                    Ok(seen) => list.seen.extend(seen),
                    // Without a connection nothing is known of any of them.
                    Err(error) if !connect.is_alive().unwrap_or(false) => return Err(error),
                    Err(why) => list.unreadable.push(unreadable(&domain, why)?),
                }
            }
            Ok(list)
        })
        .await
    }

    async fn look(&self, uuid: Uuid) -> Result<Option<DomainSeen>, LibvirtError> {
        let looker = self.looker();
        let find = move |connect: &Connect| match lookup(connect, uuid)? {
            Some(domain) => looker.look(&domain),
            None => {
                looker.parsed.forget(uuid);
                Ok(None)
            }
        };
        self.with("look at a domain", find).await
    }

    async fn named(&self, name: String) -> Result<Option<Uuid>, LibvirtError> {
        let find = move |connect: &Connect| match present(connect.lookup_domain_by_name(&name)) {
            Ok(Some(domain)) => domain.uuid().map(Some).map_err(call("look at a domain")),
            Ok(None) => Ok(None),
            Err(source) => Err(LibvirtError::Call { what: "look for a domain's name", source }),
        };
        self.with("look for a domain's name", find).await
    }

    async fn define(&self, xml: String) -> Result<(), LibvirtError> {
        let define = move |connect: &Connect| {
            connect
                .define_domain_xml_flags(&xml, sys::VIR_DOMAIN_DEFINE_VALIDATE)
                .map_err(call("define the domain"))?;
            Ok(())
        };
        self.with("define the domain", define).await
    }

    async fn start_paused(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        self.on(uuid, "start the domain", |domain| {
            if domain.is_active()? { Ok(()) } else { domain.create_with_flags(sys::VIR_DOMAIN_START_PAUSED) }
        })
        .await
    }

    async fn resume(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        self.on(uuid, "resume the domain", |domain| match raw_state(domain)? {
            (sys::VIR_DOMAIN_RUNNING, _) => Ok(()),
            _ => domain.resume().map(|_| ()),
        })
        .await
    }

    async fn shutdown(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        self.on(uuid, "ask the guest to power off", |domain| {
            if !domain.is_active()? {
                return Ok(());
            }
            domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN).map(|_| ())
        })
        .await
    }

    async fn destroy(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        let destroy = |domain: &virt::domain::Domain| {
            if !domain.is_active()? {
                return Ok(());
            }
            match domain.destroy() {
                // It ended while we asked: libvirt refuses to destroy what runs no more, and that is what was asked for.
                Err(_) if !domain.is_active()? => Ok(()),
                answer => answer,
            }
        };
        self.on(uuid, "destroy the domain", destroy).await
    }

    async fn undefine(&self, uuid: Uuid) -> Result<(), LibvirtError> {
        let logs = self.files().logs.clone();
        let undefine = move |connect: &Connect| {
            let Some(domain) = lookup(connect, uuid)? else { return Ok(()) };
            if domain.is_active().map_err(call("look at a domain"))? {
                return Ok(());
            }
            remove_logs(&logs, &domain.name().map_err(call("look at a domain"))?);
            let all = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                | sys::VIR_DOMAIN_UNDEFINE_NVRAM;
            domain.undefine_flags(all).map_err(call("undefine the domain"))
        };
        self.with("undefine the domain", undefine).await
    }

    async fn set_owner(&self, owner: DomainRecord) -> Result<(), LibvirtError> {
        let record = owner.to_element("server").to_xml();
        self.on(owner.uid, "write the domain's record", move |domain| {
            let live = if domain.is_active()? { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 };
            let config = if domain.is_persistent()? { sys::VIR_DOMAIN_AFFECT_CONFIG } else { 0 };
            let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).expect("a small constant");
            let flags = live | config;
            domain.set_metadata(kind, Some(&record), Some(METADATA_KEY), Some(METADATA_URI), flags)
        })
        .await
    }
}

impl Connection {
    async fn on(
        &self,
        uuid: Uuid,
        what: &'static str,
        act: impl FnOnce(&Domain) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), LibvirtError> {
        let run = move |connect: &Connect| {
            let domain = lookup(connect, uuid)?.ok_or(LibvirtError::Gone { uuid })?;
            act(&domain).map_err(call(what))
        };
        self.with(what, run).await
    }
}

fn lookup(connect: &Connect, uuid: Uuid) -> Result<Option<Domain>, LibvirtError> {
    present(connect.lookup_domain_by_uuid(uuid)).map_err(call("look for a domain"))
}

/// Distinguishes "there is none", which libvirt says by an error of its own, from not having been able to look.
fn present<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Enum::Known(ErrorNumber::NoDomain) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A domain that could not be looked at, by what is known of it without asking.
fn unreadable(domain: &Domain, why: LibvirtError) -> Result<Unreadable, LibvirtError> {
    let (uuid, name) = domain.uuid().and_then(|uuid| Ok((uuid, domain.name()?))).map_err(call("look at a domain"))?;
    let ours = match domain.xml_desc(0) {
        Ok(xml) => xml.contains(METADATA_URI),
        Err(_) => name.starts_with("nubium.") && name.splitn(3, '.').count() == 3,
    };
    Ok(Unreadable { uuid, name, ours, active: domain.is_active().unwrap_or(true), why })
}

/// QEMU's log of each start, which libvirt never removes. What cannot be removed is only a file too many.
fn remove_logs(folder: &Path, domain: &str) {
    let path = folder.join(format!("{domain}.log"));
    for path in [path.clone(), path.with_extension("log.0")] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot remove QEMU's log");
            }
            _ => {}
        }
    }
}

impl Connection {
    fn looker(&self) -> Looker {
        Looker { shutdowns: self.shutdowns().clone(), files: self.files().clone(), parsed: self.parsed().clone() }
    }
}

/// What a look needs beside the domain.
struct Looker {
    shutdowns: HostShutdowns,
    files: Files,
    parsed: ParsedDomains,
}

impl Looker {
    /// `None`: it went away while we looked.
    fn look(&self, domain: &Domain) -> Result<Option<DomainSeen>, LibvirtError> {
        let gather = || -> Result<_, Error> {
            let definition = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
            let live = if domain.is_active()? { Some(domain.xml_desc(0)?) } else { None };
            let (state, reason) = raw_state(domain)?;
            let persistent = domain.is_persistent()?;
            Ok((domain.uuid()?, domain.name()?, definition, live, state_from(state, reason), persistent))
        };
        let gathered = present(gather()).map_err(call("look at a domain"))?;
        let Some((uuid, name, definition, live, state, persistent)) = gathered else {
            return Ok(None);
        };
        let state = match state {
            DomainState::Off(Off::Guest) if self.shutdowns.contains(uuid) => DomainState::Off(Off::Host),
            state => state,
        };
        let xml = DomainXml { uuid, name: name.clone(), definition, live, persistent };
        let DomainFacts { owner, live, next, definition } = self.parsed.read(xml).map_err(LibvirtError::Xml)?;
        let console_lost = live.is_some() && self.files.console_is_lost(&name);
        Ok(Some(DomainSeen { uuid, name, state, owner, persistent, live, next, definition, console_lost }))
    }
}

fn raw_state(domain: &Domain) -> Result<(c_uint, c_uint), Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: the domain is alive, and both pointers are to live integers.
    let failed = unsafe { sys::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) } < 0;
    if failed { Err(Error::last_error()) } else { Ok((state.cast_unsigned(), reason.cast_unsigned())) }
}

fn state_from(state: c_uint, reason: c_uint) -> DomainState {
    match state {
        sys::VIR_DOMAIN_PAUSED => DomainState::Paused(match reason {
            sys::VIR_DOMAIN_PAUSED_IOERROR => Pause::IoError,
            sys::VIR_DOMAIN_PAUSED_UNKNOWN | sys::VIR_DOMAIN_PAUSED_USER | sys::VIR_DOMAIN_PAUSED_STARTING_UP => {
                Pause::Asked
            }
            _ => Pause::Other,
        }),
        sys::VIR_DOMAIN_PMSUSPENDED => DomainState::Paused(Pause::Other),
        sys::VIR_DOMAIN_SHUTDOWN => DomainState::Stopping,
        sys::VIR_DOMAIN_SHUTOFF => DomainState::Off(match reason {
            sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN => Off::Guest,
            sys::VIR_DOMAIN_SHUTOFF_DESTROYED => Off::Destroyed,
            sys::VIR_DOMAIN_SHUTOFF_CRASHED => Off::Crashed,
            sys::VIR_DOMAIN_SHUTOFF_FAILED => Off::Failed,
            _ => Off::Unknown,
        }),
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        // RUNNING, BLOCKED (a word of Xen's) and NOSTATE, which QEMU's driver never says.
        _ => DomainState::Running,
    }
}
