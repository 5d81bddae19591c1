//! Secrets: in no log line at any level, and in no message.

use std::collections::BTreeMap;

use hawser_proto::csi;
use tonic::{Response, Status};

use crate::client::{POD, create_request, exactly, map, text};
use crate::plugin::Plugin;

super::table! {
    a_secret_is_never_shown: [],
}

/// What must be seen nowhere.
const MARKER: &str = "correct-horse-battery-staple";

fn secrets() -> BTreeMap<String, String> {
    map([("password", MARKER), ("user", "admin")])
}

/// Looks at what a call answered, whichever way it ended.
fn told<T: std::fmt::Debug>(told: &mut String, result: Result<Response<T>, Status>) -> Option<T> {
    match result {
        Ok(answer) => {
            told.push_str(&format!("{answer:?}\n"));
            Some(answer.into_inner())
        }
        Err(status) => {
            told.push_str(&format!("{status:?} {}\n", status.message()));
            None
        }
    }
}

/// Every call that takes secrets, once where it succeeds and once where it fails.
async fn a_secret_is_never_shown(plugin: &Plugin) {
    let a = plugin.reconfigure(|settings| settings.log = "trace").await;
    let usage = plugin.usage();
    // Options may be secrets, too; where they are refused, the message must not repeat their value.
    let flagged = if usage.block { usage.clone() } else { usage.clone().flag(&format!("x-secret={MARKER}")) };
    let wrong = usage.clone().flag(&format!("bind={MARKER}")).flag(&format!("flavour={MARKER}"));
    let mut said = String::new();
    let (mut controller, mut node, mut groups) = (a.controller(), a.node(), a.groups());
    let nowhere = "local:00000000000000000000000000000000-00000000";

    let create = csi::CreateVolumeRequest { secrets: secrets(), ..create_request("one", plugin.small(), &flagged) };
    let volume = told(&mut said, controller.create_volume(create.clone()).await).unwrap().volume.unwrap();
    told(&mut said, controller.create_volume(csi::CreateVolumeRequest { name: "\n".to_owned(), ..create.clone() }).await);
    told(&mut said, controller.create_volume(csi::CreateVolumeRequest { parameters: map([("flavour", "x")]), ..create }).await);
    for volume_id in [volume.volume_id.as_str(), nowhere] {
        let id = || volume_id.to_owned();
        let validate = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: id(),
            volume_capabilities: vec![usage.capability()],
            secrets: secrets(),
            ..Default::default()
        };
        told(&mut said, controller.validate_volume_capabilities(validate).await);
        let expand = csi::ControllerExpandVolumeRequest {
            volume_id: id(),
            capacity_range: Some(exactly(plugin.small())),
            secrets: secrets(),
            volume_capability: Some(flagged.capability()),
        };
        told(&mut said, controller.controller_expand_volume(expand).await);
        let modify = csi::ControllerModifyVolumeRequest {
            volume_id: id(),
            secrets: secrets(),
            mutable_parameters: map([("flavour", "x")]),
        };
        told(&mut said, controller.controller_modify_volume(modify).await);
        let health = csi::ControllerGetVolumeHealthRequest { volume_id: id(), secrets: secrets() };
        told(&mut said, controller.controller_get_volume_health(health).await);
        let snapshot = csi::CreateSnapshotRequest {
            source_volume_id: id(),
            name: "snapshot".to_owned(),
            secrets: secrets(),
            ..Default::default()
        };
        let snapshot = told(&mut said, controller.create_snapshot(snapshot).await).and_then(|answer| answer.snapshot);
        let snapshot_id = snapshot.map_or_else(id, |snapshot| snapshot.snapshot_id);
        told(
            &mut said,
            controller.get_snapshot(csi::GetSnapshotRequest { snapshot_id: snapshot_id.clone(), secrets: secrets() }).await,
        );
        told(&mut said, controller.delete_snapshot(csi::DeleteSnapshotRequest { snapshot_id, secrets: secrets() }).await);
        let group = csi::CreateVolumeGroupSnapshotRequest {
            name: "group".to_owned(),
            source_volume_ids: vec![id()],
            secrets: secrets(),
            ..Default::default()
        };
        let group = told(&mut said, groups.create_volume_group_snapshot(group).await).and_then(|answer| answer.group_snapshot);
        let group_snapshot_id = group.map_or_else(id, |group| group.group_snapshot_id);
        let get = csi::GetVolumeGroupSnapshotRequest {
            group_snapshot_id: group_snapshot_id.clone(),
            secrets: secrets(),
            ..Default::default()
        };
        told(&mut said, groups.get_volume_group_snapshot(get).await);
        let delete = csi::DeleteVolumeGroupSnapshotRequest { group_snapshot_id, secrets: secrets(), ..Default::default() };
        told(&mut said, groups.delete_volume_group_snapshot(delete).await);

        let volume = csi::Volume { volume_id: id(), ..Default::default() };
        let attach = csi::ControllerPublishVolumeRequest { secrets: secrets(), ..a.attach_request(&volume, &flagged) };
        let context = told(&mut said, controller.controller_publish_volume(attach).await)
            .map(|answer| answer.publish_context)
            .unwrap_or_default();
        for usage in [&wrong, &flagged] {
            let stage = csi::NodeStageVolumeRequest { secrets: secrets(), ..a.stage_request(&volume, &context, usage) };
            told(&mut said, node.node_stage_volume(stage).await);
            let publish =
                csi::NodePublishVolumeRequest { secrets: secrets(), ..a.publish_request(&volume, &context, usage, POD) };
            told(&mut said, node.node_publish_volume(publish).await);
        }
        let expand = csi::NodeExpandVolumeRequest {
            volume_id: id(),
            volume_path: text(&a.target(POD, volume_id)),
            volume_capability: Some(flagged.capability()),
            secrets: secrets(),
            ..Default::default()
        };
        told(&mut said, node.node_expand_volume(expand).await);
    }
    told(&mut said, controller.list_snapshots(csi::ListSnapshotsRequest { secrets: secrets(), ..Default::default() }).await)
        .unwrap();
    let list = csi::ControllerListVolumeHealthRequest { secrets: secrets(), ..Default::default() };
    told(&mut said, controller.controller_list_volume_health(list).await).unwrap();
    told(&mut said, node.node_get_storage_health(csi::NodeGetStorageHealthRequest { secrets: secrets() }).await).unwrap();
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    for volume_id in [volume.volume_id.as_str(), nowhere] {
        let detach = csi::ControllerUnpublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            node_id: a.node_id().to_owned(),
            secrets: secrets(),
        };
        told(&mut said, controller.controller_unpublish_volume(detach).await).unwrap();
        let delete = csi::DeleteVolumeRequest { volume_id: volume_id.to_owned(), secrets: secrets() };
        told(&mut said, controller.delete_volume(delete).await).unwrap();
    }

    let log = plugin.said().await;
    assert!(log.contains("CreateVolume") && log.contains("NodeStageVolume"), "the log does not tell of the calls:\n{log}");
    for (what, text) in [("an answer", &said), ("the log", &log)] {
        let shown: Vec<&str> = text.lines().filter(|line| line.contains(MARKER)).collect();
        assert!(shown.is_empty(), "{what} shows a secret: {shown:#?}");
    }
}
