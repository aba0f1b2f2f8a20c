//! `continue` tokens: where a list stopped, and the revision that all its pages show.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nubium_store::Revision;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The place after a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    v: String,
    /// `None` goes on at the present, because the list's own revision was compacted away.
    #[serde(rename = "rv")]
    pub revision: Option<Revision>,
    /// The last key of the page, below the list's prefix.
    #[serde(rename = "start")]
    pub after: String,
}

impl Token {
    pub fn new(revision: Option<Revision>, after: &str) -> Self {
        Self { v: "meta.k8s.io/v1".to_owned(), revision, after: after.to_owned() }
    }

    pub fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("a struct of plain fields is JSON");
        URL_SAFE_NO_PAD.encode(json)
    }

    pub fn decode(text: &str) -> Result<Self, Failure> {
        let bad =
            |why: String| Failure::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| bad(error.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        // It becomes part of a key below the list's prefix; what leads out of it is not ours.
        if token.v != "meta.k8s.io/v1" || token.after.contains("..") {
            return Err(bad("it was not made by this server".to_owned()));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_and_rubbish_is_refused() {
        let token = Token::new(Some(7), "shop/web-1");
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
        for rubbish in ["", "%%%", "e30", &URL_SAFE_NO_PAD.encode(br#"{"v":"x","rv":1,"start":"a"}"#)] {
            assert_eq!(Token::decode(rubbish).unwrap_err().code(), 400, "{rubbish}");
        }
    }
}
