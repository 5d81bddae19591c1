//! What a person asks of a driver beyond the life of a claim: one volume, snapshots, growth, the node.

use std::path::Path;

use hawser_proto::csi;
use hawser_proto::csi::list_volumes_response::{Entry, VolumeStatus};
use hawser_proto::hawser::status_client::StatusClient;
use hawser_proto::hawser::{GetStatusRequest, GetStatusResponse};
use hawser_volume::{Bytes, Deadline, Error, Kind, Result};
use tonic::transport::Channel;

use super::retry::{Patience, calling, calling_with};
use super::{Driver, PAGE, Partly, only, text};

impl Driver {
    /// What the driver says of the volume with this id: ControllerGetVolume, or a look through its list where it has no such call. Nothing
    /// when there is no such volume; `Unsupported` when the driver can do neither.
    pub async fn volume(&self, id: &str, deadline: Deadline) -> Result<Option<Entry>> {
        if !self.can.get {
            return self.find(deadline, |volume| volume.volume_id == id).await;
        }
        let request = csi::ControllerGetVolumeRequest { volume_id: id.to_owned() };
        match calling("ControllerGetVolume", id, deadline, request, rpc!(self.controller(), controller_get_volume)).await {
            Ok(answer) => {
                let status = answer.status.map(|status| VolumeStatus {
                    published_node_ids: status.published_node_ids,
                    volume_condition: status.volume_condition,
                });
                Ok(answer.volume.map(|volume| Entry { volume: Some(volume), status }))
            }
            // What is no id of this driver's names no volume of it.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// ControllerExpandVolume to exactly `size`. The size that the volume has then, and whether its node must do something, too.
    pub async fn expand(
        &self,
        id: &str,
        size: Bytes,
        capability: csi::VolumeCapability,
        deadline: Deadline,
    ) -> Result<(Bytes, bool)> {
        let request = csi::ControllerExpandVolumeRequest {
            volume_id: id.to_owned(),
            capacity_range: Some(csi::CapacityRange { required_bytes: size.to_proto(), limit_bytes: size.to_proto() }),
            volume_capability: Some(capability),
            ..Default::default()
        };
        let call = rpc!(self.controller(), controller_expand_volume);
        let answer = calling("ControllerExpandVolume", id, deadline, request, call).await?;
        let bytes = u64::try_from(answer.capacity_bytes);
        let wrong =
            |_| Error::internal(format!("ControllerExpandVolume {id}: driver {} says {}", self.name, answer.capacity_bytes));
        Ok((Bytes::new(bytes.map_err(wrong)?), answer.node_expansion_required))
    }

    /// NodeExpandVolume of a volume that is published at `target`, and staged at `staging` if the driver stages.
    pub async fn expand_here(
        &self,
        id: &str,
        size: Bytes,
        capability: csi::VolumeCapability,
        target: &Path,
        staging: &Path,
        deadline: Deadline,
    ) -> Result<()> {
        let request = csi::NodeExpandVolumeRequest {
            volume_id: id.to_owned(),
            volume_path: text(target)?,
            capacity_range: Some(csi::CapacityRange { required_bytes: size.to_proto(), limit_bytes: 0 }),
            staging_target_path: if self.can.stage { text(staging)? } else { String::new() },
            volume_capability: Some(capability),
            ..Default::default()
        };
        calling("NodeExpandVolume", id, deadline, request, rpc!(self.node(), node_expand_volume)).await.map(drop)
    }

    /// CreateSnapshot: makes the snapshot, or finds the one of this name.
    pub async fn create_snapshot(&self, request: csi::CreateSnapshotRequest, deadline: Deadline) -> Result<csi::Snapshot> {
        let name = request.name.clone();
        let answer = calling("CreateSnapshot", &name, deadline, request, rpc!(self.controller(), create_snapshot)).await?;
        let none = || Error::internal(format!("CreateSnapshot {name}: driver {} answered without a snapshot", self.name));
        answer.snapshot.ok_or_else(none)
    }

    /// DeleteSnapshot.
    pub async fn delete_snapshot(&self, id: &str, deadline: Deadline) -> Result<()> {
        let request = csi::DeleteSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
        calling("DeleteSnapshot", id, deadline, request, rpc!(self.controller(), delete_snapshot)).await.map(drop)
    }

    /// Every snapshot of the backends that answer, or those of one volume. `Unsupported` when the driver lists none.
    pub async fn snapshots(&self, volume: Option<&str>, deadline: Deadline) -> Result<Partly<csi::Snapshot>> {
        if !self.can.list_snapshots {
            return Err(Error::unsupported(format!("driver {} cannot list its snapshots (LIST_SNAPSHOTS)", self.name)));
        }
        let whole = self.snapshots_from(Patience::Lasting, String::new(), volume, deadline);
        if volume.is_some() {
            return Ok(Partly { all: whole.await?, missing: Vec::new() });
        }
        self.partly(whole, |backend| self.snapshots_from(Patience::Short, only(backend), None, deadline)).await
    }

    async fn snapshots_from(
        &self,
        patience: Patience,
        mut token: String,
        volume: Option<&str>,
        deadline: Deadline,
    ) -> Result<Vec<csi::Snapshot>> {
        let mut all = Vec::new();
        loop {
            let request = csi::ListSnapshotsRequest {
                max_entries: PAGE,
                starting_token: token.clone(),
                source_volume_id: volume.unwrap_or_default().to_owned(),
                ..Default::default()
            };
            let call = rpc!(self.controller(), list_snapshots);
            let answer = calling_with(patience, "ListSnapshots", "its snapshots", deadline, request, call).await?;
            all.extend(answer.entries.into_iter().filter_map(|entry| entry.snapshot));
            if !self.is_more("ListSnapshots", &mut token, answer.next_token)? {
                return Ok(all);
            }
        }
    }

    /// NodeGetInfo: this node's id, where it is, and how many volumes it can have.
    pub async fn node_info(&self, deadline: Deadline) -> Result<csi::NodeGetInfoResponse> {
        calling("NodeGetInfo", &self.name, deadline, csi::NodeGetInfoRequest {}, rpc!(self.node(), node_get_info)).await
    }

    /// What the processes of both halves know of their work on `object`, an id or a name. Nothing of a driver that has no such service,
    /// which is Hawser's own.
    pub async fn status(&self, object: &str, deadline: Deadline) -> Result<Vec<GetStatusResponse>> {
        let mut told: Vec<GetStatusResponse> = Vec::new();
        for channel in [&self.controller, &self.node] {
            let Some(status) = status(channel, object, deadline).await? else { continue };
            let who = |status: &GetStatusResponse| status.process.as_ref().map(|process| (process.role.clone(), process.started));
            if !told.iter().any(|known| who(known) == who(&status)) {
                told.push(status);
            }
        }
        Ok(told)
    }
}

/// What the process behind `channel` knows of its work on `object`; nothing when it has no such service.
pub async fn status(channel: &Channel, object: &str, deadline: Deadline) -> Result<Option<GetStatusResponse>> {
    let client = StatusClient::new(channel.clone());
    let request = GetStatusRequest { object: object.to_owned() };
    match calling("GetStatus", object, deadline, request, rpc!(client.clone(), get_status)).await {
        Ok(status) => Ok(Some(status)),
        Err(error) if error.kind() == Kind::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}
