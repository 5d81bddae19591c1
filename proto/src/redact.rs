//! How sensitive fields appear in `Debug`. The impls that use it are written by `build.rs`.

use std::collections::BTreeMap;
use std::fmt;

const REDACTED: &str = "<redacted>";

/// Shows that a sensitive field is set, and with which keys, but none of its values.
pub(crate) struct Redacted<'a, T>(pub(crate) &'a T);

/// Keys are names that an administrator chose for the parts of a secret. They are not secret, and
/// a missing one is the usual reason for looking.
impl fmt::Debug for Redacted<'_, BTreeMap<String, String>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|key| (key, REDACTED))).finish()
    }
}

impl fmt::Debug for Redacted<'_, Vec<String>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => f.write_str("[]"),
            count => write!(f, "[<{count} redacted>]"),
        }
    }
}

impl fmt::Debug for Redacted<'_, Option<String>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { REDACTED } else { "None" })
    }
}

impl fmt::Debug for Redacted<'_, Vec<u8>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes redacted>", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_its_keys() {
        let secrets = BTreeMap::from([("password".to_owned(), "hunter2".to_owned()), ("user".to_owned(), "admin".to_owned())]);
        assert_eq!(format!("{:?}", Redacted(&secrets)), r#"{"password": "<redacted>", "user": "<redacted>"}"#);
        assert_eq!(format!("{:?}", Redacted(&BTreeMap::new())), "{}");
    }

    #[test]
    fn a_list_shows_its_length() {
        let flags = vec!["ro".to_owned(), "password=hunter2".to_owned()];
        assert_eq!(format!("{:?}", Redacted(&flags)), "[<2 redacted>]");
        assert_eq!(format!("{:?}", Redacted(&Vec::<String>::new())), "[]");
    }
}
