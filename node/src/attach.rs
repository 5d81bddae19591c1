//! The seam behind which a volume becomes a device or directory of this node.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use hawser_host::{Detached, Device, MountEntry};
use hawser_volume::{Bytes, Deadline, NodeId, Result, Secrets, Segments, VolumeId};

/// One configured backend, as the node sees it.
///
/// Methods may block; the service calls them on threads where that is allowed, one at a time for a volume, and never cancels
/// them. Each is idempotent, and its opposite undoes also what it left half done when it was killed.
pub trait Attacher: Send + Sync + fmt::Debug {
    /// Where this node is, for the scheduler.
    fn place(&self) -> Segments;

    /// How many volumes of this backend the node can have; nothing when there is no limit.
    fn max_volumes(&self) -> Option<u32>;

    /// Makes the node known to the backend; called when the service starts, before any other method.
    fn register(&self, node: &NodeId) -> Result<()>;

    /// Makes a volume that was granted to this node available on it. `Precondition` when it was not granted (naming who has it),
    /// `NotFound` when it does not exist.
    fn attach(&self, attach: &Attach) -> Result<Source>;

    /// Takes the volume away from the node again: when it returns, the device is gone or at rest, to be taken away by the storage system,
    /// which has everything that was written. Success when there is nothing to take away; `Precondition` when something still uses it.
    fn detach(&self, volume: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<()>;

    /// The volume that `mount` shows, or nothing if it is not one of this backend.
    fn identify(&self, mount: &MountEntry) -> Result<Option<VolumeId>>;

    /// Whether `mount` shows `volume`: what [`Attacher::identify`] says. Asked for every mount of the machine by most calls, so a
    /// backend that can tell faster that a mount shows another one should.
    fn shows(&self, mount: &MountEntry, volume: &VolumeId) -> Result<bool> {
        Ok(self.identify(mount)?.as_ref() == Some(volume))
    }

    /// Lets the node see the size that the volume has now, and returns it. A backend whose devices learn of it late waits a moment for
    /// the size to be `at_least` so much.
    fn rescan(&self, volume: &VolumeId, node: &NodeId, at_least: Option<Bytes>) -> Result<Bytes>;

    /// Whether the storage system answers: asked before a mount of it is touched, so that nothing hangs in one whose server is silent,
    /// and keeps it in use. `Unavailable` when it does not.
    fn answers(&self) -> Result<()> {
        Ok(())
    }

    /// Whether the backend has seen that a volume which is mounted here was given to others meanwhile. Never asks, and so never waits.
    fn is_withdrawn(&self, _volume: &VolumeId) -> bool {
        false
    }

    /// Whether another node service on this machine has the volume too, so that mounts of it may be its. By default not: for most storage
    /// systems a machine is one node.
    fn is_shared_here(&self, _volume: &VolumeId, _node: &NodeId) -> Result<bool> {
        Ok(false)
    }
}

/// A volume for this node.
#[derive(Debug)]
pub struct Attach {
    /// The volume.
    pub volume: VolumeId,
    /// This node.
    pub node: NodeId,
    /// What the controller side answered, as far as the CO passed it on.
    pub publish_context: BTreeMap<String, String>,
    /// What the volume's creator said.
    pub volume_context: BTreeMap<String, String>,
    /// The mount flags of the call.
    pub mount_flags: Vec<String>,
    /// Without writing.
    pub read_only: bool,
    /// Secrets of the call.
    pub secrets: Secrets,
    /// Until when the caller waits for its answer.
    pub patience: Deadline,
    /// Until when the backend may try, whether or not the caller still waits.
    pub deadline: Deadline,
}

/// Makes a mount that is attached to nothing.
pub type MakeMount = Box<dyn FnOnce() -> Result<Detached> + Send>;

/// What a volume is on this node.
pub enum Source {
    /// A block device, held open, with its identity proved.
    Device {
        /// The device.
        device: Device,
        /// Whether the storage system knows the content to be blank (true) or written (false). A device that is known to be
        /// written is never formatted, whatever its content looks like.
        blank: Option<bool>,
    },
    /// A directory that is shown as it is.
    Directory {
        /// Where it is.
        path: PathBuf,
        /// Without writing.
        read_only: bool,
    },
    /// A mount that is still to be made, with all options of the call in it.
    Mount {
        /// Makes it.
        make: MakeMount,
        /// Without writing.
        read_only: bool,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Device { device, blank } => f.debug_struct("Device").field("device", device).field("blank", blank).finish(),
            Source::Directory { path, read_only } => {
                f.debug_struct("Directory").field("path", path).field("read_only", read_only).finish()
            }
            Source::Mount { read_only, .. } => f.debug_struct("Mount").field("read_only", read_only).finish_non_exhaustive(),
        }
    }
}
