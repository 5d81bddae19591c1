//! What a CO is to a plugin: typed clients, and the steps of a volume's life at the paths that a CO would choose.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hawser_proto::csi;
use hawser_proto::csi::controller_client::ControllerClient;
use hawser_proto::csi::group_controller_client::GroupControllerClient;
use hawser_proto::csi::identity_client::IdentityClient;
use hawser_proto::csi::node_client::NodeClient;
use hawser_proto::hawser::hosts_client::HostsClient;
use hawser_proto::hawser::{GetHostStateRequest, GetHostStateResponse};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::poll::PATIENCE;
use crate::usage::Usage;

/// What ControllerPublishVolume answers and the node wants to see.
pub type Context = BTreeMap<String, String>;

/// The target path that a journey uses unless a case says otherwise.
pub const POD: &str = "pod";

/// A CO's side of one process.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    node: String,
    base: PathBuf,
}

impl Client {
    /// A client of the process behind `socket`, which is node `node`; its paths are made below `base`.
    pub fn new(socket: &Path, node: &str, base: &Path) -> Self {
        let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap();
        let channel = endpoint.timeout(PATIENCE).connect_lazy();
        Self { channel, node: node.to_owned(), base: base.to_owned() }
    }

    /// The id of the node.
    pub fn node_id(&self) -> &str {
        &self.node
    }

