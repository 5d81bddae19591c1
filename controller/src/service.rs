//! CSI's Controller and GroupController services: proto in, domain down, domain up, proto out.
//!
//! Every call is checked completely before anything is touched, in the order in which csi-sanity expects: ids, nodes,
//! capabilities, existence. A mutating call then takes its turn in the queue ([`hawser_volume::queue`]); a reading one does not
//! wait for anybody.

mod about;
mod answer;
mod capabilities;
mod capacity;
mod group;
mod health;
mod hosts;
mod page;
mod publish;
mod snapshot;
mod volume;

use std::sync::Arc;
use std::time::Duration;

use hawser_proto::csi;
use hawser_volume::queue::{Calls, Failures, Queue};
use hawser_volume::{Deadline, Listing, SpecLevel, request};
use tonic::{Request, Response, Status, async_trait};

use self::about::About;
use self::capacity::LastCapacities;
use crate::backends::Backends;

/// How long the work of one call may take, whether or not its caller still waits.
const WORK: Duration = Duration::from_secs(600);

/// The two controller services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Controller {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    backends: Backends,
    level: SpecLevel,
    listing: Listing,
    last_capacities: LastCapacities,
    failures: Failures,
    create: Calls<csi::CreateVolumeResponse>,
    delete: Calls<csi::DeleteVolumeResponse>,
    publish: Calls<csi::ControllerPublishVolumeResponse>,
    unpublish: Calls<csi::ControllerUnpublishVolumeResponse>,
    expand: Calls<csi::ControllerExpandVolumeResponse>,
    modify: Calls<csi::ControllerModifyVolumeResponse>,
    snapshot: Calls<csi::CreateSnapshotResponse>,
    delete_snapshot: Calls<csi::DeleteSnapshotResponse>,
    group: Calls<csi::CreateVolumeGroupSnapshotResponse>,
    delete_group: Calls<csi::DeleteVolumeGroupSnapshotResponse>,
}

impl Controller {
    /// Services over `backends`, whose calls take their turns in `queue`.
    pub fn new(backends: Backends, queue: &Queue, level: SpecLevel, listing: Listing) -> Self {
        let inner = Inner {
            backends,
            level,
            listing,
            last_capacities: LastCapacities::default(),
            failures: queue.failures().clone(),
            create: Calls::new(queue, "CreateVolume"),
            delete: Calls::new(queue, "DeleteVolume"),
            publish: Calls::new(queue, "ControllerPublishVolume"),
            unpublish: Calls::new(queue, "ControllerUnpublishVolume"),
            expand: Calls::new(queue, "ControllerExpandVolume"),
            modify: Calls::new(queue, "ControllerModifyVolume"),
            snapshot: Calls::new(queue, "CreateSnapshot"),
            delete_snapshot: Calls::new(queue, "DeleteSnapshot"),
            group: Calls::new(queue, "CreateVolumeGroupSnapshot"),
            delete_group: Calls::new(queue, "DeleteVolumeGroupSnapshot"),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The backends.
    pub fn backends(&self) -> &Backends {
        &self.inner.backends
    }

    /// Whether any backend makes group snapshots, which the plugin's capabilities mention.
    pub fn has_groups(&self) -> bool {
        self.inner.backends.iter().any(|(_, backend)| backend.capabilities().group_snapshots)
    }

    /// How a volume can grow, which the plugin's capabilities mention.
    pub fn expansions(&self) -> Vec<hawser_volume::Expansion> {
        let mut found: Vec<_> = self.inner.backends.iter().filter_map(|(_, backend)| backend.capabilities().expand).collect();
        found.dedup();
        found
    }
}

/// When the work of a call that begins now must have ended.
fn work_deadline() -> Deadline {
    Deadline::after(WORK)
}

/// Implements a gRPC trait: each method takes the request apart and hands it to the function of the same name in a module.
macro_rules! serve {
    ($($service:ident)::+ { $($method:ident($request:ident) -> $response:ident in $module:ident;)* }) => {
        #[async_trait]
        impl $($service)::+ for Controller {
            $(
                async fn $method(&self, request: Request<csi::$request>) -> Result<Response<csi::$response>, Status> {
                    let deadline = request::deadline(&request);
                    let request = request.into_inner();
                    let about = request.about();
                    let answer = $module::$method(&self.inner, request, deadline).await;
                    if let (Err(error), Some((method, keys))) = (&answer, about) {
                        self.inner.failures.refused(keys, method, error);
                    }
                    answer.map(Response::new).map_err(Status::from)
                }
            )*
        }
    };
}

serve! {
    csi::controller_server::Controller {
        create_volume(CreateVolumeRequest) -> CreateVolumeResponse in volume;
        delete_volume(DeleteVolumeRequest) -> DeleteVolumeResponse in volume;
        controller_publish_volume(ControllerPublishVolumeRequest) -> ControllerPublishVolumeResponse in publish;
        controller_unpublish_volume(ControllerUnpublishVolumeRequest) -> ControllerUnpublishVolumeResponse in publish;
        validate_volume_capabilities(ValidateVolumeCapabilitiesRequest) -> ValidateVolumeCapabilitiesResponse in capabilities;
        list_volumes(ListVolumesRequest) -> ListVolumesResponse in volume;
        get_capacity(GetCapacityRequest) -> GetCapacityResponse in capacity;
        controller_get_capabilities(ControllerGetCapabilitiesRequest) -> ControllerGetCapabilitiesResponse in capabilities;
        create_snapshot(CreateSnapshotRequest) -> CreateSnapshotResponse in snapshot;
        delete_snapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse in snapshot;
        list_snapshots(ListSnapshotsRequest) -> ListSnapshotsResponse in snapshot;
        get_snapshot(GetSnapshotRequest) -> GetSnapshotResponse in snapshot;
        controller_expand_volume(ControllerExpandVolumeRequest) -> ControllerExpandVolumeResponse in volume;
        controller_get_volume(ControllerGetVolumeRequest) -> ControllerGetVolumeResponse in volume;
        controller_modify_volume(ControllerModifyVolumeRequest) -> ControllerModifyVolumeResponse in volume;
        controller_list_volume_health(ControllerListVolumeHealthRequest) -> ControllerListVolumeHealthResponse in health;
        controller_get_volume_health(ControllerGetVolumeHealthRequest) -> ControllerGetVolumeHealthResponse in health;
    }
}

serve! {
    csi::group_controller_server::GroupController {
        group_controller_get_capabilities(GroupControllerGetCapabilitiesRequest) -> GroupControllerGetCapabilitiesResponse in group;
        create_volume_group_snapshot(CreateVolumeGroupSnapshotRequest) -> CreateVolumeGroupSnapshotResponse in group;
        delete_volume_group_snapshot(DeleteVolumeGroupSnapshotRequest) -> DeleteVolumeGroupSnapshotResponse in group;
        get_volume_group_snapshot(GetVolumeGroupSnapshotRequest) -> GetVolumeGroupSnapshotResponse in group;
    }
}
