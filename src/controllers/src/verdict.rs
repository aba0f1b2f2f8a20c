//! What a controller says of an object in one word and one sentence, and the conditions that say it.

use nubium_api::{
    Condition, ConditionStatus, condition,
    contract::{self, READY, RECONCILING, STALLED},
};
use nubium_runtime::StatusWriter;

/// How an object stands. `reason` is one word for programs, `message` one sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub state: State,
    pub reason: String,
    pub message: String,
}

/// What follows for `Ready`, `Reconciling` and `Stalled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The desired state was seen to hold.
    Ready,
    /// Not yet; it is being worked on, or waits for something that may come.
    Working,
    /// Nobody can look.
    Unknown,
    /// Nothing but a new spec of this object can help.
    Stalled,
}

impl Verdict {
    pub fn ready(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { state: State::Ready, reason: reason.into(), message: message.into() }
    }

    pub fn working(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { state: State::Working, reason: reason.into(), message: message.into() }
    }

    pub fn unknown(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { state: State::Unknown, reason: reason.into(), message: message.into() }
    }

    pub fn stalled(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { state: State::Stalled, reason: reason.into(), message: message.into() }
    }

    /// `Ready` always; `Reconciling` and `Stalled` only while true.
    pub fn conditions(&self, generation: Option<i64>) -> Vec<Condition> {
        let say = |type_: &str, status| Condition::new(type_, status, generation, &self.reason, &self.message);
        match self.state {
            State::Ready => vec![say(READY, ConditionStatus::True)],
            State::Working => vec![say(READY, ConditionStatus::False), say(RECONCILING, ConditionStatus::True)],
            State::Unknown => vec![say(READY, ConditionStatus::Unknown)],
            State::Stalled => vec![say(READY, ConditionStatus::False), say(STALLED, ConditionStatus::True)],
        }
    }
}

/// The part of a status that a controller writes.
pub(crate) const fn writer(writer: &contract::Writer) -> StatusWriter<'static> {
    let contract::Writer { manager, fields, conditions, .. } = *writer;
    StatusWriter { manager, fields, conditions, entry: None }
}

/// The condition of that type, if it speaks of the object as it is now.
pub(crate) fn current<'a>(conditions: &'a [Condition], type_: &str, generation: Option<i64>) -> Option<&'a Condition> {
    condition(conditions, type_).filter(|fact| fact.observed_generation == generation)
}

/// Whether that condition is true, of the object as it is now.
pub(crate) fn holds(conditions: &[Condition], type_: &str, generation: Option<i64>) -> bool {
    current(conditions, type_, generation).is_some_and(|fact| fact.status == ConditionStatus::True)
}

/// `one`, `one and two`, `one, two and 3 more`: never a sentence that grows without end.
pub(crate) fn names(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [one, two, three] => format!("{one}, {two} and {three}"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconciling_and_stalled_are_there_only_while_true() {
        let types = |verdict: Verdict| -> Vec<_> {
            verdict.conditions(Some(1)).into_iter().map(|fact| (fact.type_, fact.status)).collect()
        };
        let ready = |status| ("Ready".to_owned(), status);
        assert_eq!(types(Verdict::ready("A", "a")), [ready(ConditionStatus::True)]);
        assert_eq!(types(Verdict::unknown("A", "a")), [ready(ConditionStatus::Unknown)]);
        let stalled = ("Stalled".to_owned(), ConditionStatus::True);
        assert_eq!(types(Verdict::stalled("A", "a")), [ready(ConditionStatus::False), stalled]);
        let working = ("Reconciling".to_owned(), ConditionStatus::True);
        assert_eq!(types(Verdict::working("A", "a")), [ready(ConditionStatus::False), working]);
    }

    #[test]
    fn a_fact_of_an_older_generation_counts_for_nothing() {
        let facts = [Condition::new("Running", ConditionStatus::True, Some(1), "Running", "")];
        assert!(holds(&facts, "Running", Some(1)));
        assert!(!holds(&facts, "Running", Some(2)));
    }

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
        assert_eq!(names(&all[..2]), "a and b");
        assert_eq!(names(&all), "a, b and 3 more");
    }
}
