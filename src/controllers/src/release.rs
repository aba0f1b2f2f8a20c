//! How an object that others use is let go: first nobody uses it, then the hosts are given leave, then they have
//! released it, then its finalizer goes. Pure.
//!
//! ```text
//!  deleted ─▶ InUse=True (by whom) ─▶ InUse=False (leave, for good) ─▶ every host: released ─▶ finalizer off
//! ```
//! ReleasePhase is a decision that is read back from the status: once agents may destroy, a Server that names the object
//! after that does not call them back.

use nubium_api::{Condition, ConditionStatus, contract::IN_USE};

use crate::verdict::{Verdict, current, names};

/// How far an object that is being deleted is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReleasePhase {
    /// These use it.
    InUse(Vec<String>),
    /// These hosts have been asked to release it, and have not yet.
    Releasing(Vec<String>),
    /// Nothing is left of it anywhere.
    Free,
}

/// How far it is. `conditions` are its own, `users` those who use it in words, `holding` the hosts that have some of it.
pub(crate) fn leave(
    conditions: &[Condition],
    generation: Option<i64>,
    users: Vec<String>,
    holding: Vec<String>,
) -> ReleasePhase {
    let given = current(conditions, IN_USE, generation).is_some_and(|fact| fact.status == ConditionStatus::False);
    if !given && !users.is_empty() {
        ReleasePhase::InUse(users)
    } else if !holding.is_empty() {
        ReleasePhase::Releasing(holding)
    } else {
        ReleasePhase::Free
    }
}

impl ReleasePhase {
    /// What is told of the object.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::InUse(users) => {
                let does = if users.len() == 1 { "uses" } else { "use" };
                Verdict::working("InUse", format!("it is to be deleted, and waits: {} {does} it", names(users)))
            }
            Self::Releasing(hosts) => {
                let hosts: Vec<String> = hosts.iter().map(|host| format!("host {host}")).collect();
                Verdict::working("Deleting", format!("waits for {} to release it", names(&hosts)))
            }
            Self::Free => Verdict::working("Deleting", "nothing of it is left"),
        }
    }

    /// The leave, as agents read it.
    pub fn condition(&self, generation: Option<i64>) -> Condition {
        let verdict = self.verdict();
        let status = if matches!(self, Self::InUse(_)) { ConditionStatus::True } else { ConditionStatus::False };
        let reason = if matches!(self, Self::InUse(_)) { "InUse" } else { "Unused" };
        Condition::new(IN_USE, status, generation, reason, verdict.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn users_come_before_hosts_and_hosts_before_the_end() {
        let at = |users: &[&str], hosts: &[&str]| leave(&[], Some(2), list(users), list(hosts));
        assert_eq!(at(&["Server web-1"], &["a"]), ReleasePhase::InUse(list(&["Server web-1"])));
        assert_eq!(at(&[], &["a"]), ReleasePhase::Releasing(list(&["a"])));
        assert_eq!(at(&[], &[]), ReleasePhase::Free);
    }

    #[test]
    fn leave_is_not_taken_back_but_counts_for_its_generation_only() {
        let given = [ReleasePhase::Releasing(list(&["a"])).condition(Some(2))];
        assert_eq!(leave(&given, Some(2), list(&["Server late"]), list(&["a"])), ReleasePhase::Releasing(list(&["a"])));
        assert_eq!(
            leave(&given, Some(3), list(&["Server late"]), list(&["a"])),
            ReleasePhase::InUse(list(&["Server late"]))
        );
    }

    #[test]
    fn the_message_says_who() {
        let verdict = ReleasePhase::InUse(list(&["Server web-1", "Server web-2"])).verdict();
        assert_eq!(verdict.message, "it is to be deleted, and waits: Server web-1 and Server web-2 use it");
    }
}
