//! Giving volumes to nodes and taking them back.

use hawser_proto::csi;
use hawser_volume::{Deadline, Error, Kind, NodeId, Result, VolumeId, request};
use prost::Message;

use super::volume::key;
use super::{Inner, work_deadline};
use crate::provision::Attach;

fn node_id(text: &str) -> Result<NodeId> {
    tracing::Span::current().record("node_id", text);
    request::required("node_id", text)?.parse()
}

pub(super) async fn controller_publish_volume(
    inner: &Inner,
    request: csi::ControllerPublishVolumeRequest,
    deadline: Deadline,
) -> Result<csi::ControllerPublishVolumeResponse> {
    let encoded = request.encode_to_vec();
    // csi-sanity wants missing fields named before unknown ids.
    request::required("volume_id", &request.volume_id)?;
    let node = node_id(&request.node_id)?;
    let access = request::access(request.volume_capability.as_ref())?;
    let id: VolumeId = request::id("volume_id", &request.volume_id)?;
    hawser_volume::parameters::check_map("volume_context", &request.volume_context)?;
    let secrets = request::secrets(request.secrets)?;
    let backend = inner.backends.owner(id.backend())?.clone();
    let capabilities = backend.capabilities();
    capabilities.check(&access)?;
    if request.readonly && !capabilities.attach_read_only {
        return Err(Error::invalid(format!(
            "readonly: backend {} cannot attach without writing; publish it read-only on the node",
            id.backend()
        )));
    }
    let keys = [key(&id)];
    let attach = Attach {
        id,
        node,
        access,
        read_only: request.readonly,
        context: request.volume_context,
        secrets,
        deadline: work_deadline(),
    };
    let work = async move {
        let publish_context = backend.attach(attach).await?;
        Ok(csi::ControllerPublishVolumeResponse { publish_context })
    };
    inner.publish.run(keys, &encoded, deadline, work).await
}

pub(super) async fn controller_unpublish_volume(
    inner: &Inner,
    request: csi::ControllerUnpublishVolumeRequest,
    deadline: Deadline,
) -> Result<csi::ControllerUnpublishVolumeResponse> {
    let encoded = request.encode_to_vec();
    let id = match request::id::<VolumeId>("volume_id", &request.volume_id) {
        // What does not exist is attached to nothing.
        Err(error) if error.kind() == Kind::NotFound => return Ok(csi::ControllerUnpublishVolumeResponse {}),
        id => id?,
    };
    // An empty node_id means every node (CSI spec, ControllerUnpublishVolume).
    let node = (!request.node_id.is_empty()).then(|| node_id(&request.node_id)).transpose()?;
    let secrets = request::secrets(request.secrets)?;
    let backend = inner.backends.owner(id.backend())?.clone();
    let keys = [key(&id)];
    let work = async move {
        backend.detach(&id, node.as_ref(), &secrets, work_deadline()).await?;
        Ok(csi::ControllerUnpublishVolumeResponse {})
    };
    inner.unpublish.run(keys, &encoded, deadline, work).await
}
