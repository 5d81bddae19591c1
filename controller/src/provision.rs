//! The seam behind which a storage system is provisioned.
//!
//! A [`Provisioner`] is one configured backend. The service has checked everything that can be checked without the storage
//! system; what arrives here is well formed and within the backend's [`Capabilities`]. The rules for every method:
//!
//! * **Idempotent.** A call that repeats an earlier one, whether that ended, failed or was killed midway, ends as if it were the
//!   only one. Decide by comparing what is wanted with what the storage system says, never by memory.
//! * **Alone per object.** The service lets one call at a time run on an object, in this process. Another replica may run at the
//!   same moment; the storage system must arbitrate between the two (an exclusive create, a token, a lock).
//! * **Never cancelled.** A caller that gives up does not stop a call; a call ends by its own deadline.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use hawser_volume::{
    Access, BackendName, Bytes, Capabilities, Deadline, Error, GroupSnapshotId, HostState, NodeId, ObjectName, Origin, Result,
    Secrets, Segments, SizeRange, SnapshotId, TopologyRequirement, VolumeId,
};

/// One configured backend, as the controller sees it.
#[async_trait]
pub trait Provisioner: Send + Sync + fmt::Debug {
    /// What it can do. Constant for the life of the process.
    fn capabilities(&self) -> Capabilities;

    /// Makes a volume, or finds the one that a call with the same name and wishes made. `AlreadyExists` when the name is taken
    /// by another one, `OutOfRange`, `Exhausted` (nothing is left running), `NotFound` for an unknown source.
    async fn create(&self, new: NewVolume) -> Result<Volume>;

    /// Removes a volume; success when it does not exist. `Precondition` while a node has it.
    async fn delete(&self, id: &VolumeId, secrets: &Secrets, deadline: Deadline) -> Result<()>;

    /// Gives a volume to a node. The same again is success with the same answer; `AlreadyExists` when the node has it in another
    /// way; `Precondition`, naming the holder, when another node has it and either wants it alone; `NotFound` for an unknown
    /// volume or node; `Exhausted` when the node can take no more.
    async fn attach(&self, attach: Attach) -> Result<PublishContext>;

    /// Takes a volume from a node, or from all; success when volume or node are gone. When it returns, the node can no longer
    /// write.
    async fn detach(&self, id: &VolumeId, node: Option<&NodeId>, secrets: &Secrets, deadline: Deadline) -> Result<()>;

    /// Whether the host of a node that has the volume is up, asked now and not read from memory. A storage system that knows nothing of
    /// hosts says `Unknown`.
    async fn host_state(&self, id: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<HostState> {
        let _ = (node, deadline);
        Ok(HostState::Unknown(format!("backend {} does not know whether hosts are up", id.backend())))
    }

    /// The volume as it is now; `NotFound` when it does not exist.
    async fn get(&self, id: &VolumeId) -> Result<VolumeStatus>;

    /// A page of volumes in a stable order, each once, after the one that `after` names.
    async fn list(&self, after: Option<&str>, max: usize) -> Result<Page<VolumeStatus>>;

    /// What it can still provide under these conditions.
    async fn capacity(&self, query: CapacityQuery) -> Result<Capacity>;

    /// Makes a volume at least as large as asked; success when it is so already. `OutOfRange` for a size that it cannot have.
    async fn expand(&self, id: &VolumeId, range: SizeRange, secrets: &Secrets, deadline: Deadline) -> Result<Expanded>;

    /// Changes properties. Either all or none of them; `Invalid` changes nothing.
    async fn modify(
        &self,
        id: &VolumeId,
        parameters: BTreeMap<String, String>,
        secrets: &Secrets,
        deadline: Deadline,
    ) -> Result<()> {
        let _ = (parameters, secrets, deadline);
        Err(unsupported(id, "modification"))
    }

    /// Whether this volume can be used so, where its backend's capabilities do not say it of all of its volumes; `Invalid`, saying why, when
    /// it cannot.
    async fn check(&self, id: &VolumeId, access: &Access) -> Result<()> {
        let _ = (id, access);
        Ok(())
    }

    /// Tells of a change that waits for its turn, until the ticket is dropped. A backend whose storage system allows few changes may
    /// make it together with the one that runs.
    fn announce(&self, id: &VolumeId, change: &Announced) -> Option<Ticket> {
        let _ = (id, change);
        None
    }

    /// Cuts a snapshot, or finds the one that a call with the same name and source cut; `AlreadyExists` when the name is taken
    /// by a snapshot of another volume. Returns once the cut is made; the copy may go on (`ready: false`).
    async fn snapshot(&self, name: &ObjectName, source: &VolumeId, new: NewSnapshot) -> Result<Snapshot> {
        let _ = (name, new);
        Err(unsupported(source, "snapshots"))
    }

    /// Removes a snapshot; success when it does not exist. `Invalid` for a member of a group.
    async fn delete_snapshot(&self, id: &SnapshotId, secrets: &Secrets, deadline: Deadline) -> Result<()> {
        let _ = (secrets, deadline);
        Err(unsupported(id, "snapshots"))
    }

    /// The snapshot as it is now; `NotFound` when it does not exist.
    async fn get_snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        Err(unsupported(id, "snapshots"))
    }

