//! The local backend: volumes in a [`Pool`] of this machine, or of a directory that several machines share.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hawser_pool::{self as pool, Kind, Pool, Provisioning};
use hawser_volume::{
    AccessMode, BackendName, Bytes, Capabilities, Deadline, Error, Expansion, Filesystem, GroupSnapshotId, NodeId, ObjectName,
    Result, Secrets, Segments, SizeRange, SnapshotId, VolumeId, parameters, topology,
};
use serde::Deserialize;

use crate::provision::{
    Attach, Capacity, CapacityQuery, Expanded, GroupSnapshot, NewSnapshot, NewVolume, Page, Provisioner, PublishContext,
    Snapshot, Source, Volume, VolumeStatus,
};

/// The key under which the node finds the number of its attachment.
const EPOCH: &str = "epoch";

/// Modes of an image: a filesystem on a loop device can be written on one node only, or read on many.
const IMAGE_MODES: [AccessMode; 5] = [
    AccessMode::SingleNodeWriter,
    AccessMode::SingleNodeReaderOnly,
    AccessMode::MultiNodeReaderOnly,
    AccessMode::SingleNodeSingleWriter,
    AccessMode::SingleNodeMultiWriter,
];

/// Parameters of a StorageClass, profile or task for a local backend.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LocalParameters {
    /// `thin` (default) or `thick`.
    provisioning: Provisioning,
}

/// Parameters that can be changed later (VolumeAttributesClass).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MutableParameters {
    /// `thin` or `thick`.
    provisioning: Option<Provisioning>,
}

/// Parameters of a VolumeSnapshotClass: there are none.
#[derive(Debug, Deserialize)]
struct SnapshotParameters {}

/// A pool as a backend.
#[derive(Debug)]
pub struct Local {
    name: BackendName,
    pool: Arc<Pool>,
    place: Segments,
}

impl Local {
    /// The backend `name` over `pool`; `topology_prefix` is the prefix of the plugin's topology keys.
    pub fn new(name: BackendName, pool: Arc<Pool>, topology_prefix: &str) -> Self {
        let place = pool.place(topology_prefix);
        Self { name, pool, place }
    }

    /// Runs `work` where it may block.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(Arc<Pool>) -> Result<T> + Send + 'static) -> Result<T> {
        let pool = Arc::clone(&self.pool);
        match tokio::task::spawn_blocking(move || work(pool)).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("the call panicked; see the log").caused_by(error)),
        }
    }

    fn volume_of(&self, record: pool::VolumeRecord) -> Result<Volume> {
        let source = record.origin.map(|origin| Source::of(&self.name, origin)).transpose()?;
        Ok(Volume {
            id: VolumeId::new(self.name.clone(), record.id)?,
            size: record.size,
            context: record.context,
            source,
            topology: vec![self.place.clone()],
        })
    }

    fn snapshot_of(&self, record: pool::SnapshotRecord) -> Result<Snapshot> {
        Ok(Snapshot {
            created: record.created(),
            ready: record.is_ready(),
            source: VolumeId::new(self.name.clone(), record.source)?,
            size: record.size,
            group: record.group.map(|id| GroupSnapshotId::new(self.name.clone(), id)).transpose()?,
            id: SnapshotId::new(self.name.clone(), record.id)?,
        })
    }

    fn group_of(&self, group: pool::GroupRecord, members: Vec<pool::SnapshotRecord>) -> Result<GroupSnapshot> {
        Ok(GroupSnapshot {
            created: group.created(),
            id: GroupSnapshotId::new(self.name.clone(), group.id)?,
            members: members.into_iter().map(|member| self.snapshot_of(member)).collect::<Result<_>>()?,
        })
    }

    fn status(&self, record: pool::VolumeRecord, trouble: Option<String>) -> Result<VolumeStatus> {
        let nodes = record.attachments.iter().map(|attachment| attachment.node.clone()).collect();
        Ok(VolumeStatus { volume: self.volume_of(record)?, nodes, trouble })
    }
}

