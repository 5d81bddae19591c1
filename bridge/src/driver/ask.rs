//! What a driver is and can do.

use std::collections::BTreeSet;

use hawser_proto::csi;
use hawser_proto::csi::controller_client::ControllerClient;
use hawser_proto::csi::identity_client::IdentityClient;
use hawser_proto::csi::node_client::NodeClient;
use hawser_volume::{Deadline, Kind, Result};
use tonic::transport::Channel;

use super::retry::calling;

/// What a driver can do, as far as it matters to its client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// CREATE_DELETE_VOLUME.
    pub create: bool,
    /// PUBLISH_UNPUBLISH_VOLUME.
    pub attach: bool,
    /// PUBLISH_READONLY.
    pub attach_read_only: bool,
    /// LIST_VOLUMES.
    pub list: bool,
    /// LIST_VOLUMES_PUBLISHED_NODES.
    pub list_nodes: bool,
    /// GET_VOLUME.
    pub get: bool,
    /// GET_CAPACITY.
    pub capacity: bool,
    /// STAGE_UNSTAGE_VOLUME.
    pub stage: bool,
    /// EXPAND_VOLUME of its Controller service.
    pub expand: bool,
    /// EXPAND_VOLUME of its Node service.
    pub expand_here: bool,
    /// CLONE_VOLUME.
    pub clone: bool,
    /// CREATE_DELETE_SNAPSHOT.
    pub snapshots: bool,
    /// LIST_SNAPSHOTS.
    pub list_snapshots: bool,
    /// Whether there is a Node service.
    pub node: bool,
}

/// What only Hawser's own driver says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    /// Its backends.
    pub(super) backends: Vec<String>,
    /// The one that makes what nobody says a backend for.
    pub(super) default: Option<String>,
}

/// The answers.
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) node_id: String,
    pub(super) own: Option<Own>,
    pub(super) can: Abilities,
}

/// Asks both halves, and waits for them to be there.
pub(super) async fn ask(controller: &Channel, node: &Channel, deadline: Deadline) -> Result<Asked> {
    use csi::controller_service_capability::rpc::Type as OfController;
    use csi::node_service_capability::rpc::Type as OfNode;
    let identity = IdentityClient::new(node.clone());
    let info = calling(
        "GetPluginInfo",
        "of the driver",
        deadline,
        csi::GetPluginInfoRequest {},
        rpc!(identity.clone(), get_plugin_info),
    )
    .await?;
    let client = NodeClient::new(node.clone());
    let request = csi::NodeGetCapabilitiesRequest {};
    let answer = calling("NodeGetCapabilities", &info.name, deadline, request, rpc!(client.clone(), node_get_capabilities)).await;
    let answer = match answer {
        Ok(answer) => Some(answer),
        Err(error) if error.kind() == Kind::Unsupported => None,
        Err(error) => return Err(error),
    };
    let there_is_a_node = answer.is_some();
    let of_node: BTreeSet<i32> = answer
        .into_iter()
        .flat_map(|answer| answer.capabilities)
        .filter_map(|capability| capability.r#type)
        .map(|csi::node_service_capability::Type::Rpc(rpc)| rpc.r#type)
        .collect();
    let of_controller = controller_capabilities(controller, &info.name, deadline).await?;
    // The backends are asked through the Controller service; a Node service of its own may be configured with fewer.
    let identity = IdentityClient::new(controller.clone());
    let request = csi::GetPluginInfoRequest {};
    let own = match calling("GetPluginInfo", &info.name, deadline, request, rpc!(identity.clone(), get_plugin_info)).await {
        Ok(info) => own(&info),
        Err(error) if error.kind() == Kind::Unsupported => None,
        Err(error) => return Err(error),
    };
    let has = |kind: OfController| of_controller.contains(&i32::from(kind));
    let can = Abilities {
        create: has(OfController::CreateDeleteVolume),
        attach: has(OfController::PublishUnpublishVolume),
        attach_read_only: has(OfController::PublishReadonly),
        list: has(OfController::ListVolumes),
        list_nodes: has(OfController::ListVolumesPublishedNodes),
        get: has(OfController::GetVolume),
        capacity: has(OfController::GetCapacity),
        stage: of_node.contains(&i32::from(OfNode::StageUnstageVolume)),
        expand: has(OfController::ExpandVolume),
        expand_here: of_node.contains(&i32::from(OfNode::ExpandVolume)),
        clone: has(OfController::CloneVolume),
        snapshots: has(OfController::CreateDeleteSnapshot),
        list_snapshots: has(OfController::ListSnapshots),
        node: there_is_a_node,
    };
    if !there_is_a_node {
        return Ok(Asked { own, name: info.name, version: info.vendor_version, node_id: String::new(), can });
    }
    let request = csi::NodeGetInfoRequest {};
    let place = calling("NodeGetInfo", &info.name, deadline, request, rpc!(client.clone(), node_get_info)).await;
    let node_id = match place {
        Ok(place) => place.node_id,
        // Needed only to attach (CSI spec, NodeGetInfo).
        Err(error) if error.kind() == Kind::Unsupported && !can.attach => String::new(),
        Err(error) => return Err(error),
    };
    Ok(Asked { own, name: info.name, version: info.vendor_version, node_id, can })
}

/// What the driver says of itself if it is Hawser's own. Its name is the operator's to choose; that it has backends is not.
fn own(info: &csi::GetPluginInfoResponse) -> Option<Own> {
    let backends = info.manifest.get("backends")?.split(',').map(str::to_owned).collect();
    Some(Own { backends, default: info.manifest.get("default-backend").cloned() })
}

/// What the Controller service can do; nothing when there is none.
async fn controller_capabilities(channel: &Channel, name: &str, deadline: Deadline) -> Result<BTreeSet<i32>> {
    let client = ControllerClient::new(channel.clone());
    let request = csi::ControllerGetCapabilitiesRequest {};
    let answer = calling("ControllerGetCapabilities", name, deadline, request, rpc!(client.clone(), controller_get_capabilities));
    match answer.await {
        Ok(answer) => Ok(answer
            .capabilities
            .into_iter()
            .filter_map(|capability| capability.r#type)
            .map(|csi::controller_service_capability::Type::Rpc(rpc)| rpc.r#type)
            .collect()),
        Err(error) if error.kind() == Kind::Unsupported => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}