    /// A page of snapshots, of one volume if `source` is given, in a stable order after the one that `after` names.
    async fn list_snapshots(&self, source: Option<&VolumeId>, after: Option<&str>, max: usize) -> Result<Page<Snapshot>> {
        let _ = (source, after, max);
        Ok(Page { items: Vec::new(), next: None })
    }

    /// Cuts snapshots of several volumes at one moment, all or none.
    async fn group_snapshot(&self, name: &ObjectName, sources: &[VolumeId], new: NewSnapshot) -> Result<GroupSnapshot> {
        let _ = (name, new);
        Err(sources.first().map_or_else(|| Error::invalid("source_volume_ids is empty"), |id| unsupported(id, "group snapshots")))
    }

    /// Removes a group snapshot with its members; success when it does not exist. `Invalid` when `members` is not what it has.
    async fn delete_group_snapshot(
        &self,
        id: &GroupSnapshotId,
        members: &[SnapshotId],
        secrets: &Secrets,
        deadline: Deadline,
    ) -> Result<()> {
        let _ = (members, secrets, deadline);
        Err(unsupported(id, "group snapshots"))
    }

    /// The group snapshot as it is now; `NotFound` when it does not exist.
    async fn get_group_snapshot(&self, id: &GroupSnapshotId) -> Result<GroupSnapshot> {
        Err(unsupported(id, "group snapshots"))
    }
}

fn unsupported(id: &impl fmt::Display, what: &str) -> Error {
    Error::unsupported(format!("{id}: this backend has no {what}"))
}

/// A change that was asked for and waits for its turn.
#[derive(Debug, Clone)]
pub enum Announced {
    /// The volume shall be so large.
    Size(SizeRange),
    /// The volume shall have these properties, as they came.
    Properties(BTreeMap<String, String>),
}

/// That an announcement stands.
pub type Ticket = Box<dyn std::any::Any + Send + Sync>;

/// What the node side of the same backend needs, as the CO carries it there.
pub type PublishContext = BTreeMap<String, String>;

/// What a volume is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The content of a snapshot.
    Snapshot(SnapshotId),
    /// The content of another volume.
    Volume(VolumeId),
}

impl Source {
    /// What a backend has recorded.
    pub fn of(backend: &BackendName, origin: Origin) -> Result<Self> {
        Ok(match origin {
            Origin::Snapshot(id) => Source::Snapshot(SnapshotId::new(backend.clone(), id)?),
            Origin::Volume(id) => Source::Volume(VolumeId::new(backend.clone(), id)?),
        })
    }
}

