//! What can still be provided.

use hawser_proto::csi;
use hawser_volume::{Access, Deadline, MkfsParameters, Result, request};

use super::Inner;
use crate::provision::CapacityQuery;

pub(super) async fn get_capacity(
    inner: &Inner,
    request: csi::GetCapacityRequest,
    _deadline: Deadline,
) -> Result<csi::GetCapacityResponse> {
    let accesses: Vec<Access> = request.volume_capabilities.iter().map(Access::try_from).collect::<Result<_>>()?;
    let mut parameters = request::parameters("parameters", &request.parameters)?;
    let (_, backend) = inner.backends.choose(&mut parameters)?;
    MkfsParameters::take_from("parameters", &mut parameters)?;
    let capabilities = backend.capabilities();
    if !accesses.iter().all(|access| capabilities.check(access).is_ok()) {
        // Volumes with a capability that the backend lacks: there is room for none of them.
        return Ok(csi::GetCapacityResponse::default());
    }
    let query = CapacityQuery { accesses, parameters, place: request.accessible_topology.map(|topology| topology.segments) };
    let capacity = backend.capacity(query).await?;
    Ok(csi::GetCapacityResponse {
        available_capacity: capacity.available.to_proto(),
        maximum_volume_size: capacity.max_volume.map(|size| size.to_proto()),
        minimum_volume_size: capacity.min_volume.map(|size| size.to_proto()),
    })
}
