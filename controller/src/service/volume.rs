//! Volumes: create, delete, list, get, expand, modify.

use hawser_proto::csi;
use hawser_volume::queue::Key;
use hawser_volume::{
    Access, AccessKind, BackendName, Deadline, Error, Kind, MkfsParameters, ObjectName, Result, SizeRange, VolumeId, access,
    parameters, request,
};
use prost::Message;

use super::{Inner, answer, page, work_deadline};
use crate::provision::{Announced, NewVolume, Source, VolumeStatus};

pub(super) fn key(id: &VolumeId) -> Key {
    Key::new("volume", id.to_string())
}

/// The key of the volume context that says under which name a volume was made.
const NAME: &str = "name";

pub(super) async fn create_volume(
    inner: &Inner,
    request: csi::CreateVolumeRequest,
    deadline: Deadline,
) -> Result<csi::CreateVolumeResponse> {
    let encoded = request.encode_to_vec();
    let name: ObjectName = request.name.parse()?;
    let mut accesses = access::accesses(&request.volume_capabilities)?;
    let range =
        request.capacity_range.map_or_else(|| Ok(SizeRange::default()), |r| SizeRange::new(r.required_bytes, r.limit_bytes))?;
    let mut parameters = request::parameters("parameters", &request.parameters)?;
    let mutable = request::parameters("mutable_parameters", &request.mutable_parameters)?;
    let source = request.volume_content_source.map(|source| content_source(&source)).transpose()?;
    let (backend_name, backend) = inner.backends.choose(&mut parameters)?;
    let owner = source.as_ref().map(|source| match source {
        Source::Snapshot(id) => id.backend(),
        Source::Volume(id) => id.backend(),
    });
    if let Some(owner) = owner
        && *owner != backend_name
    {
        return Err(Error::invalid(format!(
            "volume_content_source belongs to backend {owner}, not to {backend_name}; copying between backends is not possible"
        )));
    }
    let (mkfs, mut context) = MkfsParameters::take_from("parameters", &mut parameters)?;
    // The one way in CSI to find a volume by its name again without being able to make it.
    context.insert(NAME.to_owned(), request.name.clone());
    settle_filesystem(&mkfs, &mut accesses)?;
    let capabilities = backend.capabilities();
    accesses.iter().try_for_each(|access| capabilities.check(access))?;
    match &source {
        Some(Source::Volume(_)) if !capabilities.clone => return Err(no(&backend_name, "clones")),
        Some(Source::Snapshot(_)) if !capabilities.snapshots => return Err(no(&backend_name, "snapshots")),
        _ => {}
    }
    // CSI spec, CreateVolumeRequest: "Plugins MUST treat these as if they take precedence over the parameters field."
    parameters.retain(|key, _| !mutable.keys().any(|other| other.eq_ignore_ascii_case(key)));
    parameters.extend(mutable);
    let mut keys = vec![Key::within("name", backend_name.to_string(), name.to_string())];
    if let Some(Source::Volume(id)) = &source {
        keys.push(key(id));
    }
    let new = NewVolume {
        name,
        range,
        accesses,
        parameters,
        labels: parameters::co_keys(&request.parameters),
        context,
        source,
        topology: request.accessibility_requirements.into(),
        secrets: request::secrets(request.secrets)?,
        deadline: work_deadline(),
    };
    let backend = backend.clone();
    let work = async move {
        let volume = backend.create(new).await?;
        Ok(csi::CreateVolumeResponse { volume: Some(answer::volume(volume)) })
    };
    inner.create.run(keys, &encoded, deadline, work).await
}

fn no(backend: &BackendName, what: &str) -> Error {
    Error::invalid(format!("volume_content_source: backend {backend} has no {what}"))
}

/// Says in each access which filesystem it will have, if the parameters do. Every such filesystem must be able to meet the
/// wishes for it, or the first mount would fail for ever.
fn settle_filesystem(mkfs: &MkfsParameters, accesses: &mut [Access]) -> Result<()> {
    for access in accesses {
        if let AccessKind::Mount(mount) = &mut access.kind {
            let filesystem = mkfs.filesystem(mount.filesystem).map_err(|e| e.while_doing("parameters"))?;
            mkfs.arguments(filesystem).map_err(|e| e.while_doing("parameters"))?;
            if mkfs.fs_type.is_some() {
                mount.filesystem = Some(filesystem);
            }
        }
    }
    Ok(())
}

fn content_source(source: &csi::VolumeContentSource) -> Result<Source> {
    use csi::volume_content_source::Type;
    match &source.r#type {
        Some(Type::Snapshot(snapshot)) => {
            request::id("volume_content_source.snapshot.snapshot_id", &snapshot.snapshot_id).map(Source::Snapshot)
        }
        Some(Type::Volume(volume)) => {
            request::id("volume_content_source.volume.volume_id", &volume.volume_id).map(Source::Volume)
        }
        None => Err(Error::invalid("volume_content_source names neither a snapshot nor a volume")),
    }
}

