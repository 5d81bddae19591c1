//! The calls that a command comes to: printed for `--dry-run`, or made.

use std::path::{Path, PathBuf};

use hawser_bridge::driver::{Context, Use};
use hawser_proto::csi;
use hawser_proto::csi::volume_content_source::Type as Source;
use hawser_volume::{Access, Bytes, Result};
use serde::Serialize;

use super::output::Form;
use super::session::Session;
use crate::cli::{print, print_json};

/// A call that changes something.
#[derive(Debug, Clone)]
pub(super) enum Call {
    CreateVolume(Box<csi::CreateVolumeRequest>),
    DeleteVolume(String),
    Attach { volume: Box<Use>, node: String },
    Detach { volume: String, node: String },
    Stage(Box<Use>),
    Publish { volume: Box<Use>, target: PathBuf },
    Unpublish { volume: String, target: PathBuf },
    Unstage { volume: String, staging: PathBuf },
    Expand { volume: String, size: Bytes, capability: csi::VolumeCapability },
    ExpandHere { volume: String, size: Bytes, capability: csi::VolumeCapability, target: PathBuf, staging: PathBuf },
    CreateSnapshot(Box<csi::CreateSnapshotRequest>),
    DeleteSnapshot(String),
}

/// What a call answered.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Volume(Box<csi::Volume>),
    Snapshot(Box<csi::Snapshot>),
    /// What the node needs to be told.
    Attached(Context),
    /// The size that the volume has, and whether its node must do something, too.
    Expanded(Bytes, bool),
}

/// A call as `--dry-run` shows it.
#[derive(Debug, Serialize)]
struct Shown {
    method: &'static str,
    fields: Vec<ShownField>,
}

#[derive(Debug, Serialize)]
struct ShownField {
    name: &'static str,
    value: String,
}

impl Call {
    /// The method's name in CSI.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Call::CreateVolume(_) => "CreateVolume",
            Call::DeleteVolume(_) => "DeleteVolume",
            Call::Attach { .. } => "ControllerPublishVolume",
            Call::Detach { .. } => "ControllerUnpublishVolume",
            Call::Stage(_) => "NodeStageVolume",
            Call::Publish { .. } => "NodePublishVolume",
            Call::Unpublish { .. } => "NodeUnpublishVolume",
            Call::Unstage { .. } => "NodeUnstageVolume",
            Call::Expand { .. } => "ControllerExpandVolume",
            Call::ExpandHere { .. } => "NodeExpandVolume",
            Call::CreateSnapshot(_) => "CreateSnapshot",
            Call::DeleteSnapshot(_) => "DeleteSnapshot",
        }
    }

    /// The fields that matter, by their names in CSI. Mount options are left out: they may carry secrets.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Path| path.display().to_string();
        match self {
            Call::CreateVolume(request) => {
                let mut fields = vec![("name", request.name.clone())];
                if let Some(range) = &request.capacity_range {
                    fields.push(("capacity_range", size(range)));
                }
                fields.extend(request.volume_capabilities.iter().flat_map(capability));
                fields.extend(request.parameters.iter().map(|(key, value)| ("parameters", format!("{key}={value}"))));
                match request.volume_content_source.as_ref().and_then(|source| source.r#type.as_ref()) {
                    Some(Source::Snapshot(snapshot)) => fields.push(("from snapshot_id", snapshot.snapshot_id.clone())),
                    Some(Source::Volume(volume)) => fields.push(("from volume_id", volume.volume_id.clone())),
                    None => {}
                }
                fields
            }
            Call::DeleteVolume(volume) => vec![("volume_id", volume.clone())],
            Call::Attach { volume, node } => {
                let mut fields = vec![("volume_id", volume.id.clone()), ("node_id", node.clone())];
                fields.extend(capability(&volume.capability));
                fields.extend(volume.read_only.then(|| ("readonly", "true".to_owned())));
                fields
            }
            Call::Detach { volume, node } => vec![("volume_id", volume.clone()), ("node_id", node.clone())],
            Call::Stage(volume) => {
                let mut fields = vec![("volume_id", volume.id.clone()), ("staging_target_path", path(&volume.staging))];
                fields.extend(capability(&volume.capability));
                fields
            }
            Call::Publish { volume, target } => {
                let mut fields = vec![("volume_id", volume.id.clone()), ("target_path", path(target))];
                fields.extend(volume.read_only.then(|| ("readonly", "true".to_owned())));
                fields
            }
            Call::Unpublish { volume, target } => vec![("volume_id", volume.clone()), ("target_path", path(target))],
            Call::Unstage { volume, staging } => vec![("volume_id", volume.clone()), ("staging_target_path", path(staging))],
            Call::Expand { volume, size, .. } => vec![("volume_id", volume.clone()), ("capacity_range", exactly(*size))],
            Call::ExpandHere { volume, size, target, .. } => {
                vec![("volume_id", volume.clone()), ("volume_path", path(target)), ("capacity_range", format!("at least {size}"))]
            }
            Call::CreateSnapshot(request) => {
                let mut fields = vec![("name", request.name.clone()), ("source_volume_id", request.source_volume_id.clone())];
                fields.extend(request.parameters.iter().map(|(key, value)| ("parameters", format!("{key}={value}"))));
                fields
            }
            Call::DeleteSnapshot(snapshot) => vec![("snapshot_id", snapshot.clone())],
        }
    }

    /// On which object it works.
    fn object(&self) -> &str {
        match self {
            Call::CreateVolume(request) => &request.name,
            Call::CreateSnapshot(request) => &request.name,
            Call::Attach { volume, .. } | Call::Stage(volume) | Call::Publish { volume, .. } => &volume.id,
            Call::DeleteVolume(volume)
            | Call::DeleteSnapshot(volume)
            | Call::Detach { volume, .. }
            | Call::Unpublish { volume, .. }
            | Call::Unstage { volume, .. }
            | Call::Expand { volume, .. }
            | Call::ExpandHere { volume, .. } => volume,
        }
    }
}

