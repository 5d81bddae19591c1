//! The ScaleIO backend: volumes of ScaleIO and PowerFlex systems.
//!
//! The array has no client tokens and keeps no notes, so what makes two calls one is the name of an object, which it gives once
//! ([`hawser_scaleio::name`]). What is there under a name is compared with what is asked: pool, thin or thick, size, and what it was cut
//! from. After an answer that was lost the array is looked at, whatever the call was.

mod array;
mod examine;
mod listing;
mod mapping;
mod place;
mod snapshot;
mod volume;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hawser_scaleio::ScaleIoConfig;
use hawser_scaleio::volume::is_id;
use hawser_volume::attempt::Requests;
use hawser_volume::{
    AccessMode, BackendName, Capabilities, Deadline, Error, Expansion, Filesystem, GroupSnapshotId, HostState, NodeId,
    ObjectName, Result, Secrets, SizeRange, SnapshotId, VolumeId,
};

use crate::provision::{
    Attach, Capacity, CapacityQuery, Expanded, GroupSnapshot, NewSnapshot, NewVolume, Page, Provisioner, PublishContext,
    Snapshot, Volume, VolumeStatus,
};
use array::Array;

/// How long calls may take that bring no deadline.
const READING_MAX: Duration = Duration::from_secs(60);

/// The systems of one backend.
#[derive(Debug)]
pub struct ScaleIo {
    name: BackendName,
    config: ScaleIoConfig,
    arrays: Vec<Arc<Array>>,
}

/// The backend's own name of an object: which system, and which of its objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Native {
    system: String,
    object: String,
}

impl Native {
    /// Reads an id; nothing for one that this backend never gave.
    fn parse(text: &str) -> Option<Self> {
        let (system, object) = text.split_once('-')?;
        (is_id(system) && is_id(object)).then(|| Self { system: system.to_owned(), object: object.to_owned() })
    }

    /// Reads the id of a `noun` of `backend`; `NotFound` for one that it never gave.
    fn of(noun: &str, backend: &BackendName, text: &str) -> Result<Self> {
        Self::parse(text).ok_or_else(|| Error::not_found(format!("{noun} {backend}:{text} does not exist")))
    }
}

impl std::fmt::Display for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.system, self.object)
    }
}

impl ScaleIo {
    /// The backend `name`. `Invalid` for files that cannot be read. Asks nobody: a gateway that is silent now may answer later.
    pub fn new(name: BackendName, config: ScaleIoConfig) -> Result<Self> {
        if config.systems.is_empty() {
            return Err(Error::invalid("systems must have at least one system where the controller runs"));
        }
        let arrays =
            config.systems.iter().map(|system| Array::new(system, config.patience()).map(Arc::new)).collect::<Result<_>>()?;
        Ok(Self { name, config, arrays })
    }

    /// How often `action` was sent to any gateway.
    pub fn sent(&self, action: &str) -> u64 {
        self.arrays.iter().map(|array| array.gateways.sent(action)).sum()
    }

    /// The gateways of each system, as far as they count what is sent to them.
    pub fn requests(&self) -> Vec<Arc<dyn Requests>> {
        self.arrays.iter().map(|array| Arc::clone(&array.gateways) as Arc<dyn Requests>).collect()
    }

    fn volume_id(&self, system: &str, volume: &str) -> Result<VolumeId> {
        VolumeId::new(self.name.clone(), format!("{system}-{volume}"))
    }

    fn reading() -> Deadline {
        Deadline::after(READING_MAX)
    }
}

#[async_trait]
impl Provisioner for ScaleIo {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            modes: &[
                AccessMode::SingleNodeWriter,
                AccessMode::SingleNodeReaderOnly,
                AccessMode::SingleNodeSingleWriter,
                AccessMode::SingleNodeMultiWriter,
                AccessMode::MultiNodeReaderOnly,
            ],
            block: true,
            filesystems: &Filesystem::ALL,
            attach: true,
            attach_read_only: true,
            expand: Some(Expansion::Online),
            snapshots: true,
            group_snapshots: true,
            clone: true,
            modify: false,
            capacity: true,
        }
    }

    async fn create(&self, new: NewVolume) -> Result<Volume> {
        self.create_volume(new).await
    }

    async fn delete(&self, id: &VolumeId, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        self.delete_volume(id, deadline).await
    }

    async fn attach(&self, attach: Attach) -> Result<PublishContext> {
        self.map(attach).await
    }

    async fn detach(&self, id: &VolumeId, node: Option<&NodeId>, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        self.unmap(id, node, deadline).await
    }

    async fn host_state(&self, id: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<HostState> {
        self.state_of(id, node, deadline).await
    }

    async fn get(&self, id: &VolumeId) -> Result<VolumeStatus> {
        self.volume_status(id, Self::reading()).await
    }

    async fn list(&self, after: Option<&str>, max: usize) -> Result<Page<VolumeStatus>> {
        self.list_volumes(after, max, Self::reading()).await
    }

    async fn capacity(&self, query: CapacityQuery) -> Result<Capacity> {
        self.free(&query, Self::reading()).await
    }

    async fn expand(&self, id: &VolumeId, range: SizeRange, _secrets: &Secrets, deadline: Deadline) -> Result<Expanded> {
        self.expand_volume(id, range, deadline).await
    }

    async fn modify(
        &self,
        id: &VolumeId,
        _parameters: BTreeMap<String, String>,
        _secrets: &Secrets,
        _deadline: Deadline,
    ) -> Result<()> {
        Err(Error::unsupported(format!("{id}: limits belong to a mapping, and are set when the volume is attached")))
    }

    async fn snapshot(&self, name: &ObjectName, source: &VolumeId, new: NewSnapshot) -> Result<Snapshot> {
        self.cut(name, source, new).await
    }

    async fn delete_snapshot(&self, id: &SnapshotId, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        self.remove_snapshot(id, deadline).await
    }

    async fn get_snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        self.one_snapshot(id, Self::reading()).await
    }

    async fn list_snapshots(&self, source: Option<&VolumeId>, after: Option<&str>, max: usize) -> Result<Page<Snapshot>> {
        self.all_snapshots(source, after, max, Self::reading()).await
    }

    async fn group_snapshot(&self, name: &ObjectName, sources: &[VolumeId], new: NewSnapshot) -> Result<GroupSnapshot> {
        self.cut_group(name, sources, new).await
    }

    async fn delete_group_snapshot(
        &self,
        id: &GroupSnapshotId,
        members: &[SnapshotId],
        _secrets: &Secrets,
        deadline: Deadline,
    ) -> Result<()> {
        self.remove_group(id, members, deadline).await
    }

    async fn get_group_snapshot(&self, id: &GroupSnapshotId) -> Result<GroupSnapshot> {
        self.one_group(id, Self::reading()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_that_of_a_system_and_an_object() {
        let text = "14dbbf5617523654-d3b2a1c000000001";
        assert_eq!(Native::parse(text).unwrap().to_string(), text);
        for wrong in
            ["", "-", "14dbbf5617523654", "14dbbf5617523654-", "14DBBF5617523654-d3b2a1c000000001", "14dbbf5617523654-x", "a-b-c"]
        {
            assert!(Native::parse(wrong).is_none(), "{wrong}");
        }
        assert!(format!("{}:{text}", "x".repeat(63)).parse::<VolumeId>().is_ok());
    }
}
