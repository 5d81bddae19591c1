//! The CO that the demo plays: each method is one step, done by RPCs, timed and printed as a row of the table.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hawser_proto::csi;
use hawser_proto::csi::controller_client::ControllerClient;
use hawser_proto::csi::node_client::NodeClient;
use hawser_volume::{Bytes, Error, Filesystem, Result};
use tonic::{Code, Status};

use super::stage::{NODES, Stage};

/// A volume as the CO remembers it.
#[derive(Debug, Clone)]
pub(super) struct Made {
    id: String,
    context: std::collections::BTreeMap<String, String>,
}

/// The CO.
#[derive(Debug)]
pub(super) struct Cast<'s> {
    stage: &'s Stage,
    filesystem: Filesystem,
    published: Vec<(String, csi::ControllerPublishVolumeResponse)>,
}

fn failed(step: &str) -> impl Fn(Status) -> Error {
    move |status| Error::internal(format!("{step}: {:?}: {}", status.code(), status.message()))
}

impl<'s> Cast<'s> {
    pub(super) fn new(stage: &'s Stage, filesystem: Filesystem) -> Self {
        Self { stage, filesystem, published: Vec::new() }
    }

    /// What its volumes are formatted with.
    pub(super) fn filesystem(&self) -> Filesystem {
        self.filesystem
    }

