//! The names that the driver has listed: what is known of volumes while the driver is away.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use hawser_proto::csi;

use super::resolve::NAME;

/// The names of the last list. Empty until the driver has listed for the first time.
#[derive(Debug, Default)]
pub(super) struct Listed(RwLock<BTreeSet<String>>);

impl Listed {
    /// Remembers a complete list in place of the one before.
    pub(super) fn replace<'a>(&self, volumes: impl Iterator<Item = &'a csi::Volume>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = volumes.map(name).collect();
    }

    /// Adds what a list has from which some may be missing.
    pub(super) fn add<'a>(&self, volumes: impl Iterator<Item = &'a csi::Volume>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(volumes.map(name));
    }

    /// Whether a volume of this name was listed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

fn name(volume: &csi::Volume) -> String {
    volume.volume_context.get(NAME).unwrap_or(&volume.volume_id).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_known_by_its_name_or_else_by_its_id() {
        let listed = Listed::default();
        assert!(!listed.has("letters"));
        let named = csi::Volume {
            volume_id: "local:1".to_owned(),
            volume_context: [(NAME.to_owned(), "letters".to_owned())].into(),
            ..Default::default()
        };
        let nameless = csi::Volume { volume_id: "vol-2".to_owned(), ..Default::default() };
        listed.replace([&named, &nameless].into_iter());
        assert!(listed.has("letters") && listed.has("vol-2") && !listed.has("local:1"));
        listed.replace([&nameless].into_iter());
        assert!(!listed.has("letters"));
    }
}
