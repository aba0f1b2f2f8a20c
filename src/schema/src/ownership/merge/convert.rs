//! Objects in another version of their kind.
//!
//! A manager's set is written in the terms of the version it wrote, so objects are compared in that version.

use std::borrow::Cow;

use crate::ownership::typed::Typed;

/// Gives objects in other versions.
pub trait Converter {
    /// The object in `version`; borrowed when it is in that version already.
    fn convert<'a>(&self, object: &'a Typed<'a>, version: &str) -> Result<Cow<'a, Typed<'a>>, ConvertError>;
}

/// Why an object cannot be had in a version.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// What managers own in such a version is forgotten.
    #[error("the version {0:?} is not served")]
    NoSuchVersion(String),
    #[error("conversion to version {version:?} failed")]
    Failed { version: String, source: Box<dyn std::error::Error + Send + Sync> },
}

/// A kind of one version: sets in any other are forgotten.
#[derive(Clone, Copy, Debug)]
pub struct SameVersion<'a>(pub &'a str);

impl Converter for SameVersion<'_> {
    fn convert<'a>(&self, object: &'a Typed<'a>, version: &str) -> Result<Cow<'a, Typed<'a>>, ConvertError> {
        if version == self.0 { Ok(Cow::Borrowed(object)) } else { Err(ConvertError::NoSuchVersion(version.to_owned())) }
    }
}
