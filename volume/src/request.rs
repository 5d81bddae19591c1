//! Reading the fields that requests of several services have, each with an error that names the field and how to mend it.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};
use std::str::FromStr;

use hawser_proto::csi;

use crate::access::Access;
use crate::deadline::Deadline;
use crate::error::{Error, Kind, Result};
use crate::id::STRING_MAX;
use crate::parameters;
use crate::secrets::Secrets;

/// The longest path that is accepted, in bytes: the kernel's own limit (the spec asks for at least 128).
const PATH_MAX: usize = 4095;

/// The spec's limit for a map, in bytes.
const SECRETS_MAX: usize = 4096;

/// Until when the caller waits.
pub fn deadline<T>(request: &tonic::Request<T>) -> Deadline {
    Deadline::from_grpc_timeout(request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok()))
}

/// Refuses an empty field.
pub fn required<'a>(field: &str, text: &'a str) -> Result<&'a str> {
    if text.is_empty() { Err(Error::invalid(format!("{field} is required"))) } else { Ok(text) }
}

/// An id that the caller must give. One that could not be ours is `NotFound`, as any other unknown id; one that breaks the
/// spec's limits or could be meant to leave a directory is `Invalid`.
pub fn id<T: FromStr<Err = Error>>(field: &str, text: &str) -> Result<T> {
    required(field, text)?;
    if text.len() > STRING_MAX {
        return Err(Error::invalid(format!("{field} has {} bytes; at most {STRING_MAX} are allowed", text.len())));
    }
    if text.chars().any(|c| c.is_control() || c == '/') || text.contains("..") {
        return Err(Error::invalid(format!("{field} {text:?} has control characters, a slash or \"..\", which no id has")));
    }
    // The span of an RPC has a field for each kind of id; what is no field of it is ignored.
    tracing::Span::current().record(field, text);
    text.parse().map_err(|error: Error| error.with_kind(Kind::NotFound).while_doing(format_args!("{field} does not exist")))
}

/// The capability that the caller must give.
pub fn access(capability: Option<&csi::VolumeCapability>) -> Result<Access> {
    capability
        .ok_or_else(|| Error::invalid("volume_capability is required: say how the volume will be used"))
        .and_then(Access::try_from)
}

/// The backend's wishes: within the limits, and without the CO's own keys.
pub fn parameters(field: &str, map: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    parameters::check_map(field, map)?;
    Ok(parameters::without_co_keys(map))
}

/// The secrets of the call.
pub fn secrets(map: BTreeMap<String, String>) -> Result<Secrets> {
    let length: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    if length > SECRETS_MAX {
        return Err(Error::invalid(format!("secrets have {length} bytes; at most {SECRETS_MAX} are allowed")));
    }
    Ok(map.into())
}

/// A number of entries to list; nothing means all.
pub fn max_entries(number: i32) -> Result<usize> {
    match usize::try_from(number) {
        Ok(0) => Ok(usize::MAX),
        Ok(number) => Ok(number),
        Err(_) => Err(Error::invalid(format!("max_entries is {number}; it cannot be negative"))),
    }
}

/// A path of this machine that the caller must give: absolute, without `..`.
pub fn path(field: &str, text: &str) -> Result<PathBuf> {
    required(field, text)?;
    if text.len() > PATH_MAX || text.contains('\0') {
        return Err(Error::invalid(format!("{field} must have at most {PATH_MAX} bytes and no NUL")));
    }
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(Error::invalid(format!("{field} {text:?} must be an absolute path")));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Error::invalid(format!("{field} {text:?} must not contain \"..\"")));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::VolumeId;

    #[test]
    fn an_unknown_id_is_not_found_and_a_dangerous_one_is_invalid() {
        for (text, kind) in [
            ("", Kind::Invalid),
            ("local:../../etc", Kind::Invalid),
            ("a/b", Kind::Invalid),
            ("local:a\nb", Kind::Invalid),
            (&"x".repeat(129), Kind::Invalid),
            ("reallyfakevolumeid", Kind::NotFound),
            ("local:with space", Kind::NotFound),
        ] {
            assert_eq!(id::<VolumeId>("volume_id", text).unwrap_err().kind(), kind, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_safe_or_refused(text in any::<String>()) {
            if let Ok(path) = path("target_path", &text) {
                prop_assert!(path.is_absolute() && !path.to_string_lossy().split('/').any(|part| part == ".."));
            }
        }
    }
}
