//! How an object that others use is released: first nobody uses it, then hosts may destroy what they have of it, then they
//! have released it, then its finalizer is removed. Pure.
//!
//! ```text
//!  deleted ─▶ InUse=True (by whom) ─▶ InUse=False (for good) ─▶ every host: released ─▶ no finalizer
//! ```
//! `InUse=False` is a decision that is read back from the status: it is final, even if a Server comes to name the object.

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

impl ReleasePhase {
    /// `conditions` are the object's own, `users` those who use it in words, `holding` the hosts that have some of it.
    pub fn of(conditions: &[Condition], generation: Option<i64>, users: Vec<String>, holding: Vec<String>) -> Self {
        let unused = current(conditions, IN_USE, generation).is_some_and(|fact| fact.status == ConditionStatus::False);
        if !unused && !users.is_empty() {
            Self::InUse(users)
        } else if !holding.is_empty() {
            Self::Releasing(holding)
        } else {
            Self::Free
        }
    }

    /// How the object stands.
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

    /// `InUse`, as agents read it.
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
        let at = |users: &[&str], hosts: &[&str]| ReleasePhase::of(&[], Some(2), list(users), list(hosts));
        assert_eq!(at(&["Server web-1"], &["a"]), ReleasePhase::InUse(list(&["Server web-1"])));
        assert_eq!(at(&[], &["a"]), ReleasePhase::Releasing(list(&["a"])));
        assert_eq!(at(&[], &[]), ReleasePhase::Free);
    }

    #[test]
    fn unused_is_final_but_counts_for_its_generation_only() {
        let unused = [ReleasePhase::Releasing(list(&["a"])).condition(Some(2))];
        assert_eq!(
            ReleasePhase::of(&unused, Some(2), list(&["Server late"]), list(&["a"])),
            ReleasePhase::Releasing(list(&["a"]))
        );
        assert_eq!(
            ReleasePhase::of(&unused, Some(3), list(&["Server late"]), list(&["a"])),
            ReleasePhase::InUse(list(&["Server late"]))
        );
    }

    #[test]
    fn the_message_says_who() {
        let verdict = ReleasePhase::InUse(list(&["Server web-1", "Server web-2"])).verdict();
        assert_eq!(verdict.message, "it is to be deleted, and waits: Server web-1 and Server web-2 use it");
    }
}
