//! The EBS backend: volumes of Amazon EBS, by the EC2 API.
//!
//! EC2 has no locks and lists what it has made some seconds later. What keeps two calls, two controllers or a life after a crash from
//! doing a thing twice:
//!
//! * **Create** (`ebs/create.rs`): the name is looked up by a tag, and the client token is made of the name alone, so that EC2 itself gives
//!   the same volume to all who ask under one name.
//! * **Attach** (`ebs/attach.rs`) and **detach** (`ebs/detach.rs`): EC2 arbitrates. After a lost answer the volume is looked at before anything
//!   else is tried, and detaching always names the instance.
//! * **Change** (`ebs/change.rs`): one request for all that is asked of a volume at the time; a lost answer is looked for.
//! * **Snapshots** (`ebs/snapshot.rs`) have no token: after one is cut, the oldest of its name counts, and others that the call itself cut
//!   are removed.
//!
//! What is kept in memory (`ebs/memory.rs`) saves questions and is never needed.

mod attach;
mod change;
mod create;
mod delete;
mod detach;
mod host;
mod kind;
mod list;
mod memory;
mod names;
mod snapshot;
mod template;
mod wishes;
mod zones;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hawser_ebs::instance::Room;
use hawser_ebs::pace::Pace;
use hawser_ebs::volume::is_volume_id;
use hawser_ebs::zone::Zone;
use hawser_ebs::{Account, EbsConfig, Ec2, Outpost, Place, PlaceKeys, label, volume};
use hawser_volume::{
    Access, AccessMode, BackendName, Bytes, Capabilities, Deadline, Error, Expansion, Filesystem, HostState, NodeId, ObjectName,
    Result, Secrets, SizeRange, SnapshotId, VolumeId,
};
use tokio::sync::OnceCell;

use self::change::Changes;
use self::memory::Memory;
use self::names::Names;
use crate::provision::{
    Announced, Attach, Capacity, CapacityQuery, Expanded, NewSnapshot, NewVolume, Page, Provisioner, PublishContext, Snapshot,
    Source, Ticket, Volume, VolumeStatus,
};

/// How long a call that only reads may take.
const READING: Duration = Duration::from_secs(60);

/// How long EC2 takes for what volumes are waited for.
#[derive(Debug, Default)]
struct Paces {
    create: Pace,
    attach: Pace,
    detach: Pace,
}

/// An account in a region as a backend.
#[derive(Debug)]
pub struct Ebs {
    name: BackendName,
    config: EbsConfig,
    account: Account,
    keys: PlaceKeys,
    names: Names,
    changes: Changes,
    memory: Memory,
    paces: Paces,
    zones: OnceCell<Vec<Zone>>,
    rooms: std::sync::Mutex<BTreeMap<String, Option<Room>>>,
}

impl Ebs {
    /// The backend `name` over `ec2`; `topology_prefix` is the prefix of the plugin's topology keys.
    pub fn new(name: BackendName, config: EbsConfig, ec2: Arc<Ec2>, topology_prefix: &str) -> Self {
        Self {
            keys: PlaceKeys::new(topology_prefix, &name),
            name,
            config,
            account: Account::new(ec2, label::VOLUME, label::SNAPSHOT),
            names: Names::default(),
            changes: Changes::default(),
            memory: Memory::default(),
            paces: Paces::default(),
            zones: OnceCell::new(),
            rooms: std::sync::Mutex::default(),
        }
    }

    /// How long EC2 may take to list what it has made.
    fn listed_within(&self) -> Duration {
        Duration::from_secs(self.config.listed_within_seconds)
    }

    fn id(&self, native: &str) -> Result<VolumeId> {
        VolumeId::new(self.name.clone(), native)
    }

    /// The volume as it is; nothing when it does not exist or goes.
    async fn find(&self, native: &str, deadline: Deadline) -> Result<Option<volume::Volume>> {
        if !is_volume_id(native) {
            return Ok(None);
        }
        let found = self.account.volumes.get(native, deadline).await;
        let found = found.map_err(|refusal| refusal.while_doing(format_args!("look at volume {native}")))?;
        Ok(found.filter(is_there))
    }

    /// The volume as it is; `NotFound` when it does not exist or goes.
    async fn look(&self, native: &str, deadline: Deadline) -> Result<volume::Volume> {
        self.find(native, deadline)
            .await?
            .ok_or_else(|| Error::not_found(format!("volume {}:{native} does not exist", self.name)))
    }