/// The smallest device that `mkfs` and the kernel accept.
fn smallest(filesystem: Filesystem) -> Bytes {
    match filesystem {
        // A journal and one group.
        Filesystem::Ext4 => Bytes::mib(4),
        // mkfs.xfs refuses less (xfsprogs 5.19 and later).
        Filesystem::Xfs => Bytes::mib(300),
        // mkfs.btrfs refuses less for separate data and metadata groups.
        Filesystem::Btrfs => Bytes::mib(128),
    }
}

#[async_trait]
impl Provisioner for Local {
    fn capabilities(&self) -> Capabilities {
        let image = self.pool.kind() == Kind::Image;
        Capabilities {
            modes: if image { &IMAGE_MODES } else { &AccessMode::ALL },
            block: image,
            filesystems: if image { &Filesystem::ALL } else { &[] },
            attach: true,
            attach_read_only: true,
            expand: Some(Expansion::Online),
            snapshots: image,
            group_snapshots: image,
            clone: image,
            modify: image,
            capacity: true,
        }
    }

    async fn create(&self, new: NewVolume) -> Result<Volume> {
        let wishes: LocalParameters = parameters::read("parameters", &new.parameters)?;
        if !new.topology.allows(&self.place) {
            return Err(Error::exhausted(format!(
                "backend {} is in none of the places of accessibility_requirements; it is in {:?}",
                self.name, self.place
            )));
        }
        let min = new
            .accesses
            .iter()
            .filter_map(|access| access.mount())
            .map(|mount| {
                if self.pool.kind() == Kind::Image { smallest(mount.filesystem.unwrap_or(Filesystem::Ext4)) } else { Bytes::ZERO }
            })
            .max()
            .unwrap_or_default();
        let wanted = pool::NewVolume {
            name: new.name,
            range: new.range,
            min,
            provisioning: wishes.provisioning,
            origin: new.source.map(Into::into),
            context: new.context,
        };
        let record = self.run(move |pool| pool.create_volume(&wanted, new.deadline)).await?;
        self.volume_of(record)
    }

    async fn delete(&self, id: &VolumeId, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        let native = id.native().to_owned();
        self.run(move |pool| pool.delete_volume(&native, deadline)).await
    }

    async fn attach(&self, attach: Attach) -> Result<PublishContext> {
        let attachment = self
            .run(move |pool| pool.attach(attach.id.native(), &attach.node, &attach.access, attach.read_only, attach.deadline))
            .await?;
        Ok(PublishContext::from([(EPOCH.to_owned(), attachment.epoch.to_string())]))
    }

    async fn detach(&self, id: &VolumeId, node: Option<&NodeId>, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        let (native, node) = (id.native().to_owned(), node.cloned());
        self.run(move |pool| pool.detach(&native, node.as_ref(), deadline)).await
    }

    async fn get(&self, id: &VolumeId) -> Result<VolumeStatus> {
        let native = id.native().to_owned();
        let look = move |pool: Arc<Pool>| {
            let record = pool.volume(&native)?;
            let trouble = pool.volume_trouble(&record)?;
            Ok((record, trouble))
        };
        let (record, trouble) = self.run(look).await?;
        self.status(record, trouble)
    }

