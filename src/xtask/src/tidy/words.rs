//! Words that an engineer of the field would not search for stay out of names, comments and messages: each has a common
//! one. The list holds what this repository once said instead.

/// A word, and what to say instead.
const WORDS: &[(&str, &str)] = &[
    ("wish", "desired state, spec, request"),
    ("wished", "desired, requested"),
    ("wishes", "desired states, requests"),
    ("untold", "not yet reported"),
    ("setback", "failure"),
    ("setbacks", "backoff"),
    ("trouble", "failure, what is not ready"),
    ("troubles", "failures, warnings"),
    ("ledger", "what is remembered, cache"),
    ("ledgers", "what is remembered, caches"),
    ("patience", "timeout, delay, debounce"),
];

/// The words of the list that a text has, each with its line and what to say instead.
pub(super) fn uncommon(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in words(line) {
            if let Some((_, better)) = WORDS.iter().find(|(bad, _)| word.eq_ignore_ascii_case(bad)) {
                found.push(format!("line {}: \"{word}\": say {better}", number + 1));
            }
        }
    }
    found
}

/// The words of a line, those inside of names too: `StatusPatience` and `status_patience` are two words each.
fn words(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for run in line.split(|letter: char| !letter.is_ascii_alphabetic()) {
        let mut start = 0;
        for (at, pair) in run.as_bytes().windows(2).enumerate() {
            if pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase() {
                found.push(&run[start..=at]);
                start = at + 1;
            }
        }
        found.push(&run[start..]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{WORDS, uncommon};

    #[test]
    fn every_word_is_found_in_prose_and_in_names_and_not_inside_others() {
        for (word, better) in WORDS {
            let capital = format!("{}{}", word[..1].to_uppercase(), &word[1..]);
            let text = format!(
                "//! The {word} of a user.\nfn is_{word}_{word}() {{}}\nconst {}: u8 = 1;\nstruct Status{capital}For;\nlet {word}bone = 1;",
                word.to_uppercase()
            );
            let found = uncommon(&text);
            assert_eq!(found.len(), 5, "{found:?}");
            assert_eq!(found[0], format!("line 1: \"{word}\": say {better}"));
            assert!(found[4].starts_with("line 4"), "{found:?}");
        }
    }
}
