//! Names of things: backends, volumes, snapshots, groups and nodes.
//!
//! A [`VolumeId`] is `<backend>:<native id>`: the part before the colon routes a call to one configured backend, the part
//! after it is that backend's own. Both are `[A-Za-z0-9._-]`, so an id is safe as a path component, and the whole is at
//! most 128 bytes, the spec's limit for strings (CSI spec, "Size Limits").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, shown};

/// The spec's limit for every string field that does not say otherwise, in bytes.
pub const STRING_MAX: usize = 128;

/// The spec's limit for `node_id`, in bytes (NodeGetInfoResponse).
pub const NODE_ID_MAX: usize = 256;

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The configured name of one backend (`ebs-eu`, `nfs`, `local`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackendName(String);

impl BackendName {
    /// Longest name, in bytes: a topology key is `<driver>/<backend>` and its name part may have 63.
    pub const MAX: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackendName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let edge_ok = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if is_word(text) && text.len() <= Self::MAX && edge_ok(text.chars().next()) && edge_ok(text.chars().last()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!(
                "backend name {} must be 1 to {} characters of [A-Za-z0-9._-], beginning and ending with a letter or digit",
                shown(text),
                Self::MAX
            )))
        }
    }
}

impl TryFrom<String> for BackendName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<BackendName> for String {
    fn from(name: BackendName) -> Self {
        name.0
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An id of the form `<backend>:<native>`. Volumes, snapshots and groups share the form and differ by type.
macro_rules! routed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name {
            backend: BackendName,
            native: String,
        }

        impl $name {
            /// Builds an id from its parts; `native` must be `[A-Za-z0-9._-]` and the whole at most 128 bytes.
            pub fn new(backend: BackendName, native: impl Into<String>) -> Result<Self, Error> {
                let native = native.into();
                let length = backend.as_str().len() + 1 + native.len();
                if is_word(&native) && length <= STRING_MAX {
                    Ok(Self { backend, native })
                } else {
                    Err(Error::invalid(format!(
                        "{} is not an id: after the backend there must be [A-Za-z0-9._-], at most {STRING_MAX} bytes in all",
                        shown(&format!("{backend}:{native}"))
                    )))
                }
            }

            /// The backend that owns the object.
            pub fn backend(&self) -> &BackendName {
                &self.backend
            }

            /// The backend's own name of the object.
            pub fn native(&self) -> &str {
                &self.native
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let Some((backend, native)) = text.split_once(':') else {
                    return Err(Error::invalid(format!("{} is not an id of the form <backend>:<native id>", shown(text))));
                };
                Self::new(backend.parse()?, native)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", self.backend, self.native)
            }
        }
    };
}

routed_id! {
    /// A volume.
    VolumeId
}
routed_id! {
    /// A snapshot of one volume.
    SnapshotId
}
routed_id! {
    /// A group snapshot: several snapshots cut at one moment.
    GroupSnapshotId
}

/// A node, as NodeGetInfo names it and the CO repeats it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

impl NodeId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.len() > NODE_ID_MAX || text.chars().any(char::is_control) {
            return Err(Error::invalid(format!("node_id must be 1 to {NODE_ID_MAX} bytes without control characters")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for NodeId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that the CO chose: 1 to 128 bytes of any Unicode but control characters (CSI spec, CreateVolumeRequest.name).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName(String);

impl ObjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// See [`digest`].
    pub fn digest(&self) -> String {
        digest(&self.0)
    }
}

/// 128 bits of SHA-256 of a name, in hexadecimal: names of any length and alphabet become 32 safe characters.
pub fn digest(name: &str) -> String {
    hex(&Sha256::digest(name.as_bytes())[..16])
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl FromStr for ObjectName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::invalid("name is required: give the object a unique name"));
        }
        if text.len() > STRING_MAX {
            return Err(Error::invalid(format!("name has {} bytes; at most {STRING_MAX} are allowed", text.len())));
        }
        if text.chars().any(char::is_control) {
            return Err(Error::invalid(format!("name {} has control characters; remove them", shown(text))));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ObjectName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_could_leave_a_directory_are_refused() {
        for bad in ["", ":", "a:", ":b", "local:..", "local:.", "local:a/b", "local:a:b", "local:a\0", "../x:y", "-a:b", "local"]
        {
            assert!(bad.parse::<VolumeId>().is_err(), "{bad:?}");
        }
        assert!(format!("local:{}", "x".repeat(122)).parse::<VolumeId>().is_ok());
        assert!(format!("local:{}", "x".repeat(123)).parse::<VolumeId>().is_err());
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text(backend in "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", native in "[A-Za-z0-9_-][A-Za-z0-9._-]{0,60}") {
            let id = VolumeId::new(backend.parse().unwrap(), native).unwrap();
            prop_assert_eq!(id.to_string().parse::<VolumeId>().unwrap(), id);
        }

        #[test]
        fn any_text_is_an_id_or_an_error(text in any::<String>()) {
            if let Ok(id) = text.parse::<VolumeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn a_name_keeps_its_text_and_has_a_path_safe_digest(text in any::<String>()) {
            if let Ok(name) = text.parse::<ObjectName>() {
                prop_assert_eq!(name.as_str(), text);
                prop_assert_eq!(name.digest().len(), 32);
            }
        }
    }
}
