//! What is written down about an object. Unknown fields are refused: a record of a newer Hawser is not half understood.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use hawser_volume::record::time_of;
use hawser_volume::{Attachment, Bytes, ObjectName, Origin};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::OnDelete;

/// Version of the records; one that is higher is refused.
pub(crate) const FORMAT: u32 = 1;

/// How far an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its content is not complete, or not in its place; it cannot be used.
    Filling,
    /// It can be used.
    Ready,
    /// It is being removed. It never comes back.
    Leaving,
}

/// A volume as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeRecord {
    pub(crate) format: u32,
    /// The native id.
    pub id: String,
    /// The name that the CO gave.
    pub name: ObjectName,
    /// The size that was asked for.
    pub size: Bytes,
    /// Whether the server enforces the size.
    pub enforced: bool,
    /// The project of the disk's quotas by which it does.
    #[serde(default)]
    pub(crate) project: Option<u32>,
    /// Its place below the export, if it has one of its own.
    pub path: Option<PathBuf>,
    /// Whether the directory at `path` was there before: then it is never moved nor removed.
    #[serde(default)]
    pub is_static: bool,
    /// What it was made from.
    pub origin: Option<Origin>,
    /// How far it is.
    pub state: State,
    /// The process that fills it.
    pub(crate) filler: Option<Uuid>,
    /// What happens to its content when it is deleted.
    pub on_delete: OnDelete,
    /// Owner, group and mode of its directory, as far as they were asked for.
    pub(crate) owner: Owner,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
    /// Counts attachments: whoever holds an older number has lost the volume meanwhile.
    pub epoch: u64,
    /// Who has it.
    pub attachments: Vec<Attachment>,
    /// What the node side needs to know, as the creator gave it.
    pub context: BTreeMap<String, String>,
}

/// Whose a volume's directory is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The mode.
    pub mode: Option<u32>,
}

/// A snapshot as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRecord {
    pub(crate) format: u32,
    /// The native id.
    pub id: String,
    /// The name that the CO gave.
    pub name: ObjectName,
    /// The native id of the volume that it shows.
    pub source: String,
    /// Bytes in it once it is complete; the size of the volume before.
    pub size: Bytes,
    /// How far it is.
    pub state: State,
    pub(crate) filler: Option<Uuid>,
    /// Whether nobody could write to the volume while it was copied: then it shows one moment. Otherwise each file in it shows a moment
    /// of its own.
    pub still: bool,
    /// Files that were changed each time that they were copied.
    pub changing: u64,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
}

impl SnapshotRecord {
    /// When it was cut.
    pub fn created(&self) -> SystemTime {
        time_of(self.created)
    }

    /// Whether it can be restored from.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }
}

/// Whose a path below the export is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PathClaim {
    /// A volume's, by native id.
    Volume(PathBuf, String),
    /// Nobody's, but there are, or were, volumes below it.
    Above(PathBuf),
    /// Nobody's any more.
    Free(PathBuf),
}
