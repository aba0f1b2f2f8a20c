//! The words of a label selector.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Identifier,
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Not,
    Greater,
    Less,
    Comma,
    Open,
    Close,
    Unknown,
    End,
}

pub(super) struct Lexer;

impl Lexer {
    /// All tokens with their text.
    pub(super) fn all(text: &str) -> Vec<(Token, String)> {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_special = |c: char| "=!(),><".contains(c);
            let length = if is_special(first) {
                match first {
                    '(' | ')' | ',' => 1,
                    _ => rest.find(|c: char| !"=!><".contains(c)).unwrap_or(rest.len()),
                }
            } else {
                rest.find(|c: char| is_special(c) || c.is_whitespace()).unwrap_or(rest.len())
            };
            let (word, after) = Self::split(rest, length, is_special(first));
            tokens.push((Self::token(word), word.to_owned()));
            rest = after.trim_start();
        }
        tokens
    }

    /// The longest known operator at the start, so that `=!` is `=` and `!`.
    fn split(rest: &str, length: usize, special: bool) -> (&str, &str) {
        if !special {
            return rest.split_at(length);
        }
        let known = (1..=length.min(2)).rev().find(|n| Self::token(&rest[..*n]) != Token::Identifier);
        rest.split_at(known.unwrap_or(1))
    }

    fn token(word: &str) -> Token {
        match word {
            "in" => Token::In,
            "notin" => Token::NotIn,
            "=" => Token::Equals,
            "==" => Token::DoubleEquals,
            "!=" => Token::NotEquals,
            "!" => Token::Not,
            ">" => Token::Greater,
            "<" => Token::Less,
            "," => Token::Comma,
            "(" => Token::Open,
            ")" => Token::Close,
            word if word.starts_with(|c: char| "=!><".contains(c)) && word.len() == 1 => Token::Unknown,
            _ => Token::Identifier,
        }
    }
}
