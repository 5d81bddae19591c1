//! The domain's objects as proto messages.

use hawser_proto::csi;
use prost_types::Timestamp;

use crate::provision::{GroupSnapshot, Snapshot, Source, Volume};

pub(super) fn volume(volume: Volume) -> csi::Volume {
    use csi::volume_content_source as content;
    let source = volume.source.map(|source| csi::VolumeContentSource {
        r#type: Some(match source {
            Source::Snapshot(id) => content::Type::Snapshot(content::SnapshotSource { snapshot_id: id.to_string() }),
            Source::Volume(id) => content::Type::Volume(content::VolumeSource { volume_id: id.to_string() }),
        }),
    });
    csi::Volume {
        capacity_bytes: volume.size.to_proto(),
        volume_id: volume.id.to_string(),
        volume_context: volume.context,
        content_source: source,
        accessible_topology: volume.topology.into_iter().map(|segments| csi::Topology { segments }).collect(),
    }
}

pub(super) fn snapshot(snapshot: Snapshot) -> csi::Snapshot {
    csi::Snapshot {
        size_bytes: snapshot.size.to_proto(),
        snapshot_id: snapshot.id.to_string(),
        source_volume_id: snapshot.source.to_string(),
        creation_time: Some(Timestamp::from(snapshot.created)),
        ready_to_use: snapshot.ready,
        group_snapshot_id: snapshot.group.map(|id| id.to_string()).unwrap_or_default(),
        ..Default::default()
    }
}

pub(super) fn group(group: GroupSnapshot) -> csi::VolumeGroupSnapshot {
    csi::VolumeGroupSnapshot {
        group_snapshot_id: group.id.to_string(),
        creation_time: Some(Timestamp::from(group.created)),
        ready_to_use: group.members.iter().all(|member| member.ready),
        snapshots: group.members.into_iter().map(snapshot).collect(),
    }
}

/// The legacy condition (spec 1.12 and older).
pub(super) fn condition(trouble: Option<String>) -> csi::VolumeCondition {
    match trouble {
        Some(message) => csi::VolumeCondition { abnormal: true, message },
        None => csi::VolumeCondition { abnormal: false, message: "healthy".to_owned() },
    }
}