    fn volume_of(&self, found: &volume::Volume) -> Result<Volume> {
        let source = match found.tags.get(label::SOURCE).and_then(|text| text.split_once('/')) {
            Some(("snapshot", id)) => Some(Source::Snapshot(SnapshotId::new(self.name.clone(), id)?)),
            Some(("volume", id)) => Some(Source::Volume(self.id(id)?)),
            _ => None,
        };
        Ok(Volume {
            id: self.id(&found.id)?,
            size: Bytes::gib(found.size),
            context: label::context(&found.tags),
            source,
            topology: vec![self.keys.segments(&place_of(found))],
        })
    }
}

/// Whether a volume is there to be used, or will be.
fn is_there(volume: &volume::Volume) -> bool {
    !matches!(volume.state, volume::VolumeState::Deleting | volume::VolumeState::Deleted)
}

fn place_of(volume: &volume::Volume) -> Place {
    let outpost = volume.outpost.as_deref().and_then(|arn| arn.parse::<Outpost>().ok());
    Place { zone: volume.zone.clone(), outpost }
}

#[async_trait]
impl Provisioner for Ebs {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // Those for several nodes are for raw block only; see `wishes`.
            modes: &AccessMode::ALL,
            block: true,
            filesystems: &Filesystem::ALL,
            attach: true,
            attach_read_only: false,
            expand: Some(Expansion::Online),
            snapshots: true,
            group_snapshots: false,
            clone: true,
            modify: true,
            capacity: self.config.capacity.is_some(),
        }
    }

    async fn create(&self, new: NewVolume) -> Result<Volume> {
        self.create_volume(new).await
    }

    async fn delete(&self, id: &VolumeId, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        self.delete_volume(id.native(), deadline).await
    }

    async fn attach(&self, attach: Attach) -> Result<PublishContext> {
        self.attach_volume(attach).await.map(|grant| grant.to_context())
    }

    async fn detach(&self, id: &VolumeId, node: Option<&NodeId>, secrets: &Secrets, deadline: Deadline) -> Result<()> {
        self.detach_volume(id.native(), node, detach::Way::of(secrets)?, deadline).await
    }

    async fn host_state(&self, _id: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<HostState> {
        self.state_of(node, deadline).await
    }

    async fn get(&self, id: &VolumeId) -> Result<VolumeStatus> {
        self.volume_status(id.native()).await
    }

    async fn list(&self, after: Option<&str>, max: usize) -> Result<Page<VolumeStatus>> {
        self.list_volumes(after, max).await
    }

    async fn capacity(&self, query: CapacityQuery) -> Result<Capacity> {
        self.left(query).await
    }

    async fn expand(&self, id: &VolumeId, range: SizeRange, _secrets: &Secrets, deadline: Deadline) -> Result<Expanded> {
        let size = self.expand_volume(id.native(), range, deadline).await?;
        Ok(Expanded { size, node_must_follow: true })
    }

    async fn modify(&self, id: &VolumeId, map: BTreeMap<String, String>, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        self.modify_volume(id.native(), &map, deadline).await
    }

    async fn check(&self, id: &VolumeId, access: &Access) -> Result<()> {
        if access.mode.is_single_node() {
            return Ok(());
        }
        let volume = self.look(id.native(), Deadline::after(READING)).await?;
        attach::check_shared(&volume, access).map_err(|error| error.while_doing(format_args!("use volume {id}")))
    }

    fn announce(&self, id: &VolumeId, change: &Announced) -> Option<Ticket> {
        self.changes.announce(id.native(), change)
    }

    async fn snapshot(&self, name: &ObjectName, source: &VolumeId, new: NewSnapshot) -> Result<Snapshot> {
        self.create_snapshot(name, source.native(), new).await
    }

    async fn delete_snapshot(&self, id: &SnapshotId, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        self.remove_snapshot(id.native(), deadline).await
    }

    async fn get_snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        self.look_at_snapshot(id.native()).await
    }

    async fn list_snapshots(&self, source: Option<&VolumeId>, after: Option<&str>, max: usize) -> Result<Page<Snapshot>> {
        self.list_own_snapshots(source, after, max).await
    }
}
