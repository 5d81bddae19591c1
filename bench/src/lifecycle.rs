//! One volume through its life, by the RPCs that the driver has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hawser_proto::csi;
use hawser_volume::{Bytes, Error, Result};

use crate::driver::Driver;
use crate::measure::Measure;

/// How volumes are made and used.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    pub(crate) size: Bytes,
    pub(crate) fs_type: Option<String>,
    pub(crate) block: bool,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) mount_dir: PathBuf,
}

impl Wishes {
    pub(crate) fn capability(&self) -> csi::VolumeCapability {
        use csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume, access_mode::Mode};
        let kind = if self.block {
            AccessType::Block(BlockVolume {})
        } else {
            AccessType::Mount(MountVolume { fs_type: self.fs_type.clone().unwrap_or_default(), ..Default::default() })
        };
        csi::VolumeCapability { access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }), access_type: Some(kind) }
    }
}

/// How far a volume has come, so that whatever has been done can be undone.
#[derive(Debug, Default)]
pub(crate) struct Volume {
    id: String,
    context: BTreeMap<String, String>,
    attached: Option<BTreeMap<String, String>>,
    staged: bool,
    published: bool,
    staging: PathBuf,
    target: PathBuf,
}

/// Runs volumes against one driver.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Runner<'r> {
    pub(crate) driver: &'r Driver,
    pub(crate) wishes: &'r Wishes,
    pub(crate) measure: &'r Measure,
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Runner<'_> {
    /// Makes a volume.
    pub(crate) async fn create(&self, name: &str) -> Result<Volume> {
        let size = self.wishes.size.to_proto();
        let request = csi::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(csi::CapacityRange { required_bytes: size, limit_bytes: 0 }),
            volume_capabilities: vec![self.wishes.capability()],
            parameters: self.wishes.parameters.clone(),
            secrets: self.wishes.secrets.clone(),
            ..Default::default()
        };
        let mut client = self.driver.controller();
        let response = self.measure.call("CreateVolume", client.create_volume(self.driver.request(request))).await?;
        let volume = response.volume.ok_or_else(|| Error::internal("CreateVolume answered without a volume"))?;
        let place = self.wishes.mount_dir.join(name);
        Ok(Volume {
            id: volume.volume_id,
            context: volume.volume_context,
            staging: place.join("staging"),
            target: place.join("target"),
            ..Volume::default()
        })
    }

    /// Brings a volume to its target path.
    pub(crate) async fn bring_up(&self, volume: &mut Volume) -> Result<()> {
        let make = |path: &Path| {
            std::fs::create_dir_all(path).map_err(|e| Error::unavailable(format!("make {}", path.display())).caused_by(e))
        };
        if self.driver.can.attach {
            let request = csi::ControllerPublishVolumeRequest {
                volume_id: volume.id.clone(),
                node_id: self.driver.can.node_id.clone(),
                volume_capability: Some(self.wishes.capability()),
                volume_context: volume.context.clone(),
                secrets: self.wishes.secrets.clone(),
                ..Default::default()
            };
            let mut client = self.driver.controller();
            let call = client.controller_publish_volume(self.driver.request(request));
            volume.attached = Some(self.measure.call("ControllerPublishVolume", call).await?.publish_context);
        }
        let publish_context = volume.attached.clone().unwrap_or_default();
        if self.driver.can.stage {
            make(&volume.staging)?;
            let request = csi::NodeStageVolumeRequest {
                volume_id: volume.id.clone(),
                publish_context: publish_context.clone(),
                staging_target_path: text(&volume.staging),
                volume_capability: Some(self.wishes.capability()),
                secrets: self.wishes.secrets.clone(),
                volume_context: volume.context.clone(),
            };
            let mut client = self.driver.node();
            // Also a failed stage must be unstaged (CSI spec, NodeUnstageVolume).
            volume.staged = true;
            self.measure.call("NodeStageVolume", client.node_stage_volume(self.driver.request(request))).await?;
        }
        if let Some(parent) = volume.target.parent() {
            make(parent)?;
        }
        let request = csi::NodePublishVolumeRequest {
            volume_id: volume.id.clone(),
            publish_context,
            staging_target_path: if self.driver.can.stage { text(&volume.staging) } else { String::new() },
            target_path: text(&volume.target),
            volume_capability: Some(self.wishes.capability()),
            secrets: self.wishes.secrets.clone(),
            volume_context: volume.context.clone(),
            ..Default::default()
        };
        let mut client = self.driver.node();
        volume.published = true;
        self.measure.call("NodePublishVolume", client.node_publish_volume(self.driver.request(request))).await?;
        if self.driver.can.statistics {
            let request = csi::NodeGetVolumeStatsRequest {
                volume_id: volume.id.clone(),
                volume_path: text(&volume.target),
                staging_target_path: text(&volume.staging),
            };
            let mut client = self.driver.node();
            self.measure.call("NodeGetVolumeStats", client.node_get_volume_stats(self.driver.request(request))).await?;
        }
        Ok(())
    }

    /// Undoes everything that has been done with a volume. Goes as far as it can; the first failure is reported.
    pub(crate) async fn take_down(&self, volume: &mut Volume) -> Result<()> {
        if volume.published {
            let request = csi::NodeUnpublishVolumeRequest { volume_id: volume.id.clone(), target_path: text(&volume.target) };
            let mut client = self.driver.node();
            self.measure.call("NodeUnpublishVolume", client.node_unpublish_volume(self.driver.request(request))).await?;
            volume.published = false;
        }
        if volume.staged {
            let request =
                csi::NodeUnstageVolumeRequest { volume_id: volume.id.clone(), staging_target_path: text(&volume.staging) };
            let mut client = self.driver.node();
            self.measure.call("NodeUnstageVolume", client.node_unstage_volume(self.driver.request(request))).await?;
            volume.staged = false;
        }
        if volume.attached.is_some() {
            let request = csi::ControllerUnpublishVolumeRequest {
                volume_id: volume.id.clone(),
                node_id: self.driver.can.node_id.clone(),
                secrets: self.wishes.secrets.clone(),
            };
            let mut client = self.driver.controller();
            let call = client.controller_unpublish_volume(self.driver.request(request));
            self.measure.call("ControllerUnpublishVolume", call).await?;
            volume.attached = None;
        }
        let request = csi::DeleteVolumeRequest { volume_id: volume.id.clone(), secrets: self.wishes.secrets.clone() };
        let mut client = self.driver.controller();
        self.measure.call("DeleteVolume", client.delete_volume(self.driver.request(request))).await?;
        // Empty directories only: what is still mounted or full stays where it is.
        for path in [&volume.staging, &volume.target].into_iter().chain(volume.target.parent().map(PathBuf::from).as_ref()) {
            let _ = std::fs::remove_dir(path);
        }
        Ok(())
    }

    /// A snapshot of a volume, made and removed.
    pub(crate) async fn snapshot(&self, volume: &Volume, name: &str) -> Result<()> {
        let request = csi::CreateSnapshotRequest {
            source_volume_id: volume.id.clone(),
            name: name.to_owned(),
            secrets: self.wishes.secrets.clone(),
            ..Default::default()
        };
        let mut client = self.driver.controller();
        let response = self.measure.call("CreateSnapshot", client.create_snapshot(self.driver.request(request))).await?;
        let snapshot = response.snapshot.ok_or_else(|| Error::internal("CreateSnapshot answered without a snapshot"))?;
        let request = csi::DeleteSnapshotRequest { snapshot_id: snapshot.snapshot_id, secrets: self.wishes.secrets.clone() };
        self.measure.call("DeleteSnapshot", client.delete_snapshot(self.driver.request(request))).await?;
        Ok(())
    }
}
