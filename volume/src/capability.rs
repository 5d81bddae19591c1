//! What a backend can do, as data: advertised to COs, checked before a call reaches the backend, and used to choose tests.

use serde::{Deserialize, Serialize};

use crate::access::{Access, AccessKind, AccessMode, Filesystem};
use crate::error::{Error, Result};

/// The spec level whose optional RPCs are advertised. All of them are served; suites and COs of 1.12 reject capability numbers
/// that they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SpecLevel {
    /// VolumeCondition in answers, no health RPCs advertised.
    #[default]
    #[serde(rename = "1.12")]
    V1_12,
    /// The health RPCs advertised instead of VolumeCondition.
    #[serde(rename = "1.13")]
    V1_13,
}

/// Which volumes a driver says that it can list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listing {
    /// All volumes of its backends.
    #[default]
    All,
    /// None: it does not say that it can. Mesos' own storage provider offers whatever is listed, and every agent has one.
    None,
}

/// Whether and when a volume can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expansion {
    /// Only while no node has it.
    Offline,
    /// Also while it is published.
    Online,
}

/// The abilities of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The modes in which a volume can be used.
    pub modes: &'static [AccessMode],
    /// Whether a volume can be given as a raw device.
    pub block: bool,
    /// The filesystems that a volume can be given with; empty when the backend has its own (NFS).
    pub filesystems: &'static [Filesystem],
    /// Whether a volume must be attached to a node before the node can use it.
    pub attach: bool,
    /// Whether it can be attached read-only.
    pub attach_read_only: bool,
    /// Whether it can grow.
    pub expand: Option<Expansion>,
    /// Whether snapshots exist.
    pub snapshots: bool,
    /// Whether several volumes can be snapshotted at one moment.
    pub group_snapshots: bool,
    /// Whether a volume can be made from another one.
    pub clone: bool,
    /// Whether properties other than the size can be changed.
    pub modify: bool,
    /// Whether the free capacity is known.
    pub capacity: bool,
}

impl Capabilities {
    /// Refuses an access that the backend does not have, with what it has instead.
    pub fn check(&self, access: &Access) -> Result<()> {
        if !self.modes.contains(&access.mode) {
            let modes: Vec<String> = self.modes.iter().map(ToString::to_string).collect();
            return Err(Error::invalid(format!(
                "access mode {} is not possible on this backend; it has {}",
                access.mode,
                modes.join(", ")
            )));
        }
        match &access.kind {
            AccessKind::Block if !self.block => {
                Err(Error::invalid("block access is not possible on this backend; ask for a mounted filesystem"))
            }
            AccessKind::Mount(mount) => match mount.filesystem {
                Some(fs) if !self.filesystems.contains(&fs) => {
                    let known: Vec<_> = self.filesystems.iter().map(|fs| fs.as_str()).collect();
                    Err(Error::invalid(match known.as_slice() {
                        [] => format!("fs_type {fs} cannot be chosen on this backend; leave it empty"),
                        known => format!("fs_type {fs} is not possible on this backend; use {}", known.join(", ")),
                    }))
                }
                _ => Ok(()),
            },
            AccessKind::Block => Ok(()),
        }
    }
}
