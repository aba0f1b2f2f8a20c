//! Steps and refusals in words: for the log, for a dry run, for Events and conditions.

use std::fmt;

use super::plan::{Found, Refusal, Step, Why};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::PutSeed { path, .. } => write!(f, "write the seed {}", path.display()),
            Step::Define { name, .. } => write!(f, "define the domain {name}"),
            Step::DefineAgain { name, .. } => write!(f, "define the domain {name} again"),
            Step::CreateTap { tap } => write!(f, "make the tap {}", tap.name),
            Step::DeleteTap { name, netns } => write!(f, "delete the tap {name} of {netns}"),
            Step::StartPaused { .. } => f.write_str("start QEMU"),
            Step::MoveTap { name, netns, .. } => write!(f, "move the tap {name} into {netns}"),
            Step::Resume { .. } => f.write_str("let the guest run"),
            Step::Press { .. } => f.write_str("ask the guest to power off"),
            Step::Kill { why, .. } => write!(f, "turn the guest off: {why}"),
            Step::Remember { owner } => write!(f, "write the record of {}", owner.domain_name()),
            Step::RemoveFolder { path } => write!(f, "remove {}", path.display()),
            Step::Undefine { .. } => f.write_str("undefine the domain"),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndedByHost => "something on the host told its QEMU to end",
            Self::Destroyed => "somebody destroyed its domain",
            Self::Died => "its QEMU died",
            Self::NotStarted => "its QEMU had failed to start",
            Self::OffForUnknownReason => "it was off, and libvirt was restarted since and cannot say why",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DidNotPowerOff => "it did not power off in time",
            Self::StoodStill => "it stood still and could not power off by itself",
            Self::Panicked => "its kernel gave up",
        })
    }
}

impl Step {
    /// What happened to a guest that nobody asked for: the reason and text of an Event.
    #[must_use]
    pub fn news(&self) -> Option<(&'static str, String)> {
        match self {
            Step::StartPaused { found: Some(found), .. } => {
                Some(("StartedAgain", format!("{found}; it was started again")))
            }
            Step::Kill { why, .. } => Some(("TurnedOff", format!("the guest was turned off: {why}"))),
            Step::DefineAgain { .. } => {
                Some(("DefinedAgain", "somebody undefined its domain while it ran; it was defined again".to_owned()))
            }
            Step::StartPaused { found: None, .. }
            | Step::PutSeed { .. }
            | Step::Define { .. }
            | Step::CreateTap { .. }
            | Step::DeleteTap { .. }
            | Step::MoveTap { .. }
            | Step::Resume { .. }
            | Step::Press { .. }
            | Step::Remember { .. }
            | Step::RemoveFolder { .. }
            | Step::Undefine { .. } => None,
        }
    }
}

impl Refusal {
    /// One word for a condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotOurs | Self::HeldByStranger { .. } => "HeldByStranger",
            Self::OlderGeneration { .. } => "OlderGeneration",
            Self::Waiting { volumes, .. } if !volumes.is_empty() => "WaitingForVolumes",
            Self::Waiting { networks, .. } if !networks.is_empty() => "WaitingForNetwork",
            Self::Waiting { .. } => "WaitingForSeed",
            Self::NotAdmitted => "WaitingForRoom",
            Self::NoSlot { .. } => "TooManyDevices",
            Self::Unreadable => "DomainUnreadable",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str(
                "a domain on this host has this Server's UUID and is not ours: it is left alone; undefine it, or make this Server anew",
            ),
            Self::HeldByStranger { uid } => write!(
                f,
                "the domain of this name on this host belongs to an earlier Server (UID {uid}): it is left alone; \
                 end it there with `nubium stranger end`, or give this Server another name"
            ),
            Self::OlderGeneration { there } => {
                write!(f, "this host already made generation {there} of it, and waits to see that one")
            }
            Self::Waiting { volumes, networks, seed } => {
                let seed = seed.then(|| "its cloud-init seed is not rendered yet".to_owned());
                let all: Vec<String> = volumes.iter().chain(networks).cloned().chain(seed).collect();
                f.write_str(&all.join("; "))
            }
            Self::NotAdmitted => f.write_str("the scheduler has not given it cpu and memory of this host yet"),
            Self::NoSlot { device } => {
                write!(f, "there is no free slot for {device}: a Server can have 27 disks and NICs together")
            }
            Self::Unreadable => f.write_str("the domain's definition on this host cannot be read; undefine it by virsh"),
        }
    }
}