impl From<Source> for Origin {
    fn from(source: Source) -> Self {
        match source {
            Source::Snapshot(id) => Origin::Snapshot(id.native().to_owned()),
            Source::Volume(id) => Origin::Volume(id.native().to_owned()),
        }
    }
}

/// What a new volume shall be.
#[derive(Debug, Clone)]
pub struct NewVolume {
    /// Its name: what makes two calls one.
    pub name: ObjectName,
    /// Its size.
    pub range: SizeRange,
    /// The ways in which it will be used; at least one.
    pub accesses: Vec<Access>,
    /// The backend's own wishes, without those that every backend has and those of the CO.
    pub parameters: BTreeMap<String, String>,
    /// What the CO says of who asks (`csi.storage.k8s.io/pvc/name` and such): never part of what is asked.
    pub labels: BTreeMap<String, String>,
    /// What the node needs to be told about the volume later.
    pub context: BTreeMap<String, String>,
    /// What it is made from.
    pub source: Option<Source>,
    /// From where it must be reachable.
    pub topology: TopologyRequirement,
    /// Secrets of the call.
    pub secrets: Secrets,
    /// Until when the backend may try.
    pub deadline: Deadline,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// Its size.
    pub size: Bytes,
    /// What the node needs to be told.
    pub context: BTreeMap<String, String>,
    /// What it was made from.
    pub source: Option<Source>,
    /// The places from which it is reachable; empty means everywhere.
    pub topology: Vec<Segments>,
}

/// A volume with what can be seen of it from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeStatus {
    /// The volume.
    pub volume: Volume,
    /// Who has it.
    pub nodes: Vec<NodeId>,
    /// What is wrong with it, if something is.
    pub trouble: Option<String>,
}

/// A volume for a node.
#[derive(Debug, Clone)]
pub struct Attach {
    /// The volume.
    pub id: VolumeId,
    /// The node.
    pub node: NodeId,
    /// How it will be used.
    pub access: Access,
    /// Without writing.
    pub read_only: bool,
    /// What the volume's creator said.
    pub context: BTreeMap<String, String>,
    /// Secrets of the call.
    pub secrets: Secrets,
    /// Until when the backend may try.
    pub deadline: Deadline,
}

/// Conditions of a question for capacity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapacityQuery {
    /// How volumes would be used.
    pub accesses: Vec<Access>,
    /// The backend's own wishes.
    pub parameters: BTreeMap<String, String>,
    /// From where they must be reachable.
    pub place: Option<Segments>,
}

/// What can still be provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes that new volumes can have together.
    pub available: Bytes,
    /// The smallest volume.
    pub min_volume: Option<Bytes>,
    /// The largest volume.
    pub max_volume: Option<Bytes>,
}

/// A volume after its expansion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expanded {
    /// Its size.
    pub size: Bytes,
    /// Whether the node has to do its part, too.
    pub node_must_follow: bool,
}

/// The wishes for a new snapshot.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// The backend's own wishes.
    pub parameters: BTreeMap<String, String>,
    /// What the CO says of who asks: never part of what is asked.
    pub labels: BTreeMap<String, String>,
    /// Secrets of the call.
    pub secrets: Secrets,
    /// Until when the backend may try.
    pub deadline: Deadline,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The volume that it shows.
    pub source: VolumeId,
    /// The smallest volume that it fits into.
    pub size: Bytes,
    /// When it was cut. Never changes.
    pub created: SystemTime,
    /// Whether a volume can be made from it.
    pub ready: bool,
    /// The group that it belongs to.
    pub group: Option<GroupSnapshotId>,
}

/// Snapshots cut at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// Its id.
    pub id: GroupSnapshotId,
    /// When it was cut.
    pub created: SystemTime,
    /// Its members.
    pub members: Vec<Snapshot>,
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// What the next page comes after; nothing when this was the last.
    pub next: Option<String>,
}