    /// The connection, for services that are not CSI's.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// CSI's Identity service.
    pub fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.channel())
    }

    /// CSI's Controller service.
    pub fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel())
    }

    /// What the storage system of a volume says of the host of a node.
    pub async fn host_state(&self, volume_id: &str, node_id: &str) -> Result<GetHostStateResponse, Status> {
        let request = GetHostStateRequest { volume_id: volume_id.to_owned(), node_id: node_id.to_owned() };
        Ok(HostsClient::new(self.channel()).get_host_state(request).await?.into_inner())
    }

    /// CSI's GroupController service.
    pub fn groups(&self) -> GroupControllerClient<Channel> {
        GroupControllerClient::new(self.channel())
    }

    /// CSI's Node service.
    pub fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel())
    }

    /// The staging path of a volume on this node, made as COs do.
    pub fn staging(&self, volume: &str) -> PathBuf {
        let path = self.base.join("staging").join(volume.replace(':', "-"));
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A target path on this node; its parent is made as COs do, itself it is for the plugin to make.
    pub fn target(&self, pod: &str, volume: &str) -> PathBuf {
        let parent = self.base.join("pods").join(format!("{pod}-{}", volume.replace(':', "-")));
        fs::create_dir_all(&parent).unwrap();
        parent.join("mount")
    }

    /// Makes a volume of exactly `size` bytes; panics when it cannot.
    pub async fn create(&self, name: &str, size: i64, usage: &Usage) -> csi::Volume {
        self.try_create(create_request(name, size, usage)).await.unwrap()
    }

    /// Makes a volume.
    pub async fn try_create(&self, request: csi::CreateVolumeRequest) -> Result<csi::Volume, Status> {
        Ok(self.controller().create_volume(request).await?.into_inner().volume.unwrap())
    }

    /// Gives a volume to this node.
    pub async fn attach(&self, volume: &csi::Volume, usage: &Usage) -> Result<Context, Status> {
        let request = self.attach_request(volume, usage);
        Ok(self.controller().controller_publish_volume(request).await?.into_inner().publish_context)
    }

    /// The request of [`Self::attach`].
    pub fn attach_request(&self, volume: &csi::Volume, usage: &Usage) -> csi::ControllerPublishVolumeRequest {
        csi::ControllerPublishVolumeRequest {
            volume_id: volume.volume_id.clone(),
            node_id: self.node.clone(),
            volume_capability: Some(usage.capability()),
            readonly: usage.readonly,
            volume_context: volume.volume_context.clone(),
            ..Default::default()
        }
    }

    /// Stages a volume at its staging path.
    pub async fn stage(&self, volume: &csi::Volume, context: &Context, usage: &Usage) -> Result<PathBuf, Status> {
        let request = self.stage_request(volume, context, usage);
        let path = PathBuf::from(&request.staging_target_path);
        self.node().node_stage_volume(request).await?;
        Ok(path)
    }

    /// The request of [`Self::stage`].
    pub fn stage_request(&self, volume: &csi::Volume, context: &Context, usage: &Usage) -> csi::NodeStageVolumeRequest {
        csi::NodeStageVolumeRequest {
            volume_id: volume.volume_id.clone(),
            publish_context: context.clone(),
            staging_target_path: text(&self.staging(&volume.volume_id)),
            volume_capability: Some(usage.capability()),
            volume_context: volume.volume_context.clone(),
            ..Default::default()
        }
    }

    /// Publishes a volume at the target path of `pod`.
    pub async fn publish(&self, volume: &csi::Volume, context: &Context, usage: &Usage, pod: &str) -> Result<PathBuf, Status> {
        let request = self.publish_request(volume, context, usage, pod);
        let path = PathBuf::from(&request.target_path);
        self.node().node_publish_volume(request).await?;
        Ok(path)
    }

    /// The request of [`Self::publish`].
    pub fn publish_request(
        &self,
        volume: &csi::Volume,
        context: &Context,
        usage: &Usage,
        pod: &str,
    ) -> csi::NodePublishVolumeRequest {
        csi::NodePublishVolumeRequest {
            volume_id: volume.volume_id.clone(),
            publish_context: context.clone(),
            staging_target_path: text(&self.staging(&volume.volume_id)),
            target_path: text(&self.target(pod, &volume.volume_id)),
            volume_capability: Some(usage.capability()),
            readonly: usage.readonly,
            volume_context: volume.volume_context.clone(),
            ..Default::default()
        }
    }

    /// Takes a volume off the target path of `pod`.
    pub async fn unpublish(&self, volume: &str, pod: &str) -> Result<(), Status> {
        let target_path = text(&self.target(pod, volume));
        let request = csi::NodeUnpublishVolumeRequest { volume_id: volume.to_owned(), target_path };
        self.node().node_unpublish_volume(request).await.map(drop)
    }

    /// Takes a volume off its staging path.
    pub async fn unstage(&self, volume: &str) -> Result<(), Status> {
        let staging_target_path = text(&self.staging(volume));
        let request = csi::NodeUnstageVolumeRequest { volume_id: volume.to_owned(), staging_target_path };
        self.node().node_unstage_volume(request).await.map(drop)
    }

    /// Takes a volume from this node.
    pub async fn detach(&self, volume: &str) -> Result<(), Status> {
        self.detach_from(volume, &self.node).await
    }

    /// Takes a volume from a node.
    pub async fn detach_from(&self, volume: &str, node: &str) -> Result<(), Status> {
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: volume.to_owned(),
            node_id: node.to_owned(),
            ..Default::default()
        };
        self.controller().controller_unpublish_volume(request).await.map(drop)
    }

    /// Removes a volume.
    pub async fn delete(&self, volume: &str) -> Result<(), Status> {
        let request = csi::DeleteVolumeRequest { volume_id: volume.to_owned(), ..Default::default() };
        self.controller().delete_volume(request).await.map(drop)
    }

    /// Brings a volume from nothing to the target path of [`POD`].
    pub async fn up(&self, volume: &csi::Volume, usage: &Usage) -> PathBuf {
        let context = self.attach(volume, usage).await.unwrap();
        // The disk of an attachment that has just ended may go only when it has been opened; then the answer is UNAVAILABLE, which every CO
        // repeats.
        let begun = Instant::now();
        while let Err(status) = self.stage(volume, &context, usage).await {
            let is_going = status.code() == Code::Unavailable && status.message().contains("it has been detached");
            assert!(is_going && begun.elapsed() < PATIENCE, "{status}");
        }
        self.publish(volume, &context, usage, POD).await.unwrap()
    }

    /// The opposite of [`Self::up`].
    pub async fn down(&self, volume: &csi::Volume) {
        self.unpublish(&volume.volume_id, POD).await.unwrap();
        self.unstage(&volume.volume_id).await.unwrap();
        self.detach(&volume.volume_id).await.unwrap();
    }

    /// Cuts a snapshot.
    pub async fn snapshot(&self, name: &str, source: &str) -> Result<csi::Snapshot, Status> {
        let request =
            csi::CreateSnapshotRequest { name: name.to_owned(), source_volume_id: source.to_owned(), ..Default::default() };
        Ok(self.controller().create_snapshot(request).await?.into_inner().snapshot.unwrap())
    }

    /// Removes a snapshot.
    pub async fn delete_snapshot(&self, id: &str) -> Result<(), Status> {
        let request = csi::DeleteSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
        self.controller().delete_snapshot(request).await.map(drop)
    }

    /// Makes a volume larger, on the controller's side.
    pub async fn expand(&self, volume: &str, range: csi::CapacityRange) -> Result<csi::ControllerExpandVolumeResponse, Status> {
        let request = csi::ControllerExpandVolumeRequest {
            volume_id: volume.to_owned(),
            capacity_range: Some(range),
            ..Default::default()
        };
        Ok(self.controller().controller_expand_volume(request).await?.into_inner())
    }

    /// Makes a volume larger, on the node's side.
    pub async fn expand_here(&self, volume: &str, path: &Path, usage: &Usage, size: i64) -> Result<i64, Status> {
        let request = csi::NodeExpandVolumeRequest {
            volume_id: volume.to_owned(),
            volume_path: text(path),
            capacity_range: Some(at_least(size)),
            staging_target_path: text(&self.staging(volume)),
            volume_capability: Some(usage.capability()),
            ..Default::default()
        };
        Ok(self.node().node_expand_volume(request).await?.into_inner().capacity_bytes)
    }

    /// The volumes that exist, with who has them.
    pub async fn volumes(&self) -> Vec<csi::list_volumes_response::Entry> {
        self.controller().list_volumes(csi::ListVolumesRequest::default()).await.unwrap().into_inner().entries
    }

    /// The nodes that have a volume.
    pub async fn holders(&self, volume: &str) -> Vec<String> {
        let request = csi::ControllerGetVolumeRequest { volume_id: volume.to_owned() };
        self.controller().controller_get_volume(request).await.unwrap().into_inner().status.unwrap().published_node_ids
    }
}

