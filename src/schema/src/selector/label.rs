//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

use std::collections::BTreeSet;
use std::fmt;

use super::SelectorError;
use super::lexer::{Lexer, Token};
use crate::error::{FieldError, aggregate};
use crate::names::{label_key, label_value};

/// All of its requirements have to hold; none means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Parses the text of a `labelSelector` parameter; empty selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: Lexer::all(text), at: 0 };
        let mut requirements = Vec::new();
        loop {
            match parser.peek_value() {
                Token::Identifier | Token::Not => {}
                Token::End => break,
                _ => return Err(parser.unexpected(", expected: !, identifier, or 'end of string'")),
            }
            let requirement = parser.requirement();
            requirements.push(requirement.map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?);
            match parser.peek_value() {
                Token::End => break,
                Token::Comma => {
                    parser.at += 1;
                    if !matches!(parser.peek_value(), Token::Identifier | Token::Not) {
                        return Err(parser.unexpected(", expected: identifier after ','"));
                    }
                }
                _ => return Err(parser.unexpected(", expected: ',' or 'end of string'")),
            }
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// Whether an object is selected whose labels `label` looks up.
    pub fn matches_with<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements.iter().all(|r| r.matches(label(&r.key)))
    }
}

impl Requirement {
    /// Checks key, operator and values.
    pub fn new(key: &str, operator: Operator, values: BTreeSet<String>) -> Result<Self, SelectorError> {
        let mut errors = Vec::new();
        let found = label_key(key);
        if !found.is_empty() {
            errors.push(FieldError::invalid("key", key, found.join("; ")));
        }
        let wrong = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                Some("for 'in', 'notin' operators, values set can't be empty")
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                Some("exact-match compatibility requires one single value")
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                Some("values set must be empty for exists and does not exist")
            }
            Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
                Some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
            _ => None,
        };
        if let Some(detail) = wrong {
            errors.push(FieldError::invalid("values", values.iter().cloned().collect::<Vec<_>>(), detail));
        }
        for (i, value) in values.iter().enumerate() {
            if matches!(operator, Operator::GreaterThan | Operator::LessThan) && value.parse::<i64>().is_err() {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(format!("values[{i}]"), value.as_str(), detail));
            }
            let found = label_value(value);
            if !found.is_empty() {
                errors.push(FieldError::invalid(format!("values[{i}][{key}]"), value.as_str(), found.join("; ")));
            }
        }
        if errors.is_empty() {
            Ok(Self { key: key.to_owned(), operator, values })
        } else {
            Err(SelectorError(aggregate(&errors)))
        }
    }

    fn matches(&self, label: Option<&str>) -> bool {
        crate::work::step();
        let is_one = |label: &str| self.values.contains(label);
        match (self.operator, label) {
            (Operator::In | Operator::Equals | Operator::DoubleEquals, label) => label.is_some_and(is_one),
            (Operator::NotIn | Operator::NotEquals, label) => !label.is_some_and(is_one),
            (Operator::Exists, label) => label.is_some(),
            (Operator::DoesNotExist, label) => label.is_none(),
            (Operator::GreaterThan | Operator::LessThan, None) => false,
            (operator, Some(label)) => {
                let bound = self.values.first().and_then(|v| v.parse::<i64>().ok());
                match (label.parse::<i64>(), bound) {
                    (Ok(label), Some(bound)) if operator == Operator::GreaterThan => label > bound,
                    (Ok(label), Some(bound)) => label < bound,
                    _ => false,
                }
            }
        }
    }
}

struct Parser {
    tokens: Vec<(Token, String)>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> (Token, &str) {
        self.tokens.get(self.at).map_or((Token::End, ""), |(token, text)| (*token, text))
    }

    /// Where a value is expected, the words `in` and `notin` are values.
    fn peek_value(&self) -> Token {
        match self.peek().0 {
            Token::In | Token::NotIn => Token::Identifier,
            other => other,
        }
    }