    /// The capability that it asks for everywhere.
    fn capability(&self) -> csi::VolumeCapability {
        use csi::volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode};
        csi::VolumeCapability {
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
            access_type: Some(AccessType::Mount(MountVolume { fs_type: self.filesystem.to_string(), ..Default::default() })),
        }
    }

    pub(super) fn heading(&self) -> Result<()> {
        crate::cli::print(&format!("{:<50}  {:<42}  {:<7}  {:>9}\n{}\n", "step", "calls", "node", "time", "─".repeat(114)))
    }

    fn row(&self, step: &str, calls: &str, node: &str, took: Duration) -> Result<()> {
        let milliseconds = took.as_secs_f64() * 1000.0;
        crate::cli::print(&format!("{step:<50}  {calls:<42}  {node:<7}  {milliseconds:>6.1} ms\n"))
    }

    fn controller(&self) -> Result<ControllerClient<tonic::transport::Channel>> {
        Ok(ControllerClient::new(self.stage.channel(NODES[0])?))
    }

    fn node(&self, name: &str) -> Result<NodeClient<tonic::transport::Channel>> {
        Ok(NodeClient::new(self.stage.channel(name)?))
    }

    /// A step outside of CSI: what the task itself does.
    pub(super) fn act(&self, step: &str, calls: &str, node: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        act().map_err(|error| error.while_doing(step))?;
        self.row(step, calls, node, begun.elapsed())
    }

    pub(super) async fn create(&self, name: &str, size: Bytes, snapshot: Option<String>) -> Result<Made> {
        let step = match &snapshot {
            None => format!("create a volume of {size}, {}", self.filesystem),
            Some(_) => format!("make a volume of {size} from the snapshot"),
        };
        let source = snapshot.map(|snapshot_id| csi::VolumeContentSource {
            r#type: Some(csi::volume_content_source::Type::Snapshot(csi::volume_content_source::SnapshotSource { snapshot_id })),
        });
        let request = csi::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(csi::CapacityRange { required_bytes: size.to_proto(), limit_bytes: size.to_proto() }),
            volume_capabilities: vec![self.capability()],
            volume_content_source: source,
            ..Default::default()
        };
        let begun = Instant::now();
        let response = self.controller()?.create_volume(request).await.map_err(failed(&step))?.into_inner();
        let volume = response.volume.ok_or_else(|| Error::internal("CreateVolume answered without a volume"))?;
        self.row(&step, "CreateVolume", "", begun.elapsed())?;
        Ok(Made { id: volume.volume_id, context: volume.volume_context })
    }

    fn publish_request(&self, node: &str, volume: &Made) -> csi::ControllerPublishVolumeRequest {
        csi::ControllerPublishVolumeRequest {
            volume_id: volume.id.clone(),
            node_id: node.to_owned(),
            volume_capability: Some(self.capability()),
            volume_context: volume.context.clone(),
            ..Default::default()
        }
    }

    pub(super) async fn attach(&mut self, node: &str, volume: &Made) -> Result<()> {
        let step = format!("attach it to {node}");
        let begun = Instant::now();
        let response =
            self.controller()?.controller_publish_volume(self.publish_request(node, volume)).await.map_err(failed(&step))?;
        self.row(&step, "ControllerPublishVolume", node, begun.elapsed())?;
        self.published.retain(|(id, _)| *id != volume.id);
        self.published.push((volume.id.clone(), response.into_inner()));
        Ok(())
    }

    /// A step that must fail.
    pub(super) async fn refused(&self, step: &str, node: &str, volume: &Made, code: Code) -> Result<()> {
        let begun = Instant::now();
        match self.controller()?.controller_publish_volume(self.publish_request(node, volume)).await {
            Err(status) if status.code() == code => self.row(step, "ControllerPublishVolume", node, begun.elapsed()),
            Err(status) => Err(failed(step)(status)),
            Ok(_) => Err(Error::internal(format!("{step}: it was not refused"))),
        }
    }

    pub(super) async fn mount(&self, node: &str, volume: &Made) -> Result<PathBuf> {
        let step = "format it if it is blank, mount it, show it";
        let (staging, target) = (self.stage.path(node, "staging", &volume.id), self.stage.path(node, "target", &volume.id));
        let publish_context = self
            .published
            .iter()
            .find(|(id, _)| *id == volume.id)
            .map(|(_, response)| response.publish_context.clone())
            .unwrap_or_default();
        let mut client = self.node(node)?;
        let begun = Instant::now();
        client
            .node_stage_volume(csi::NodeStageVolumeRequest {
                volume_id: volume.id.clone(),
                publish_context: publish_context.clone(),
                staging_target_path: staging.display().to_string(),
                volume_capability: Some(self.capability()),
                volume_context: volume.context.clone(),
                ..Default::default()
            })
            .await
            .map_err(failed(step))?;
        client
            .node_publish_volume(csi::NodePublishVolumeRequest {
                volume_id: volume.id.clone(),
                publish_context,
                staging_target_path: staging.display().to_string(),
                target_path: target.display().to_string(),
                volume_capability: Some(self.capability()),
                volume_context: volume.context.clone(),
                ..Default::default()
            })
            .await
            .map_err(failed(step))?;
        self.row(step, "NodeStageVolume, NodePublishVolume", node, begun.elapsed())?;
        Ok(target)
    }

    pub(super) async fn unmount(&self, node: &str, volume: &Made) -> Result<()> {
        let step = "unmount it, flush it, free its device";
        let (staging, target) = (self.stage.path(node, "staging", &volume.id), self.stage.path(node, "target", &volume.id));
        let mut client = self.node(node)?;
        let begun = Instant::now();
        client
            .node_unpublish_volume(csi::NodeUnpublishVolumeRequest {
                volume_id: volume.id.clone(),
                target_path: target.display().to_string(),
            })
            .await
            .map_err(failed(step))?;
        client
            .node_unstage_volume(csi::NodeUnstageVolumeRequest {
                volume_id: volume.id.clone(),
                staging_target_path: staging.display().to_string(),
            })
            .await
            .map_err(failed(step))?;
        self.row(step, "NodeUnpublishVolume, NodeUnstageVolume", node, begun.elapsed())
    }

    pub(super) async fn detach(&self, node: &str, volume: &Made) -> Result<()> {
        let step = format!("detach it from {node}");
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: volume.id.clone(),
            node_id: node.to_owned(),
            ..Default::default()
        };
        let begun = Instant::now();
        self.controller()?.controller_unpublish_volume(request).await.map_err(failed(&step))?;
        self.row(&step, "ControllerUnpublishVolume", node, begun.elapsed())
    }

    pub(super) async fn expand(&self, node: &str, volume: &Made, size: Bytes, target: &std::path::Path) -> Result<()> {
        let step = format!("grow it to {size} while it is in use");
        let range = Some(csi::CapacityRange { required_bytes: size.to_proto(), limit_bytes: 0 });
        let begun = Instant::now();
        self.controller()?
            .controller_expand_volume(csi::ControllerExpandVolumeRequest {
                volume_id: volume.id.clone(),
                capacity_range: range,
                volume_capability: Some(self.capability()),
                ..Default::default()
            })
            .await
            .map_err(failed(&step))?;
        self.node(node)?
            .node_expand_volume(csi::NodeExpandVolumeRequest {
                volume_id: volume.id.clone(),
                volume_path: target.display().to_string(),
                capacity_range: range,
                volume_capability: Some(self.capability()),
                ..Default::default()
            })
            .await
            .map_err(failed(&step))?;
        self.row(&step, "ControllerExpandVolume, NodeExpandVolume", node, begun.elapsed())
    }

    pub(super) async fn snapshot(&self, volume: &Made) -> Result<String> {
        let step = "snapshot it while it is in use";
        let request = csi::CreateSnapshotRequest {
            name: "demo-snapshot".to_owned(),
            source_volume_id: volume.id.clone(),
            ..Default::default()
        };
        let begun = Instant::now();
        let response = self.controller()?.create_snapshot(request).await.map_err(failed(step))?.into_inner();
        let snapshot = response.snapshot.ok_or_else(|| Error::internal("CreateSnapshot answered without a snapshot"))?;
        self.row(step, "CreateSnapshot", "", begun.elapsed())?;
        Ok(snapshot.snapshot_id)
    }

    pub(super) async fn delete_snapshot(&self, id: &str) -> Result<()> {
        let step = "delete the snapshot";
        let request = csi::DeleteSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
        let begun = Instant::now();
        self.controller()?.delete_snapshot(request).await.map_err(failed(step))?;
        self.row(step, "DeleteSnapshot", "", begun.elapsed())
    }

    pub(super) async fn delete(&self, volume: &Made) -> Result<()> {
        let step = "delete the volume";
        let request = csi::DeleteVolumeRequest { volume_id: volume.id.clone(), ..Default::default() };
        let begun = Instant::now();
        self.controller()?.delete_volume(request).await.map_err(failed(step))?;
        self.row(step, "DeleteVolume", "", begun.elapsed())
    }
}
