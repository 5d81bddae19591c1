//! Who has a volume: what is recorded of it, and the rule by which it is granted to another.

use serde::{Deserialize, Serialize};

use crate::access::{Access, AccessMode};
use crate::error::{Error, Result};
use crate::id::{BackendName, NodeId, VolumeId};
use crate::record::now;

/// A node that has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The node.
    pub node: NodeId,
    /// How it may use the volume.
    pub mode: AccessMode,
    /// As a raw device.
    pub block: bool,
    /// Without writing.
    pub read_only: bool,
    /// The volume's counter when it was granted.
    pub epoch: u64,
    /// When it was granted, in nanoseconds since 1970.
    pub since: u64,
    /// The boot of the machine on which the node took it, while it has it.
    pub taken: Option<String>,
}

impl Attachment {
    /// A grant of now, which the node has not taken yet.
    pub fn new(node: &NodeId, access: &Access, read_only: bool, epoch: u64) -> Self {
        Self { node: node.clone(), mode: access.mode, block: access.is_block(), read_only, epoch, since: now(), taken: None }
    }

    /// Whether the node has taken it, on the machine that is in this boot.
    pub fn is_taken_in(&self, boot: &str) -> bool {
        self.taken.as_deref() == Some(boot)
    }

    /// How the node has the volume, for messages.
    pub fn describe(&self) -> String {
        format!(
            "{}{}{}",
            self.mode,
            if self.block { ", raw block" } else { ", mounted" },
            if self.read_only { ", read-only" } else { "" }
        )
    }
}

/// Whether `volume` can be granted to `node` while `attachments` are.
///
/// * the same grant again: that;
/// * another grant to the same node: `AlreadyExists`;
/// * another node has it and either wants it alone: `Precondition`, naming the node;
/// * otherwise nothing, and it can be granted.
pub fn grant<'a>(
    attachments: &'a [Attachment],
    volume: &VolumeId,
    node: &NodeId,
    access: &Access,
    read_only: bool,
) -> Result<Option<&'a Attachment>> {
    if let Some(existing) = attachments.iter().find(|a| a.node == *node) {
        return if (existing.mode, existing.block, existing.read_only) == (access.mode, access.is_block(), read_only) {
            Ok(Some(existing))
        } else {
            Err(Error::already_exists(format!(
                "volume {volume} is attached to {node} already as {}; detach it before attaching it in another way",
                existing.describe()
            )))
        };
    }
    match attachments.iter().find(|a| access.mode.is_single_node() || a.mode.is_single_node()) {
        Some(other) => Err(Error::precondition(format!(
            "volume {volume} is attached to node {} ({}); it can go to {node} when it is detached there",
            other.node,
            other.describe()
        ))),
        None => Ok(None),
    }
}

/// `Exhausted` when `node` has `limit` volumes of the backend already; `volumes` are the attachments of each volume that there is.
pub fn require_room<'a>(
    backend: &BackendName,
    node: &NodeId,
    limit: u32,
    volumes: impl Iterator<Item = &'a [Attachment]>,
) -> Result<()> {
    let has = volumes.filter(|attachments| attachments.iter().any(|a| a.node == *node)).count();
    if has < usize::try_from(limit).unwrap_or(usize::MAX) {
        return Ok(());
    }
    Err(Error::exhausted(format!(
        "node {node} has {has} volumes of backend {backend} and may have {limit}; detach one or raise `max-volumes-per-node`"
    )))
}

/// The error for a node that uses what was not granted to it.
pub fn not_granted(attachments: &[Attachment], volume: &VolumeId, node: &NodeId) -> Error {
    let holders: Vec<&str> = attachments.iter().map(|a| a.node.as_str()).collect();
    Error::precondition(match holders.as_slice() {
        [] => format!("volume {volume} is not attached to node {node}; ControllerPublishVolume comes first"),
        holders => format!("volume {volume} is attached to {}, not to node {node}", holders.join(", ")),
    })
}
