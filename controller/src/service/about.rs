//! What a request is about, as far as it says so itself: so that one which is refused before it is put in line is on record too.

use hawser_proto::csi;
use hawser_volume::queue::Key;

/// A request.
pub(super) trait About {
    /// The method, and the objects that it would change; nothing for one that only reads.
    fn about(&self) -> Option<(&'static str, Vec<Key>)> {
        None
    }
}

macro_rules! about {
    ($($request:ident($this:ident) => $method:literal, $keys:expr;)*) => {
        $(impl About for csi::$request {
            fn about(&self) -> Option<(&'static str, Vec<Key>)> {
                let $this = self;
                Some(($method, $keys))
            }
        })*
    };
}

macro_rules! reads {
    ($($request:ident,)*) => {
        $(impl About for csi::$request {})*
    };
}

fn volume(id: &str) -> Vec<Key> {
    vec![Key::new("volume", id)]
}

about! {
    CreateVolumeRequest(this) => "CreateVolume", {
        use csi::volume_content_source::Type;
        let mut keys = vec![Key::new("name", &this.name)];
        if let Some(Type::Volume(source)) = this.volume_content_source.as_ref().and_then(|source| source.r#type.as_ref()) {
            keys.extend(volume(&source.volume_id));
        }
        keys
    };
    DeleteVolumeRequest(this) => "DeleteVolume", volume(&this.volume_id);
    ControllerPublishVolumeRequest(this) => "ControllerPublishVolume", volume(&this.volume_id);
    ControllerUnpublishVolumeRequest(this) => "ControllerUnpublishVolume", volume(&this.volume_id);
    ControllerExpandVolumeRequest(this) => "ControllerExpandVolume", volume(&this.volume_id);
    ControllerModifyVolumeRequest(this) => "ControllerModifyVolume", volume(&this.volume_id);
    CreateSnapshotRequest(this) => "CreateSnapshot", vec![Key::new("snapshot-name", &this.name), Key::new("volume", &this.source_volume_id)];
    DeleteSnapshotRequest(this) => "DeleteSnapshot", vec![Key::new("snapshot", &this.snapshot_id)];
    CreateVolumeGroupSnapshotRequest(this) => "CreateVolumeGroupSnapshot", {
        let mut keys = vec![Key::new("group-name", &this.name)];
        keys.extend(this.source_volume_ids.iter().map(|id| Key::new("volume", id)));
        keys
    };
    DeleteVolumeGroupSnapshotRequest(this) => "DeleteVolumeGroupSnapshot", vec![Key::new("group", &this.group_snapshot_id)];
}

reads! {
    ValidateVolumeCapabilitiesRequest,
    ListVolumesRequest,
    GetCapacityRequest,
    ControllerGetCapabilitiesRequest,
    ListSnapshotsRequest,
    GetSnapshotRequest,
    ControllerGetVolumeRequest,
    ControllerListVolumeHealthRequest,
    ControllerGetVolumeHealthRequest,
    GroupControllerGetCapabilitiesRequest,
    GetVolumeGroupSnapshotRequest,
}
