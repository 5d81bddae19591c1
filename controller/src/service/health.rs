//! The health RPCs of spec 1.13. They are always served, and advertised when the spec level says so.

use hawser_proto::csi;
use hawser_volume::{Deadline, Result, VolumeId, request};

use super::{Inner, page};
use crate::provision::VolumeStatus;

fn health(status: VolumeStatus) -> csi::VolumeHealth {
    let health_statuses = status
        .trouble
        .into_iter()
        .map(|message| csi::volume_health::VolumeHealthEntry {
            status: csi::VolumeHealthErrorType::Inaccessible.into(),
            reason: "ContentUnusable".to_owned(),
            message,
        })
        .collect();
    csi::VolumeHealth { volume_id: status.volume.id.to_string(), health_statuses }
}

pub(super) async fn controller_list_volume_health(
    inner: &Inner,
    request: csi::ControllerListVolumeHealthRequest,
    _deadline: Deadline,
) -> Result<csi::ControllerListVolumeHealthResponse> {
    let (items, next_token) = page::volumes(&inner.backends, request.max_entries, &request.starting_token).await?;
    // Healthy volumes are left out (CSI spec, ControllerListVolumeHealth).
    let entries = items.into_iter().filter(|status| status.trouble.is_some()).map(health).collect();
    Ok(csi::ControllerListVolumeHealthResponse { entries, next_token })
}

pub(super) async fn controller_get_volume_health(
    inner: &Inner,
    request: csi::ControllerGetVolumeHealthRequest,
    _deadline: Deadline,
) -> Result<csi::ControllerGetVolumeHealthResponse> {
    let id: VolumeId = request::id("volume_id", &request.volume_id)?;
    let status = inner.backends.owner(id.backend())?.get(&id).await?;
    Ok(csi::ControllerGetVolumeHealthResponse { volume_health: Some(health(status)) })
}
