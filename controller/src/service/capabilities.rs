//! What the plugin can do, and whether a volume can be used in certain ways.

use hawser_proto::csi;
use hawser_proto::csi::controller_service_capability::{Rpc, Type, rpc};
use hawser_volume::{Capabilities, Deadline, Kind, Listing, Result, SpecLevel, VolumeId, access, parameters, request};

use super::Inner;

pub(super) async fn controller_get_capabilities(
    inner: &Inner,
    _request: csi::ControllerGetCapabilitiesRequest,
    _deadline: Deadline,
) -> Result<csi::ControllerGetCapabilitiesResponse> {
    let backends: Vec<Capabilities> = inner.backends.iter().map(|(_, backend)| backend.capabilities()).collect();
    let any = |has: fn(&Capabilities) -> bool| backends.iter().any(has);
    let mut types =
        vec![rpc::Type::CreateDeleteVolume, rpc::Type::ListVolumes, rpc::Type::GetVolume, rpc::Type::SingleNodeMultiWriter];
    let optional = [
        (any(|c| c.attach), &[rpc::Type::PublishUnpublishVolume, rpc::Type::ListVolumesPublishedNodes][..]),
        (any(|c| c.attach_read_only), &[rpc::Type::PublishReadonly]),
        (any(|c| c.capacity), &[rpc::Type::GetCapacity]),
        (any(|c| c.snapshots), &[rpc::Type::CreateDeleteSnapshot, rpc::Type::ListSnapshots, rpc::Type::GetSnapshot]),
        (any(|c| c.clone), &[rpc::Type::CloneVolume]),
        (any(|c| c.expand.is_some()), &[rpc::Type::ExpandVolume]),
        (any(|c| c.modify), &[rpc::Type::ModifyVolume]),
    ];
    types.extend(optional.into_iter().filter(|(has, _)| *has).flat_map(|(_, types)| types));
    match inner.level {
        SpecLevel::V1_12 => types.push(rpc::Type::VolumeCondition),
        SpecLevel::V1_13 => types.extend([rpc::Type::GetVolumeHealth, rpc::Type::ListVolumeHealth]),
    }
    let lists = [rpc::Type::ListVolumes, rpc::Type::ListVolumesPublishedNodes, rpc::Type::ListVolumeHealth];
    let capabilities = types
        .into_iter()
        .filter(|kind| inner.listing == Listing::All || !lists.contains(kind))
        .map(|kind| csi::ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) })
        .collect();
    Ok(csi::ControllerGetCapabilitiesResponse { capabilities })
}

/// The confirmation repeats what was asked word for word: Mesos compares every field of it.
pub(super) async fn validate_volume_capabilities(
    inner: &Inner,
    request: csi::ValidateVolumeCapabilitiesRequest,
    _deadline: Deadline,
) -> Result<csi::ValidateVolumeCapabilitiesResponse> {
    request::required("volume_id", &request.volume_id)?;
    let accesses = access::accesses(&request.volume_capabilities)?;
    parameters::check_map("volume_context", &request.volume_context)?;
    parameters::check_map("parameters", &request.parameters)?;
    let id: VolumeId = request::id("volume_id", &request.volume_id)?;
    let backend = inner.backends.owner(id.backend())?;
    backend.get(&id).await?;
    let capabilities = backend.capabilities();
    let mut refused = accesses.iter().find_map(|access| capabilities.check(access).err());
    for access in &accesses {
        match refused {
            Some(_) => break,
            None => match backend.check(&id, access).await {
                Err(error) if error.kind() == Kind::Invalid => refused = Some(error),
                checked => checked?,
            },
        }
    }
    Ok(match refused {
        Some(error) => csi::ValidateVolumeCapabilitiesResponse { confirmed: None, message: error.to_string() },
        None => csi::ValidateVolumeCapabilitiesResponse {
            confirmed: Some(csi::validate_volume_capabilities_response::Confirmed {
                volume_context: request.volume_context,
                volume_capabilities: request.volume_capabilities,
                parameters: request.parameters,
                mutable_parameters: request.mutable_parameters,
            }),
            message: String::new(),
        },
    })
}
