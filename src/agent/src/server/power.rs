//! When a guest is started, stopped, or left alone: one table.
//!
//! ```text
//!               start                 resume
//!    ┌──▶ Off ─────────▶ Paused ─────────────▶ Running ──┐ press, then (late) kill
//!    │     ▲                                      │      ▼
//!    │     └──────────────────────────────────────┴── Stopping
//!    │  Off by the guest itself, to run: remembered, and left off
//!    └─ Off by anything else, to run: started again
//! ```
//! libvirtd forgets over its own restart why a guest is off, so the reason is written into the domain when it is seen,
//! and what we ask for is written there before it is asked. Unknown means start.

use nubium_host::libvirt::{DomainState, Off, Pause, Stop};

/// The desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Power {
    Running,
    /// Running, and once more from the start: `restartedAt` is another than the one that the guest runs under.
    Restarted,
    Stopped,
    /// Off, so that the domain can go.
    Absent,
}

/// What a stop that we asked for is due for; without one, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// The guest had its time to hear the last press.
    Press,
    /// The deadline is over.
    Kill,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    Start,
    Resume,
    /// Press the guest's power button; remember when we first did.
    Press,
    /// Press it again, after a while: a guest that was booting has not heard.
    PressAgain,
    Kill,
    /// Write down who stopped the guest.
    Remember(Option<Stop>),
    /// Nothing left to do for its power.
    Undefine,
}

/// The table. `stop` is what the domain's record says, `due` what its times come to now.
#[must_use]
pub fn next(want: Power, seen: DomainState, stop: Option<&Stop>, due: Due) -> Option<Move> {
    use DomainState as D;
    use Power as P;
    let late = due == Due::Kill;
    match (want, seen, stop) {
        (P::Running | P::Restarted, D::Off(_), Some(Stop::Asked { .. } | Stop::Desired)) => Some(Move::Start),
        (P::Running, D::Off(_), Some(Stop::Guest)) => None,
        (P::Restarted, D::Off(_), Some(Stop::Guest)) => Some(Move::Start),
        (P::Running, D::Off(Off::Guest), None) => Some(Move::Remember(Some(Stop::Guest))),
        (P::Restarted, D::Off(Off::Guest), None) => Some(Move::Start),
        (
            P::Running | P::Restarted,
            D::Off(Off::Host | Off::Destroyed | Off::Crashed | Off::Failed | Off::Unknown),
            None,
        ) => Some(Move::Start),

        (P::Running | P::Restarted, D::Crashed, _) => Some(Move::Kill),
        (P::Running, D::Paused(Pause::Asked | Pause::IoError), _) => Some(Move::Resume),
        (P::Running, D::Paused(Pause::Other), _) => None,
        (P::Running, D::Running, None) => None,
        // The input came back, or the guest came up again by itself: what it does from now on is its own doing. Until the
        // deadline it may still be on its way down because we asked.
        (P::Running, D::Running, Some(Stop::Asked { .. })) => late.then_some(Move::Remember(None)),
        (P::Running, D::Running, Some(Stop::Desired | Stop::Guest)) => Some(Move::Remember(None)),
        (P::Running, D::Stopping, _) => None,

        (P::Restarted | P::Stopped | P::Absent, D::Running, Some(Stop::Asked { .. })) => match due {
            Due::Nothing => None,
            Due::Press => Some(Move::PressAgain),
            Due::Kill => Some(Move::Kill),
        },
        (P::Restarted | P::Stopped | P::Absent, D::Running, None | Some(Stop::Desired | Stop::Guest)) => {
            Some(Move::Press)
        }
        (P::Restarted | P::Stopped | P::Absent, D::Stopping, Some(Stop::Asked { .. })) => late.then_some(Move::Kill),
        // It goes down by itself; our deadline begins now.
        (P::Restarted | P::Stopped | P::Absent, D::Stopping, None | Some(Stop::Desired | Stop::Guest)) => {
            Some(Move::Press)
        }
        // A guest that stands still hears no button.
        (P::Restarted | P::Stopped | P::Absent, D::Paused(_), _) => Some(Move::Kill),
        (P::Stopped | P::Absent, D::Crashed, _) => Some(Move::Kill),

        (P::Stopped, D::Off(_), Some(Stop::Desired)) => None,
        (P::Stopped, D::Off(_), None | Some(Stop::Asked { .. } | Stop::Guest)) => {
            Some(Move::Remember(Some(Stop::Desired)))
        }
        (P::Absent, D::Off(_), _) => Some(Move::Undefine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [DomainState; 12] = [
        DomainState::Running,
        DomainState::Paused(Pause::Asked),
        DomainState::Paused(Pause::IoError),
        DomainState::Paused(Pause::Other),
        DomainState::Stopping,
        DomainState::Crashed,
        DomainState::Off(Off::Guest),
        DomainState::Off(Off::Host),
        DomainState::Off(Off::Destroyed),
        DomainState::Off(Off::Crashed),
        DomainState::Off(Off::Failed),
        DomainState::Off(Off::Unknown),
    ];
    const STOPS: [Option<Stop>; 4] =
        [None, Some(Stop::Asked { at: 0, pressed: 0 }), Some(Stop::Desired), Some(Stop::Guest)];

    fn running(state: DomainState) -> bool {
        !matches!(state, DomainState::Off(_))
    }

    #[test]
    fn nothing_that_runs_as_desired_is_ever_stopped() {
        for stop in &STOPS {
            for due in [Due::Nothing, Due::Press, Due::Kill] {
                for state in STATES.into_iter().filter(|state| *state != DomainState::Crashed) {
                    let step = next(Power::Running, state, stop.as_ref(), due);
                    let stops = matches!(step, Some(Move::Press | Move::PressAgain | Move::Kill | Move::Undefine));
                    assert!(!stops, "{state:?} {stop:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_that_shall_be_off_is_ever_started_and_all_of_it_ends() {
        for want in [Power::Stopped, Power::Absent] {
            for state in STATES {
                for stop in &STOPS {
                    let step = next(want, state, stop.as_ref(), Due::Kill);
                    assert!(!matches!(step, Some(Move::Start | Move::Resume)), "{state:?} {stop:?}");
                    assert!(!running(state) || step.is_some(), "{want:?} {state:?} {stop:?} is left alone");
                }
            }
        }
    }

    #[test]
    fn only_the_guest_s_own_power_off_keeps_it_off() {
        for state in STATES.into_iter().filter(|state| !running(*state)) {
            for stop in &STOPS {
                let step = next(Power::Running, state, stop.as_ref(), Due::Nothing);
                let by_guest = *stop == Some(Stop::Guest) || (stop.is_none() && state == DomainState::Off(Off::Guest));
                assert_eq!(step != Some(Move::Start), by_guest, "{state:?} {stop:?}");
                assert_eq!(next(Power::Restarted, state, stop.as_ref(), Due::Nothing), Some(Move::Start));
            }
        }
    }
}
