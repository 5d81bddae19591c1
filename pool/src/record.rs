//! What is written down about an object. Unknown fields are refused: a record of a newer Hawser is not half understood.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hawser_volume::record::time_of;
use hawser_volume::{Attachment, Bytes, ObjectName, Origin};
use serde::{Deserialize, Serialize};

/// Version of the records; one that is higher is refused.
pub(crate) const FORMAT: u32 = 1;

/// Whether the blocks of a volume are set aside when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provisioning {
    /// Blocks are taken when they are first written.
    #[default]
    Thin,
    /// Blocks are taken at once; writing can never fail for want of space.
    Thick,
}

/// A volume as recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeRecord {
    pub(crate) format: u32,
    /// The native id.
    pub id: String,
    /// The name that the CO gave.
    pub name: ObjectName,
    /// The size; for a directory the size that was asked for, which nothing enforces.
    pub size: Bytes,
    /// Thin or thick.
    pub provisioning: Provisioning,
    /// What it was made from.
    pub origin: Option<Origin>,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
    /// Counts attachments: whoever holds an older number has lost the volume meanwhile.
    pub epoch: u64,
    /// Who has it.
    pub attachments: Vec<Attachment>,
    /// What the node side needs to know (mkfs options), as the creator gave it.
    pub context: BTreeMap<String, String>,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    /// Its content is complete and flushed.
    Ready,
    /// The source stands still until the copy is complete.
    Copying,
}

/// A snapshot as recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRecord {
    pub(crate) format: u32,
    /// The native id.
    pub id: String,
    /// The name that the CO gave, or the group's name and the volume for a member of a group.
    pub name: ObjectName,
    /// The native id of the volume that it shows.
    pub source: String,
    /// The size of that volume at the cut.
    pub size: Bytes,
    /// Data in it at the cut; what the volume may need anew when all of it is written again.
    pub data: Bytes,
    /// Whether it shares blocks with the volume (a reflink) instead of having its own.
    pub(crate) shared: bool,
    /// How far it is.
    pub state: SnapshotState,
    /// The native id of the group that it belongs to.
    pub group: Option<String>,
    /// The source's attachment counter at the cut: if it has not moved, the source has not been written since.
    pub(crate) source_epoch: u64,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
}

impl VolumeRecord {
    /// When it was made.
    pub fn created(&self) -> SystemTime {
        time_of(self.created)
    }
}

impl SnapshotRecord {
    /// When it was cut.
    pub fn created(&self) -> SystemTime {
        time_of(self.created)
    }

    /// Whether it can be restored from.
    pub fn is_ready(&self) -> bool {
        self.state == SnapshotState::Ready
    }
}
