//! The calls of a CO, sent for real. Its paths are made of the names of volumes, not of their ids: a late call for a former volume
//! names the path that its heir has now.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_proto::csi;
use tonic::{Request, Response, Status};

use super::form::Form;
use super::names::{Names, Said};
use super::operation::{Action, Filter, Node, Page, Pod, Source, VolumeName};
use super::state::State;
use super::view::pod_directory;
use crate::client::{Client, at_least, clone_request, create_request, exactly, restore_request, text};

/// The most pages that any listing here can have, and one more.
const PAGES_MAX: usize = 8;

/// How long after an answer that a snapshot is not ready the same call is sent again.
const CUT_AGAIN: Duration = Duration::from_millis(50);

/// What a CO needs to form its calls.
#[derive(Debug, Clone, Copy)]
pub struct Co<'a> {
    /// The directory of the case.
    pub workspace: &'a Path,
    /// What is believed.
    pub state: &'a State,
    /// What things are called.
    pub names: &'a Names,
    /// How long an answer is waited for; as long as it takes if nothing is said.
    pub patience: Option<Duration>,
}

/// The staging path of a volume.
pub fn staging(workspace: &Path, node: Node, name: VolumeName) -> PathBuf {
    workspace.join(node.word()).join("staging").join(name.word())
}

/// The target path of a pod for a volume.
pub fn target(workspace: &Path, node: Node, pod: Pod, name: VolumeName) -> PathBuf {
    workspace.join(node.word()).join("pods").join(pod_directory(pod, name)).join("mount")
}

