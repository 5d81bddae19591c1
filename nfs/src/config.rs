//! The configuration of an NFS backend.

use std::path::PathBuf;
use std::time::Duration;

use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::options;
use crate::template::Template;

/// What happens to the content of a volume that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// It is removed.
    #[default]
    Delete,
    /// It stays where it is, or in `retained/` if it has no place of its own.
    Retain,
    /// It is moved to `archived/`.
    Archive,
}

/// `type: nfs`: volumes below a directory that an NFS server exports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NfsConfig {
    /// The server: a name or an address.
    pub server: String,
    /// The directory there, an absolute path.
    pub path: PathBuf,
    /// Mount options of volumes on nodes, before those of a volume and of a call. Default: none beside `hard`, and the best version.
    pub mount_options: Vec<String>,
    /// Mount options by which Hawser itself works in the export, beside its own (`softerr`, `timeo`, `retrans`, no caches): `vers`, `sec`,
    /// `port` and such. Default: none.
    pub own_mount_options: Vec<String>,
    /// Where a volume's directory is below the export, unless its parameters say so: a path in which `${pvc.metadata.name}`,
    /// `${pvc.metadata.namespace}`, `${pv.metadata.name}` and `${name}` are filled in. Default: in Hawser's own directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_dir: Option<Template>,
    /// What happens to the content of a deleted volume, unless its parameters say so: `delete` (default), `retain` or `archive`.
    pub on_delete: OnDelete,
    /// The mode of a new volume's directory, unless its parameters say so, in octal. Default: `0777`, as who uses it is not known.
    pub mount_permissions: String,
    /// How many seconds the server may be silent before its calls are answered with UNAVAILABLE, 1 to 300. Default: 10.
    pub answer_within_seconds: u64,
    /// The exported directory as this machine has it on a disk of its own, where the controller runs on the server: then sizes are enforced,
    /// by the quotas of projects (xfs, or ext4 with the feature `project`, mounted with `prjquota`). Default: sizes are not enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_path: Option<PathBuf>,
    /// How many volumes a node may have at one time. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_volumes_per_node: Option<u32>,
}

impl Default for NfsConfig {
    fn default() -> Self {
        Self {
            server: String::new(),
            path: PathBuf::new(),
            mount_options: Vec::new(),
            own_mount_options: Vec::new(),
            sub_dir: None,
            on_delete: OnDelete::default(),
            mount_permissions: "0777".to_owned(),
            answer_within_seconds: 10,
            local_path: None,
            max_volumes_per_node: None,
        }
    }
}

impl NfsConfig {
    /// How long the server may be silent.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.answer_within_seconds)
    }

    /// What is wrong with the values, by key.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let server_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if self.server.is_empty() || !self.server.chars().all(server_ok) {
            mistakes.push(("server", format!("{:?} must be a host name or an address", self.server)));
        }
        if !self.path.is_absolute() || self.path.components().any(|part| part.as_os_str() == "..") {
            mistakes.push(("path", format!("{:?} must be an absolute path without `..`", self.path)));
        }
        if self.local_path.as_ref().is_some_and(|path| !path.is_absolute()) {
            mistakes.push(("local-path", "must be an absolute path".to_owned()));
        }
        for (key, flags) in [("mount-options", &self.mount_options), ("own-mount-options", &self.own_mount_options)] {
            if let Err(error) = options::parse("it", flags) {
                mistakes.push((key, error.to_string()));
            }
        }
        if let Err(error) = mode(&self.mount_permissions) {
            mistakes.push(("mount-permissions", error.to_string()));
        }
        if !(1..=300).contains(&self.answer_within_seconds) {
            mistakes.push(("answer-within-seconds", format!("{} must be between 1 and 300", self.answer_within_seconds)));
        }
        if self.max_volumes_per_node == Some(0) {
            mistakes.push(("max-volumes-per-node", "must be more than zero; leave it out for no limit".to_owned()));
        }
        mistakes
    }
}

/// Reads a mode, in octal; zero, as csi-driver-nfs has it, means that none is set.
pub fn mode(text: &str) -> Result<Option<u32>> {
    let wrong = || Error::invalid(format!("{text:?} is not a mode; write it in octal, as in 0770"));
    match u32::from_str_radix(text.trim(), 8).map_err(|_| wrong())? {
        0 => Ok(None),
        mode if mode <= 0o7777 => Ok(Some(mode)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("0770").unwrap(), Some(0o770));
        assert_eq!(mode("2775").unwrap(), Some(0o2775));
        assert_eq!(mode("0").unwrap(), None);
        for text in ["", "0o770", "778", "-1", "17777", "rwx"] {
            assert!(mode(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_mistake_is_named() {
        let wrong = NfsConfig {
            server: "a b".into(),
            path: "x".into(),
            mount_options: vec!["udp".into()],
            own_mount_options: vec!["nolock".into()],
            mount_permissions: "9".into(),
            local_path: Some("x".into()),
            answer_within_seconds: 0,
            max_volumes_per_node: Some(0),
            ..NfsConfig::default()
        };
        assert_eq!(wrong.mistakes().len(), 8, "{:?}", wrong.mistakes());
        let right = NfsConfig { server: "nfs.example".into(), path: "/export".into(), ..NfsConfig::default() };
        assert_eq!(right.mistakes(), []);
    }
}
