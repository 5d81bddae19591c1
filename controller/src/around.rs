//! The seam to a storage system with something in front of it: see [`hawser_volume::around`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use hawser_volume::{
    Access, Around, Capabilities, Deadline, GroupSnapshotId, HostState, NodeId, ObjectName, Result, Secrets, SizeRange,
    SnapshotId, Surrounded, VolumeId,
};

use crate::provision::{
    Announced, Attach, Capacity, CapacityQuery, Expanded, GroupSnapshot, NewSnapshot, NewVolume, Page, Provisioner,
    PublishContext, Snapshot, Ticket, Volume, VolumeStatus,
};

/// Passes every method of the trait on, under the name `provisioner.method`.
macro_rules! surrounded {
    ($(async fn $method:ident(&self $(, $argument:ident: $type:ty)*) -> Result<$answer:ty>;)*) => {
        #[async_trait]
        impl<A: Around> Provisioner for Surrounded<dyn Provisioner, A> {
            fn capabilities(&self) -> Capabilities {
                self.inner.capabilities()
            }

            fn announce(&self, id: &VolumeId, change: &Announced) -> Option<Ticket> {
                self.inner.announce(id, change)
            }

            $(
                async fn $method(&self $(, $argument: $type)*) -> Result<$answer> {
                    self.around.waiting(concat!("provisioner.", stringify!($method)), self.inner.$method($($argument),*)).await
                }
            )*
        }
    };
}

surrounded! {
    async fn create(&self, new: NewVolume) -> Result<Volume>;
    async fn delete(&self, id: &VolumeId, secrets: &Secrets, deadline: Deadline) -> Result<()>;
    async fn attach(&self, attach: Attach) -> Result<PublishContext>;
    async fn detach(&self, id: &VolumeId, node: Option<&NodeId>, secrets: &Secrets, deadline: Deadline) -> Result<()>;
    async fn host_state(&self, id: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<HostState>;
    async fn get(&self, id: &VolumeId) -> Result<VolumeStatus>;
    async fn list(&self, after: Option<&str>, max: usize) -> Result<Page<VolumeStatus>>;
    async fn capacity(&self, query: CapacityQuery) -> Result<Capacity>;
    async fn expand(&self, id: &VolumeId, range: SizeRange, secrets: &Secrets, deadline: Deadline) -> Result<Expanded>;
    async fn modify(&self, id: &VolumeId, parameters: BTreeMap<String, String>, secrets: &Secrets, deadline: Deadline) -> Result<()>;
    async fn check(&self, id: &VolumeId, access: &Access) -> Result<()>;
    async fn snapshot(&self, name: &ObjectName, source: &VolumeId, new: NewSnapshot) -> Result<Snapshot>;
    async fn delete_snapshot(&self, id: &SnapshotId, secrets: &Secrets, deadline: Deadline) -> Result<()>;
    async fn get_snapshot(&self, id: &SnapshotId) -> Result<Snapshot>;
    async fn list_snapshots(&self, source: Option<&VolumeId>, after: Option<&str>, max: usize) -> Result<Page<Snapshot>>;
    async fn group_snapshot(&self, name: &ObjectName, sources: &[VolumeId], new: NewSnapshot) -> Result<GroupSnapshot>;
    async fn delete_group_snapshot(&self, id: &GroupSnapshotId, members: &[SnapshotId], secrets: &Secrets, deadline: Deadline) -> Result<()>;
    async fn get_group_snapshot(&self, id: &GroupSnapshotId) -> Result<GroupSnapshot>;
}