    fn unexpected(&self, expected: &str) -> SelectorError {
        SelectorError(format!("found '{}'{expected}", self.peek().1))
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek_value() == Token::Not;
        self.at += usize::from(negated);
        if self.peek_value() != Token::Identifier {
            return Err(self.unexpected(", expected: identifier"));
        }
        let key = self.peek().1.to_owned();
        let found = label_key(&key);
        if !found.is_empty() {
            return Err(SelectorError(FieldError::invalid("", key, found.join("; ")).to_string()));
        }
        self.at += 1;
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, BTreeSet::new());
        }
        if matches!(self.peek_value(), Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, BTreeSet::new());
        }
        let operator = match self.peek().0 {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => return Err(self.unexpected(", expected: in, notin, =, ==, !=, gt, lt")),
        };
        self.at += 1;
        let values = match operator {
            Operator::In | Operator::NotIn => self.set()?,
            _ => BTreeSet::from([self.exact()?]),
        };
        Requirement::new(&key, operator, values)
    }

    fn exact(&mut self) -> Result<String, SelectorError> {
        match self.peek_value() {
            Token::End | Token::Comma => Ok(String::new()),
            Token::Identifier => {
                let value = self.peek().1.to_owned();
                self.at += 1;
                Ok(value)
            }
            _ => Err(self.unexpected(", expected: identifier")),
        }
    }

    /// `(a,b,)`: an empty place is the empty value.
    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if self.peek_value() != Token::Open {
            return Err(self.unexpected(" expected: '('"));
        }
        self.at += 1;
        let mut values = BTreeSet::new();
        let mut value = None;
        loop {
            match self.peek_value() {
                Token::Identifier if value.is_none() => value = Some(self.peek().1.to_owned()),
                Token::Comma => {
                    values.insert(value.take().unwrap_or_default());
                }
                Token::Close => {
                    values.insert(value.take().unwrap_or_default());
                    self.at += 1;
                    return Ok(values);
                }
                _ if value.is_some() => return Err(self.unexpected(", expected: ',' or ')'")),
                _ if values.is_empty() => return Err(self.unexpected(", expected: ',', ')' or identifier")),
                _ => return Err(self.unexpected(", expected: ',', or identifier")),
            }
            self.at += 1;
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_matches() {
        let labels = json!({"app": "web", "tier": "front", "n": "5", "in": "x"});
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("none!=x", true),
            ("none=x", false),
            ("app in (db, web)", true),
            ("app notin (db)", true),
            ("app notin (web)", false),
            ("none notin (a)", true),
            ("app", true),
            ("!app", false),
            ("!none", true),
            ("app=web,tier=front", true),
            ("app=web,tier=back", false),
            ("n>4", true),
            ("n<5", false),
            ("app>1", false),
            ("in=x", true),
            ("in in (x)", true),
            ("app in ()", false),
            ("none=", false),
            (" app = web , tier", true),
        ];
        for (text, matches) in cases {
            let selector = LabelSelector::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
            assert_eq!(
                selector.matches_with(|key| labels.get(key).and_then(serde_json::Value::as_str)),
                matches,
                "{text:?} = {selector}"
            );
        }
        assert!(LabelSelector::parse("!a").unwrap().matches_with(|_| None));
    }

    #[test]
    fn errors_are_worded_as_kubernetes_words_them() {
        let cases = [
            ("a,", "found '', expected: identifier after ','"),
            ("=x", "found '=', expected: !, identifier, or 'end of string'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in x", "unable to parse requirement: found 'x' expected: '('"),
            ("a in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a==(", "unable to parse requirement: found '(', expected: identifier"),
        ];
        for (text, error) in cases {
            assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), error, "{text:?}");
        }
        let bad_key = LabelSelector::parse("-a=b").unwrap_err().to_string();
        assert!(
            bad_key.starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of"),
            "{bad_key}"
        );
        let bad_value = LabelSelector::parse("a=b_").unwrap_err().to_string();
        assert!(
            bad_value
                .starts_with("unable to parse requirement: values[0][a]: Invalid value: \"b_\": a valid label must be"),
            "{bad_value}"
        );
    }

    #[test]
    fn a_selector_prints_as_it_parses() {
        for text in ["a=b,c!=d,e in (f,g),h notin (i),j,!k", "a==b,b>1,c<2"] {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.to_string(), text);
        }
    }
}