fn exactly(size: Bytes) -> String {
    format!("exactly {size}")
}

fn size(range: &csi::CapacityRange) -> String {
    let bytes = |bytes: i64| Bytes::new(bytes.unsigned_abs());
    if range.required_bytes == range.limit_bytes {
        exactly(bytes(range.required_bytes))
    } else {
        format!("at least {}", bytes(range.required_bytes))
    }
}

fn capability(capability: &csi::VolumeCapability) -> Vec<(&'static str, String)> {
    let Ok(access) = Access::try_from(capability) else { return Vec::new() };
    let mut fields = vec![("access_mode", access.mode.to_string())];
    fields.extend(access.mount().and_then(|mount| mount.filesystem).map(|filesystem| ("fs_type", filesystem.to_string())));
    fields
}

impl Session {
    /// Makes one call, and shows that it is waited for.
    pub(super) async fn make(&self, call: &Call) -> Result<Answer> {
        let _shown = self.progress.during(format!("{} {}", call.method(), call.object()));
        let (driver, deadline) = (&self.driver, self.deadline);
        match call {
            Call::CreateVolume(request) => {
                driver.create((**request).clone(), deadline).await.map(|volume| Answer::Volume(Box::new(volume)))
            }
            Call::DeleteVolume(volume) => driver.delete(volume, deadline).await.map(|()| Answer::Done),
            Call::Attach { volume, node } => driver.attach_to(volume, node, deadline).await.map(Answer::Attached),
            Call::Detach { volume, node } => driver.detach(volume, node, deadline).await.map(|()| Answer::Done),
            Call::Stage(volume) => driver.stage(volume, deadline).await.map(|()| Answer::Done),
            Call::Publish { volume, target } => {
                driver.publish(volume, target, volume.read_only, deadline).await.map(|()| Answer::Done)
            }
            Call::Unpublish { volume, target } => driver.unpublish(volume, target, deadline).await.map(|()| Answer::Done),
            Call::Unstage { volume, staging } => driver.unstage(volume, staging, deadline).await.map(|()| Answer::Done),
            Call::Expand { volume, size, capability } => {
                let (size, more) = driver.expand(volume, *size, capability.clone(), deadline).await?;
                Ok(Answer::Expanded(size, more))
            }
            Call::ExpandHere { volume, size, capability, target, staging } => {
                driver.expand_here(volume, *size, capability.clone(), target, staging, deadline).await.map(|()| Answer::Done)
            }
            Call::CreateSnapshot(request) => {
                let snapshot = driver.create_snapshot((**request).clone(), deadline).await?;
                Ok(Answer::Snapshot(Box::new(snapshot)))
            }
            Call::DeleteSnapshot(snapshot) => driver.delete_snapshot(snapshot, deadline).await.map(|()| Answer::Done),
        }
    }

    /// Prints the calls instead of making them.
    pub(super) fn plan(&self, calls: &[Call]) -> Result<()> {
        match self.output.form() {
            Form::Table => {
                let mut text = String::new();
                for call in calls {
                    text += call.method();
                    text += "\n";
                    for (field, value) in call.fields() {
                        text += &format!("  {field}: {}\n", super::table::plain(&value));
                    }
                }
                print(if calls.is_empty() { "nothing is to be done\n" } else { &text })
            }
            Form::Json => {
                let fields = |call: &Call| call.fields().into_iter().map(|(name, value)| ShownField { name, value }).collect();
                let shown: Vec<Shown> = calls.iter().map(|call| Shown { method: call.method(), fields: fields(call) }).collect();
                print_json(&shown)
            }
            Form::Name => print(&calls.iter().map(|call| format!("{}\n", call.method())).collect::<String>()),
        }
    }
}