pub(super) async fn delete_volume(
    inner: &Inner,
    request: csi::DeleteVolumeRequest,
    deadline: Deadline,
) -> Result<csi::DeleteVolumeResponse> {
    let encoded = request.encode_to_vec();
    let id = match request::id::<VolumeId>("volume_id", &request.volume_id) {
        // An id that this plugin cannot have given names nothing that could be left behind.
        Err(error) if error.kind() == Kind::NotFound => return Ok(csi::DeleteVolumeResponse {}),
        id => id?,
    };
    let secrets = request::secrets(request.secrets)?;
    let backend = inner.backends.owner(id.backend())?.clone();
    let keys = [key(&id)];
    let work = async move {
        backend.delete(&id, &secrets, work_deadline()).await?;
        Ok(csi::DeleteVolumeResponse {})
    };
    inner.delete.run(keys, &encoded, deadline, work).await
}

pub(super) async fn list_volumes(
    inner: &Inner,
    request: csi::ListVolumesRequest,
    _deadline: Deadline,
) -> Result<csi::ListVolumesResponse> {
    let (items, next_token) = page::volumes(&inner.backends, request.max_entries, &request.starting_token).await?;
    let entries = items
        .into_iter()
        .map(|VolumeStatus { volume, nodes, trouble }| csi::list_volumes_response::Entry {
            volume: Some(answer::volume(volume)),
            status: Some(csi::list_volumes_response::VolumeStatus {
                published_node_ids: nodes.into_iter().map(String::from).collect(),
                volume_condition: Some(answer::condition(trouble)),
            }),
        })
        .collect();
    Ok(csi::ListVolumesResponse { entries, next_token })
}

pub(super) async fn controller_get_volume(
    inner: &Inner,
    request: csi::ControllerGetVolumeRequest,
    _deadline: Deadline,
) -> Result<csi::ControllerGetVolumeResponse> {
    let id: VolumeId = request::id("volume_id", &request.volume_id)?;
    let VolumeStatus { volume, nodes, trouble } = inner.backends.owner(id.backend())?.get(&id).await?;
    Ok(csi::ControllerGetVolumeResponse {
        volume: Some(answer::volume(volume)),
        status: Some(csi::controller_get_volume_response::VolumeStatus {
            published_node_ids: nodes.into_iter().map(String::from).collect(),
            volume_condition: Some(answer::condition(trouble)),
        }),
    })
}

pub(super) async fn controller_expand_volume(
    inner: &Inner,
    request: csi::ControllerExpandVolumeRequest,
    deadline: Deadline,
) -> Result<csi::ControllerExpandVolumeResponse> {
    let encoded = request.encode_to_vec();
    let id: VolumeId = request::id("volume_id", &request.volume_id)?;
    let range =
        request.capacity_range.ok_or_else(|| Error::invalid("capacity_range is required: say how large the volume shall be"))?;
    let range = SizeRange::new(range.required_bytes, range.limit_bytes)?;
    if range.is_open() {
        return Err(Error::invalid("capacity_range is empty: give required_bytes or limit_bytes"));
    }
    let block = request.volume_capability.as_ref().map(Access::try_from).transpose()?.is_some_and(|access| access.is_block());
    let secrets = request::secrets(request.secrets)?;
    let backend = inner.backends.owner(id.backend())?.clone();
    if backend.capabilities().expand.is_none() {
        return Err(Error::unsupported(format!("expand {id}: backend {} cannot", id.backend())));
    }
    let keys = [key(&id)];
    let announced = backend.announce(&id, &Announced::Size(range));
    let work = async move {
        let _announced = announced;
        let expanded = backend.expand(&id, range, &secrets, work_deadline()).await?;
        tracing::debug!(volume = %id, size = %expanded.size, block, "expanded");
        Ok(csi::ControllerExpandVolumeResponse {
            capacity_bytes: expanded.size.to_proto(),
            node_expansion_required: expanded.node_must_follow,
        })
    };
    inner.expand.run(keys, &encoded, deadline, work).await
}

pub(super) async fn controller_modify_volume(
    inner: &Inner,
    request: csi::ControllerModifyVolumeRequest,
    deadline: Deadline,
) -> Result<csi::ControllerModifyVolumeResponse> {
    let encoded = request.encode_to_vec();
    let id: VolumeId = request::id("volume_id", &request.volume_id)?;
    let parameters = request::parameters("mutable_parameters", &request.mutable_parameters)?;
    let secrets = request::secrets(request.secrets)?;
    let backend = inner.backends.owner(id.backend())?.clone();
    if !backend.capabilities().modify {
        return Err(Error::unsupported(format!("modify {id}: backend {} cannot", id.backend())));
    }
    let keys = [key(&id)];
    let announced = backend.announce(&id, &Announced::Properties(parameters.clone()));
    let work = async move {
        let _announced = announced;
        backend.modify(&id, parameters, &secrets, work_deadline()).await?;
        Ok(csi::ControllerModifyVolumeResponse {})
    };
    inner.modify.run(keys, &encoded, deadline, work).await
}
