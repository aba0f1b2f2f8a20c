//! Prints an error with its causes, once, on one line.

use std::{error::Error, fmt};

/// Displays an error followed by what caused it: `cannot create port blue: connection refused`.
///
/// Our errors never repeat their source in their own text, so this is the only place that joins them. Some libraries
/// do repeat it: a cause whose text the line already ends with is left out.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            source = error.source();
        }
        f.write_str(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read disk")]
    struct Outer(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Repeating(#[source] std::io::Error);

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let io = || std::io::Error::other("cable pulled");
        assert_eq!(Chain(&Outer(io())).to_string(), "cannot read disk: cable pulled");
        assert_eq!(Chain(&Repeating(io())).to_string(), "outer: cable pulled");
    }
}