impl Co<'_> {
    fn form(&self) -> &Form {
        &self.state.form
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(patience) = self.patience {
            request.set_timeout(patience);
        }
        request
    }

    /// Sends the call that `action` is to the process of `node` behind `client`.
    pub async fn call(&self, client: &Client, node: Node, action: &Action) -> Result<Said, Status> {
        match *action {
            Action::Create { name, size, source } => {
                let usage = self.form().usage(super::operation::Access::Writer);
                let (name, size) = (name.word(), self.form().bytes(size));
                let message = match source {
                    None => create_request(name, size, &usage),
                    Some(Source::Volume(volume)) => {
                        clone_request(name, size, &usage, &self.names.volume(self.state.volume_key(volume)).volume_id)
                    }
                    Some(Source::Snapshot(snapshot)) => {
                        restore_request(name, size, &usage, &self.names.snapshot(self.state.snapshot_key(snapshot)))
                    }
                };
                let answer = client.controller().create_volume(self.request(message)).await?;
                Ok(Said::Volume(answer.into_inner().volume.unwrap_or_default()))
            }
            Action::Delete { volume } => {
                let message = csi::DeleteVolumeRequest { volume_id: self.volume(volume).volume_id, ..Default::default() };
                nothing(client.controller().delete_volume(self.request(message)).await)
            }
            Action::Attach { volume, node, access } => {
                let message = csi::ControllerPublishVolumeRequest {
                    node_id: self.names.node(node).to_owned(),
                    ..client.attach_request(&self.volume(volume), &self.form().usage(access))
                };
                let answer = client.controller().controller_publish_volume(self.request(message)).await?;
                Ok(Said::Context(answer.into_inner().publish_context))
            }
            Action::Detach { volume, node } => {
                let message = csi::ControllerUnpublishVolumeRequest {
                    volume_id: self.volume(volume).volume_id,
                    node_id: node.map(|node| self.names.node(node).to_owned()).unwrap_or_default(),
                    ..Default::default()
                };
                nothing(client.controller().controller_unpublish_volume(self.request(message)).await)
            }
            Action::Expand { volume, size } => {
                let message = csi::ControllerExpandVolumeRequest {
                    volume_id: self.volume(volume).volume_id,
                    capacity_range: Some(exactly(self.form().bytes(size))),
                    ..Default::default()
                };
                let answer = client.controller().controller_expand_volume(self.request(message)).await?.into_inner();
                Ok(Said::Size(answer.capacity_bytes, Some(answer.node_expansion_required)))
            }
            Action::Snapshot { name, volume } => {
                let message = csi::CreateSnapshotRequest {
                    name: name.word().to_owned(),
                    source_volume_id: self.volume(volume).volume_id,
                    ..Default::default()
                };
                // CSI spec, CreateSnapshot: the same call again says when a snapshot that is still cut is ready.
                loop {
                    let answer = client.controller().create_snapshot(self.request(message.clone())).await?.into_inner();
                    match answer.snapshot.unwrap_or_default() {
                        snapshot if snapshot.ready_to_use => return Ok(Said::Snapshot(snapshot)),
                        _ => tokio::time::sleep(CUT_AGAIN).await,
                    }
                }
            }
            Action::DeleteSnapshot { snapshot } => {
                let snapshot_id = self.names.snapshot(self.state.snapshot_key(snapshot));
                let message = csi::DeleteSnapshotRequest { snapshot_id, ..Default::default() };
                nothing(client.controller().delete_snapshot(self.request(message)).await)
            }
            Action::Validate { volume, access } => {
                let message = csi::ValidateVolumeCapabilitiesRequest {
                    volume_id: self.volume(volume).volume_id,
                    volume_capabilities: vec![self.form().usage(access).capability()],
                    ..Default::default()
                };
                let answer = client.controller().validate_volume_capabilities(self.request(message)).await?;
                Ok(Said::Confirmed(answer.into_inner().confirmed.is_some()))
            }
            Action::Get { volume } => {
                let message = csi::ControllerGetVolumeRequest { volume_id: self.volume(volume).volume_id };
                let answer = client.controller().controller_get_volume(self.request(message)).await?.into_inner();
                Ok(Said::Volumes(vec![entry(answer)]))
            }
            Action::List { page } => self.volumes(client, page).await.map(Said::Volumes),
            Action::ListSnapshots { filter, page } => self.snapshots(client, filter, page).await.map(Said::Snapshots),
            Action::Write { .. } | Action::Restart { .. } => Ok(Said::Nothing),
            _ => self.call_node(client, node, action).await,
        }
    }

    async fn call_node(&self, client: &Client, node: Node, action: &Action) -> Result<Said, Status> {
        let staging = |name| text(&staging(self.workspace, node, name));
        let target = |pod, name| text(&target(self.workspace, node, pod, name));
        match *action {
            Action::Stage { volume, access, late } => {
                let message = csi::NodeStageVolumeRequest {
                    staging_target_path: staging(volume.name),
                    ..client.stage_request(&self.volume(volume), &self.context(node, volume, late), &self.form().usage(access))
                };
                nothing(client.node().node_stage_volume(self.request(message)).await)
            }
            Action::Unstage { volume } => {
                let message = csi::NodeUnstageVolumeRequest {
                    volume_id: self.volume(volume).volume_id,
                    staging_target_path: staging(volume.name),
                };
                nothing(client.node().node_unstage_volume(self.request(message)).await)
            }
            Action::Publish { volume, pod, access, read_only } => {
                let usage = self.form().usage(access);
                let message = csi::NodePublishVolumeRequest {
                    staging_target_path: staging(volume.name),
                    target_path: target(pod, volume.name),
                    readonly: read_only,
                    ..client.publish_request(&self.volume(volume), &self.context(node, volume, false), &usage, pod.word())
                };
                nothing(client.node().node_publish_volume(self.request(message)).await)
            }
            Action::Unpublish { volume, pod } => {
                let message = csi::NodeUnpublishVolumeRequest {
                    volume_id: self.volume(volume).volume_id,
                    target_path: target(pod, volume.name),
                };
                nothing(client.node().node_unpublish_volume(self.request(message)).await)
            }
            Action::ExpandHere { volume, pod, size } => {
                let message = csi::NodeExpandVolumeRequest {
                    volume_id: self.volume(volume).volume_id,
                    volume_path: target(pod, volume.name),
                    staging_target_path: staging(volume.name),
                    capacity_range: Some(at_least(self.form().bytes(size))),
                    ..Default::default()
                };
                let answer = client.node().node_expand_volume(self.request(message)).await?;
                Ok(Said::Size(answer.into_inner().capacity_bytes, None))
            }
            _ => unreachable!("not a call of the Node service"),
        }
    }

    fn volume(&self, object: super::operation::Object<VolumeName>) -> csi::Volume {
        self.names.volume(self.state.volume_key(object))
    }

    fn context(&self, node: Node, object: super::operation::Object<VolumeName>, late: bool) -> crate::Context {
        let key = self.state.volume_key(object);
        let epoch = self.state.volumes.get(&key).and_then(|volume| self.state.context_of(volume, node, late));
        self.names.context(key, epoch)
    }

    /// All volumes, page by page.
    pub async fn volumes(&self, client: &Client, page: Page) -> Result<Vec<csi::list_volumes_response::Entry>, Status> {
        let (mut entries, mut starting_token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let message = csi::ListVolumesRequest { max_entries: entries_of(page), starting_token };
            let answer = client.controller().list_volumes(self.request(message)).await?.into_inner();
            entries.extend(answer.entries);
            if answer.next_token.is_empty() {
                return Ok(entries);
            }
            starting_token = answer.next_token;
        }
        Err(Status::internal("the list does not end"))
    }

    /// The snapshots that are meant, page by page.
    pub async fn snapshots(&self, client: &Client, filter: Filter, page: Page) -> Result<Vec<csi::Snapshot>, Status> {
        let (mut snapshots, mut starting_token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let mut message = csi::ListSnapshotsRequest { max_entries: entries_of(page), starting_token, ..Default::default() };
            match filter {
                Filter::All => {}
                Filter::Of(volume) => message.source_volume_id = self.volume(volume).volume_id,
                Filter::Is(snapshot) => message.snapshot_id = self.names.snapshot(self.state.snapshot_key(snapshot)),
            }
            let answer = client.controller().list_snapshots(self.request(message)).await?.into_inner();
            snapshots.extend(answer.entries.into_iter().filter_map(|entry| entry.snapshot));
            if answer.next_token.is_empty() {
                return Ok(snapshots);
            }
            starting_token = answer.next_token;
        }
        Err(Status::internal("the list does not end"))
    }
}

fn entries_of(page: Page) -> i32 {
    match page {
        Page::All => 0,
        Page::One => 1,
        Page::Two => 2,
    }
}

fn nothing<T>(answer: Result<Response<T>, Status>) -> Result<Said, Status> {
    answer.map(|_| Said::Nothing)
}

/// What ControllerGetVolume says, in the form of a listing.
pub fn entry(answer: csi::ControllerGetVolumeResponse) -> csi::list_volumes_response::Entry {
    csi::list_volumes_response::Entry {
        volume: answer.volume,
        status: answer.status.map(|status| csi::list_volumes_response::VolumeStatus {
            published_node_ids: status.published_node_ids,
            volume_condition: status.volume_condition,
        }),
    }
}
