//! The checksum an image has to have, and the digest of what came.

use std::fmt;

use sha2::{Digest as _, Sha256, Sha512};

/// A digest: of 32 bytes (sha256) or 64 bytes (sha512).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Checksum {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// What a user wrote is no checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {algorithm} checksum is {digits} hexadecimal digits")]
pub struct BadChecksum {
    algorithm: &'static str,
    digits: usize,
}

impl Checksum {
    /// Reads 64 hexadecimal digits, in either case.
    pub fn sha256(hex: &str) -> Result<Self, BadChecksum> {
        bytes(hex).map(Self::Sha256).ok_or(BadChecksum { algorithm: "sha256", digits: 64 })
    }

    /// Reads 128 hexadecimal digits, in either case.
    pub fn sha512(hex: &str) -> Result<Self, BadChecksum> {
        bytes(hex).map(Self::Sha512).ok_or(BadChecksum { algorithm: "sha512", digits: 128 })
    }

    pub(super) fn hasher(wanted: Option<&Self>) -> Hasher {
        match wanted {
            Some(Self::Sha512(_)) => Hasher::Sha512(Sha512::new()),
            Some(Self::Sha256(_)) | None => Hasher::Sha256(Sha256::new()),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, digest): (_, &[u8]) = match self {
            Self::Sha256(digest) => ("sha256", digest),
            Self::Sha512(digest) => ("sha512", digest),
        };
        write!(f, "{algorithm}:")?;
        digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A digest in the making; sha256 when nobody asked for one.
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Checksum {
        match self {
            Self::Sha256(hasher) => Checksum::Sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => Checksum::Sha512(hasher.finalize().into()),
        }
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * N)?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_published_digest_of_abc() {
        let mut hasher = Checksum::hasher(None);
        hasher.update(b"a");
        hasher.update(b"bc");
        let digest = hasher.finish();
        assert_eq!(digest, Checksum::sha256(&ABC.to_uppercase()).unwrap());
        assert_eq!(digest.to_string(), format!("sha256:{ABC}"));
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        for hex in ["", "zz", &ABC[1..], &format!("{ABC}0"), &ABC.replace('b', "é")] {
            assert!(Checksum::sha256(hex).is_err(), "{hex}");
        }
        assert_eq!(Checksum::sha512(ABC).unwrap_err().to_string(), "a sha512 checksum is 128 hexadecimal digits");
    }
}