    async fn list(&self, after: Option<&str>, max: usize) -> Result<Page<VolumeStatus>> {
        let after = after.map(str::to_owned);
        let look = move |pool: Arc<Pool>| {
            let page = pool.volumes(after.as_deref(), max)?;
            let mut seen = Vec::with_capacity(page.items.len());
            for record in page.items {
                match pool.volume_trouble(&record) {
                    Ok(trouble) => seen.push((record, trouble)),
                    // It has gone while the page was made.
                    Err(error) if error.kind() == hawser_volume::Kind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok((seen, page.next))
        };
        let (seen, next) = self.run(look).await?;
        let items = seen.into_iter().map(|(record, trouble)| self.status(record, trouble)).collect::<Result<_>>()?;
        Ok(Page { items, next })
    }

    async fn capacity(&self, query: CapacityQuery) -> Result<Capacity> {
        parameters::read::<LocalParameters>("parameters", &query.parameters)?;
        if query.place.is_some_and(|place| !topology::covers(&place, &self.place)) {
            return Ok(Capacity { available: Bytes::ZERO, min_volume: None, max_volume: None });
        }
        let capacity = self.run(|pool| pool.capacity()).await?;
        Ok(Capacity {
            available: capacity.available,
            min_volume: Some(capacity.min_volume),
            max_volume: Some(capacity.max_volume),
        })
    }

    async fn expand(&self, id: &VolumeId, range: SizeRange, _secrets: &Secrets, deadline: Deadline) -> Result<Expanded> {
        let native = id.native().to_owned();
        let size = self.run(move |pool| pool.expand_volume(&native, range, deadline)).await?;
        // A loop device keeps the size that its file had until the node asks it to look again; a directory has none.
        Ok(Expanded { size, node_must_follow: self.pool.kind() == Kind::Image })
    }

    async fn modify(&self, id: &VolumeId, map: BTreeMap<String, String>, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        let wishes: MutableParameters = parameters::read("mutable_parameters", &map)?;
        let native = id.native().to_owned();
        self.run(move |pool| match wishes.provisioning {
            Some(provisioning) => pool.modify_volume(&native, provisioning, deadline),
            None => pool.volume(&native).map(drop),
        })
        .await
    }

    async fn snapshot(&self, name: &ObjectName, source: &VolumeId, new: NewSnapshot) -> Result<Snapshot> {
        parameters::read::<SnapshotParameters>("parameters", &new.parameters)?;
        let (name, source) = (name.clone(), source.native().to_owned());
        let record = self.run(move |pool| pool.create_snapshot(&name, &source, new.deadline)).await?;
        self.snapshot_of(record)
    }

    async fn delete_snapshot(&self, id: &SnapshotId, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        let native = id.native().to_owned();
        self.run(move |pool| pool.delete_snapshot(&native, deadline)).await
    }

    async fn get_snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        let native = id.native().to_owned();
        let record = self.run(move |pool| pool.snapshot(&native)).await?;
        self.snapshot_of(record)
    }

    async fn list_snapshots(&self, source: Option<&VolumeId>, after: Option<&str>, max: usize) -> Result<Page<Snapshot>> {
        if source.is_some_and(|source| *source.backend() != self.name) {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let (source, after) = (source.map(|id| id.native().to_owned()), after.map(str::to_owned));
        let page = self.run(move |pool| pool.snapshots(source.as_deref(), after.as_deref(), max)).await?;
        let items = page.items.into_iter().map(|record| self.snapshot_of(record)).collect::<Result<_>>()?;
        Ok(Page { items, next: page.next })
    }

    async fn group_snapshot(&self, name: &ObjectName, sources: &[VolumeId], new: NewSnapshot) -> Result<GroupSnapshot> {
        parameters::read::<SnapshotParameters>("parameters", &new.parameters)?;
        let name = name.clone();
        let sources: Vec<String> = sources.iter().map(|id| id.native().to_owned()).collect();
        let (group, members) = self.run(move |pool| pool.create_group(&name, &sources, new.deadline)).await?;
        self.group_of(group, members)
    }

    async fn delete_group_snapshot(
        &self,
        id: &GroupSnapshotId,
        members: &[SnapshotId],
        _secrets: &Secrets,
        deadline: Deadline,
    ) -> Result<()> {
        let native = id.native().to_owned();
        let members: Vec<String> = members.iter().map(|member| member.native().to_owned()).collect();
        self.run(move |pool| pool.delete_group(&native, &members, deadline)).await
    }

    async fn get_group_snapshot(&self, id: &GroupSnapshotId) -> Result<GroupSnapshot> {
        let native = id.native().to_owned();
        let (group, members) = self.run(move |pool| pool.group(&native)).await?;
        self.group_of(group, members)
    }
}
