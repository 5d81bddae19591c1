//! The native ids of backends that name objects themselves: which name, and which object of that name.

use std::fmt;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::id::ObjectName;

/// Digits of a digest, and of an incarnation.
const DIGEST: usize = 32;
const INCARNATION: usize = 8;

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this can be the digest of a name.
pub fn is_digest(text: &str) -> bool {
    is_hex(text, DIGEST)
}

/// `<digest>-<incarnation>`: 32 and 8 hexadecimal digits. The digest is that of the object's name; the incarnation tells an object
/// from another one that had the same name before, so that a late call for the old one does not reach the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeId {
    /// Of the name.
    pub digest: String,
    /// Random.
    pub incarnation: String,
}

impl NativeId {
    /// The id of a new object called `name`.
    pub fn fresh(name: &ObjectName) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        Self { digest: name.digest(), incarnation: random[..INCARNATION].to_owned() }
    }

    /// Reads an id.
    pub fn parse(text: &str) -> Option<Self> {
        let (digest, incarnation) = text.split_once('-')?;
        (is_digest(digest) && is_hex(incarnation, INCARNATION))
            .then(|| Self { digest: digest.to_owned(), incarnation: incarnation.to_owned() })
    }

    /// Reads the id of a `noun` that a caller sent; one that cannot have been given names nothing.
    pub fn of(noun: &str, text: &str) -> Result<Self> {
        Self::parse(text).ok_or_else(|| Error::not_found(format!("{noun} {text} does not exist")))
    }
}

impl fmt::Display for NativeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.digest, self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_native_id_or_not_found(text in any::<String>()) {
            match NativeId::of("volume", &text) {
                Ok(id) => prop_assert_eq!(id.to_string(), text),
                Err(error) => prop_assert_eq!(error.kind(), crate::Kind::NotFound),
            }
        }
    }
}
