//! Secrets that came with a call. Keys may be shown, values never.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// The secret of ControllerUnpublishVolume by which a takeover says that the holder is dead, with the value `true`. A backend whose
/// storage system waits for the holder may then use force. Secrets come from whoever runs the CO, never from its users.
pub const HOLDER_IS_DEAD: &str = "hawser.dev/holder-is-dead";

/// The `secrets` of a request (CSI spec, "Secrets Requirements").
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, SecretString>);

impl Secrets {
    /// The secret under `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(ExposeSecret::expose_secret)
    }

    /// Whether the call brought none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<BTreeMap<String, String>> for Secrets {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map.into_iter().map(|(key, value)| (key, value.into())).collect())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secrets = Secrets::from(BTreeMap::from([("password".to_owned(), "hunter2".to_owned())]));
        assert_eq!(format!("{secrets:?}"), r#"{"password"}"#);
        assert_eq!(secrets.get("password"), Some("hunter2"));
    }
}
