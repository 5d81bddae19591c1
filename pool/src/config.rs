//! The configuration of a local backend.

use std::path::PathBuf;

use hawser_volume::Bytes;
use serde::{Deserialize, Serialize};

use crate::store::Kind;

/// `type: local`: volumes below a directory of this machine, or of a directory that several machines share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LocalConfig {
    /// The directory; made if it is missing. An absolute path. Keep it on xfs or btrfs: there a snapshot takes no time and no
    /// space. Default: `/var/lib/hawser/local`.
    pub root: PathBuf,
    /// `image` (default): a sparse file a volume, attached as a loop device, with a size that holds; any filesystem or raw
    /// block. `directory`: a directory a volume, mounted as it is, without a size limit and without snapshots.
    pub kind: Kind,
    /// What all volumes together may have, as in `500GiB`. Default: the free space of the filesystem.
    #[serde(with = "hawser_volume::bytes::text_option", skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Bytes>,
    /// How many times the capacity may be promised, 1.0 to 1000. Default: 1.0, which promises only what exists.
    pub overcommit: f64,
    /// How many volumes a node may have at one time. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_volumes_per_node: Option<u32>,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            root: "/var/lib/hawser/local".into(),
            kind: Kind::default(),
            capacity: None,
            overcommit: 1.0,
            max_volumes_per_node: None,
        }
    }
}

impl LocalConfig {
    /// What is wrong with the values, by key.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if !self.root.is_absolute() {
            mistakes.push(("root", format!("{:?} must be an absolute path", self.root)));
        }
        if !(1.0..=1000.0).contains(&self.overcommit) {
            mistakes.push(("overcommit", format!("{} must be between 1.0 and 1000", self.overcommit)));
        }
        if self.capacity == Some(Bytes::ZERO) {
            mistakes.push(("capacity", "must be more than zero; leave it out for the free space".to_owned()));
        }
        if self.max_volumes_per_node == Some(0) {
            mistakes.push(("max-volumes-per-node", "must be more than zero; leave it out for no limit".to_owned()));
        }
        mistakes
    }
}