/// A request for a volume of exactly `size` bytes, as Mesos asks.
pub fn create_request(name: &str, size: i64, usage: &Usage) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(exactly(size)),
        volume_capabilities: vec![usage.capability()],
        ..Default::default()
    }
}

/// The same from a snapshot.
pub fn restore_request(name: &str, size: i64, usage: &Usage, snapshot: &str) -> csi::CreateVolumeRequest {
    use csi::volume_content_source::{SnapshotSource, Type};
    let source = csi::VolumeContentSource { r#type: Some(Type::Snapshot(SnapshotSource { snapshot_id: snapshot.to_owned() })) };
    csi::CreateVolumeRequest { volume_content_source: Some(source), ..create_request(name, size, usage) }
}

/// The same from another volume.
pub fn clone_request(name: &str, size: i64, usage: &Usage, volume: &str) -> csi::CreateVolumeRequest {
    use csi::volume_content_source::{Type, VolumeSource};
    let source = csi::VolumeContentSource { r#type: Some(Type::Volume(VolumeSource { volume_id: volume.to_owned() })) };
    csi::CreateVolumeRequest { volume_content_source: Some(source), ..create_request(name, size, usage) }
}

/// This size and no other.
pub fn exactly(size: i64) -> csi::CapacityRange {
    csi::CapacityRange { required_bytes: size, limit_bytes: size }
}

/// This size or more.
pub fn at_least(size: i64) -> csi::CapacityRange {
    csi::CapacityRange { required_bytes: size, limit_bytes: 0 }
}

/// A path as a message carries it.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A key with a capital, which is the same key.
pub fn capitalized(key: &str) -> String {
    key[..1].to_uppercase() + &key[1..]
}

/// A map as a message carries it.
pub fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
