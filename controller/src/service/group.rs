//! Group snapshots: several volumes of one backend cut at one moment.

use hawser_proto::csi;
use hawser_volume::queue::Key;
use hawser_volume::{Deadline, Error, GroupSnapshotId, Kind, ObjectName, Result, SnapshotId, VolumeId, parameters, request};
use prost::Message;

use super::{Inner, answer, volume, work_deadline};
use crate::provision::NewSnapshot;

pub(super) async fn group_controller_get_capabilities(
    inner: &Inner,
    _request: csi::GroupControllerGetCapabilitiesRequest,
    _deadline: Deadline,
) -> Result<csi::GroupControllerGetCapabilitiesResponse> {
    use csi::group_controller_service_capability::{Rpc, Type, rpc};
    let has = inner.backends.iter().any(|(_, backend)| backend.capabilities().group_snapshots);
    let capability = csi::GroupControllerServiceCapability {
        r#type: Some(Type::Rpc(Rpc { r#type: rpc::Type::CreateDeleteGetVolumeGroupSnapshot.into() })),
    };
    Ok(csi::GroupControllerGetCapabilitiesResponse { capabilities: if has { vec![capability] } else { Vec::new() } })
}

pub(super) async fn create_volume_group_snapshot(
    inner: &Inner,
    request: csi::CreateVolumeGroupSnapshotRequest,
    deadline: Deadline,
) -> Result<csi::CreateVolumeGroupSnapshotResponse> {
    let encoded = request.encode_to_vec();
    let name: ObjectName = request.name.parse()?;
    let sources: Vec<VolumeId> =
        request.source_volume_ids.iter().map(|id| request::id("source_volume_ids", id)).collect::<Result<_>>()?;
    let Some(first) = sources.first() else {
        return Err(Error::invalid("source_volume_ids is required: name the volumes of the group"));
    };
    if let Some(other) = sources.iter().find(|id| id.backend() != first.backend()) {
        return Err(Error::precondition(format!(
            "volumes {first} and {other} are of different backends and cannot be cut at one moment; make a group for each backend"
        )));
    }
    let new = NewSnapshot {
        parameters: request::parameters("parameters", &request.parameters)?,
        labels: parameters::co_keys(&request.parameters),
        secrets: request::secrets(request.secrets)?,
        deadline: work_deadline(),
    };
    let backend = inner.backends.owner(first.backend())?.clone();
    if !backend.capabilities().group_snapshots {
        return Err(Error::unsupported(format!("backend {} has no group snapshots", first.backend())));
    }
    let mut keys = vec![Key::within("group-name", first.backend().to_string(), name.to_string())];
    keys.extend(sources.iter().map(volume::key));
    let work = async move {
        let group = backend.group_snapshot(&name, &sources, new).await?;
        Ok(csi::CreateVolumeGroupSnapshotResponse { group_snapshot: Some(answer::group(group)) })
    };
    inner.group.run(keys, &encoded, deadline, work).await
}

pub(super) async fn delete_volume_group_snapshot(
    inner: &Inner,
    request: csi::DeleteVolumeGroupSnapshotRequest,
    deadline: Deadline,
) -> Result<csi::DeleteVolumeGroupSnapshotResponse> {
    let encoded = request.encode_to_vec();
    let id = match request::id::<GroupSnapshotId>("group_snapshot_id", &request.group_snapshot_id) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(csi::DeleteVolumeGroupSnapshotResponse {}),
        id => id?,
    };
    let members: Vec<SnapshotId> =
        request.snapshot_ids.iter().map(|id| request::id("snapshot_ids", id)).collect::<Result<_>>()?;
    let secrets = request::secrets(request.secrets)?;
    let backend = inner.backends.owner(id.backend())?.clone();
    let keys = [Key::new("group", id.to_string())];
    let work = async move {
        backend.delete_group_snapshot(&id, &members, &secrets, work_deadline()).await?;
        Ok(csi::DeleteVolumeGroupSnapshotResponse {})
    };
    inner.delete_group.run(keys, &encoded, deadline, work).await
}

pub(super) async fn get_volume_group_snapshot(
    inner: &Inner,
    request: csi::GetVolumeGroupSnapshotRequest,
    _deadline: Deadline,
) -> Result<csi::GetVolumeGroupSnapshotResponse> {
    let id: GroupSnapshotId = request::id("group_snapshot_id", &request.group_snapshot_id)?;
    let group = inner.backends.owner(id.backend())?.get_group_snapshot(&id).await?;
    let given: Vec<&String> = request.snapshot_ids.iter().collect();
    let has: Vec<String> = group.members.iter().map(|member| member.id.to_string()).collect();
    if !given.is_empty() && (given.len() != has.len() || given.iter().any(|id| !has.contains(id))) {
        return Err(Error::invalid(format!("snapshot_ids are not the members of {id}; it has {}", has.join(", "))));
    }
    Ok(csi::GetVolumeGroupSnapshotResponse { group_snapshot: Some(answer::group(group)) })
}
