//! The limits of every field: what is too long, not printable, or meant to leave a directory.

use std::collections::BTreeMap;

use hawser_proto::csi;
use tonic::Code;

use crate::MIB;
use crate::client::{POD, clone_request, create_request, exactly, map, restore_request};
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::settings::{Sizes, words};
use crate::usage::Usage;

super::table! {
    a_name_has_up_to_128_bytes_of_anything_printable: [],
    a_name_that_is_missing_too_long_or_not_printable_is_refused: [],
    a_map_has_up_to_4_kib: [],
    every_unknown_parameter_is_named_at_once: [],
    a_wrong_value_is_named_with_its_key: [],
    a_size_that_cannot_be_is_refused: [],
    a_size_that_cannot_be_exact_is_refused_with_the_nearest_ones: [Sized],
    a_filesystem_larger_than_its_volume_is_refused: [Format],
    a_capability_that_is_incomplete_or_impossible_is_refused: [],
    an_id_that_could_leave_a_directory_is_invalid_everywhere: [],
    an_id_that_names_nothing_is_not_found_everywhere: [Cut, Modify],
    an_id_that_names_nothing_is_no_success_where_nothing_can_be_cut: [Shared],
    a_path_that_is_missing_relative_or_leads_upwards_is_refused: [],
}

async fn a_name_has_up_to_128_bytes_of_anything_printable(plugin: &Plugin) {
    let a = plugin.a();
    for name in [&"n".repeat(128), "../../etc/passwd", "🚢 Trosse/Ä \\ %s $(x)", ".", "a b"] {
        let volume = a.create(name, plugin.small(), &plugin.usage()).await;
        assert_eq!(a.create(name, plugin.small(), &plugin.usage()).await, volume, "{name}");
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_name_that_is_missing_too_long_or_not_printable_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    for (name, word) in
        [("", "required"), (&*"n".repeat(129), "128"), ("a\nb", "control"), ("a\0b", "control"), ("\u{7f}", "control")]
    {
        refused(
            a.try_create(create_request(name, plugin.small(), &plugin.usage())).await,
            Code::InvalidArgument,
            &["name", word],
        );
    }
}

async fn a_map_has_up_to_4_kib(plugin: &Plugin) {
    let a = plugin.a();
    let with = |length: usize| {
        let key = "csi.storage.k8s.io/pvc/name".to_owned();
        let value = "v".repeat(length - key.len());
        csi::CreateVolumeRequest {
            parameters: BTreeMap::from([(key, value)]),
            ..create_request("one", plugin.small(), &plugin.usage())
        }
    };
    let volume = a.try_create(with(4096)).await.unwrap();
    refused(a.try_create(with(4097)).await, Code::InvalidArgument, &["parameters", "4096"]);
    let secrets = BTreeMap::from([("key".to_owned(), "s".repeat(4096))]);
    let message = refused(
        a.try_create(csi::CreateVolumeRequest { secrets, ..create_request("two", plugin.small(), &plugin.usage()) }).await,
        Code::InvalidArgument,
        &["secrets", "4096"],
    );
    assert!(!message.contains("sss"), "{message}");
    refused(
        a.try_create(csi::CreateVolumeRequest {
            parameters: map([("a\nb", "c")]),
            ..create_request("two", plugin.small(), &plugin.usage())
        })
        .await,
        Code::InvalidArgument,
        &["control"],
    );
    let context: BTreeMap<_, _> = [("k".to_owned(), "v".repeat(4096))].into();
    refused(a.stage(&volume, &context, &plugin.usage()).await, Code::InvalidArgument, &["publish_context", "4096"]);
    refused(a.publish(&volume, &context, &plugin.usage(), POD).await, Code::InvalidArgument, &["publish_context", "4096"]);
    let usage = Usage::mount().flag(&"f".repeat(4097));
    refused(a.stage(&volume, &BTreeMap::new(), &usage).await, Code::InvalidArgument, &["mount_flags", "4096"]);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn every_unknown_parameter_is_named_at_once(plugin: &Plugin) {
    let a = plugin.a();
    let parameters = map([("iops", "1"), ("flavour", "x"), ("provisioning", "thin")]);
    let request = csi::CreateVolumeRequest { parameters, ..create_request("one", plugin.small(), &plugin.usage()) };
    refused(a.try_create(request).await, Code::InvalidArgument, &["iops", "flavour", "provisioning"]);
    let request = csi::GetCapacityRequest { parameters: map([("iops", "1"), ("flavour", "x")]), ..Default::default() };
    refused(a.controller().get_capacity(request).await, Code::InvalidArgument, &["iops", "flavour"]);
}

async fn a_wrong_value_is_named_with_its_key(plugin: &Plugin) {
    let a = plugin.a();
    for (key, value) in
        [("provisioning", "fat"), ("blockSize", "4096 -d name=/dev/vda"), ("blockSize", "1000"), ("inodeSize", "-1")]
    {
        let parameters = map([(key, value)]);
        let request = csi::CreateVolumeRequest { parameters, ..create_request("one", plugin.small(), &plugin.usage()) };
        refused(a.try_create(request).await, Code::InvalidArgument, &[key]);
    }
}

async fn a_size_that_cannot_be_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    let table = [
        (-1, 0, Code::InvalidArgument),
        (0, -1, Code::InvalidArgument),
        (i64::MIN, i64::MIN, Code::InvalidArgument),
        (2 * MIB, MIB, Code::InvalidArgument),
        (i64::MAX, 0, Code::OutOfRange),
        (i64::MAX, i64::MAX, Code::OutOfRange),
        (0, 1, Code::OutOfRange),
    ];
    for (required_bytes, limit_bytes, code) in table {
        let range = csi::CapacityRange { required_bytes, limit_bytes };
        let request = csi::CreateVolumeRequest { capacity_range: Some(range), ..create_request("one", 0, &plugin.usage()) };
        refused(a.try_create(request).await, code, &[]);
    }
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    for (required_bytes, limit_bytes, code) in
        table.into_iter().filter(|(required, ..)| *required != 0).chain([(0, 0, Code::InvalidArgument)])
    {
        let range = csi::CapacityRange { required_bytes, limit_bytes };
        refused(a.expand(&volume.volume_id, range).await, code, &[]);
    }
    let request = csi::ControllerExpandVolumeRequest { volume_id: volume.volume_id.clone(), ..Default::default() };
    refused(a.controller().controller_expand_volume(request).await, Code::InvalidArgument, &["capacity_range"]);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_size_that_cannot_be_exact_is_refused_with_the_nearest_ones(plugin: &Plugin) {
    let (a, Sizes { small, step }) = (plugin.a(), plugin.sizes());
    let request = create_request("odd", small + 1, &plugin.usage());
    refused(a.try_create(request).await, Code::OutOfRange, &[&words(small), &words(small + step)]);
    // With room above, the next possible size is taken.
    let range = csi::CapacityRange { required_bytes: small + 1, limit_bytes: small * 2 };
    let request = csi::CreateVolumeRequest { capacity_range: Some(range), ..create_request("odd", 0, &plugin.usage()) };
    let volume = a.try_create(request).await.unwrap();
    assert_eq!(volume.capacity_bytes, small + step);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_filesystem_larger_than_its_volume_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    for (filesystem, size) in [("xfs", 64 * MIB), ("btrfs", 16 * MIB), ("ext4", 64 << 10)] {
        let request = create_request("tiny", size, &Usage::mount().filesystem(filesystem));
        refused(a.try_create(request).await, Code::OutOfRange, &[]);
    }
}

async fn a_capability_that_is_incomplete_or_impossible_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    let whole = plugin.usage().capability();
    let with = |capability| csi::CreateVolumeRequest {
        volume_capabilities: vec![capability],
        ..create_request("one", plugin.small(), &Usage::mount())
    };
    let without_mode = csi::VolumeCapability { access_mode: None, ..whole.clone() };
    let without_kind = csi::VolumeCapability { access_type: None, ..whole.clone() };
    let unknown_mode =
        csi::VolumeCapability { access_mode: Some(csi::volume_capability::AccessMode { mode: 99 }), ..whole.clone() };
    let volume = a.create("whole", plugin.small(), &plugin.usage()).await;
    for (capability, word) in [(without_mode, "access_mode"), (without_kind, "access_type"), (unknown_mode, "99")] {
        refused(a.try_create(with(capability.clone())).await, Code::InvalidArgument, &[word]);
        let mut attach = a.attach_request(&volume, &plugin.usage());
        attach.volume_capability = Some(capability.clone());
        refused(a.controller().controller_publish_volume(attach).await, Code::InvalidArgument, &[word]);
        let mut stage = a.stage_request(&volume, &BTreeMap::new(), &plugin.usage());
        stage.volume_capability = Some(capability);
        refused(a.node().node_stage_volume(stage).await, Code::InvalidArgument, &[word]);
    }
    let none =
        csi::CreateVolumeRequest { volume_capabilities: Vec::new(), ..create_request("one", plugin.small(), &Usage::mount()) };
    refused(a.try_create(none).await, Code::InvalidArgument, &["volume_capabilities"]);
    refused(
        a.try_create(create_request("one", plugin.small(), &Usage::mount().filesystem("ntfs"))).await,
        Code::InvalidArgument,
        &["ntfs", "ext4"],
    );
    a.delete(&volume.volume_id).await.unwrap();
}

/// The gRPC code of every call that takes an id, with `id` in it.
async fn codes(plugin: &Plugin, id: &str) -> Vec<(&'static str, Code)> {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = csi::Volume { volume_id: id.to_owned(), ..Default::default() };
    // The CO's own paths must not depend on the id here.
    let place = a.create("place", plugin.small(), &usage).await;
    let (staging, target) =
        (a.stage_request(&place, &BTreeMap::new(), &usage), a.publish_request(&place, &BTreeMap::new(), &usage, POD));
    a.delete(&place.volume_id).await.unwrap();
    let (staging, target) = (staging.staging_target_path, target.target_path);
    let (mut controller, mut node) = (a.controller(), a.node());
    let code = |result: Result<(), tonic::Status>| result.err().map_or(Code::Ok, |status| status.code());
    let id = || id.to_owned();
    let capability = || Some(usage.capability());
    let stage = csi::NodeStageVolumeRequest {
        volume_id: id(),
        staging_target_path: staging.clone(),
        volume_capability: capability(),
        ..Default::default()
    };
    let publish = csi::NodePublishVolumeRequest {
        volume_id: id(),
        staging_target_path: staging.clone(),
        target_path: target.clone(),
        volume_capability: capability(),
        ..Default::default()
    };
    let stats = csi::NodeGetVolumeStatsRequest { volume_id: id(), volume_path: target.clone(), ..Default::default() };
    let expand_here = csi::NodeExpandVolumeRequest { volume_id: id(), volume_path: target.clone(), ..Default::default() };
    let expand = csi::ControllerExpandVolumeRequest {
        volume_id: id(),
        capacity_range: Some(exactly(plugin.small())),
        ..Default::default()
    };
    let validate = csi::ValidateVolumeCapabilitiesRequest {
        volume_id: id(),
        volume_capabilities: vec![usage.capability()],
        ..Default::default()
    };
    let attach = a.attach_request(&volume, &usage);
    let modify = csi::ControllerModifyVolumeRequest { volume_id: id(), ..Default::default() };
    let detach = csi::ControllerUnpublishVolumeRequest { volume_id: id(), node_id: a.node_id().to_owned(), ..Default::default() };
    vec![
        ("ControllerPublishVolume", code(controller.controller_publish_volume(attach).await.map(drop))),
        ("ValidateVolumeCapabilities", code(controller.validate_volume_capabilities(validate).await.map(drop))),
        ("ControllerExpandVolume", code(controller.controller_expand_volume(expand).await.map(drop))),
        ("ControllerModifyVolume", code(controller.controller_modify_volume(modify).await.map(drop))),
        (
            "ControllerGetVolume",
            code(controller.controller_get_volume(csi::ControllerGetVolumeRequest { volume_id: id() }).await.map(drop)),
        ),
        (
            "GetSnapshot",
            code(controller.get_snapshot(csi::GetSnapshotRequest { snapshot_id: id(), ..Default::default() }).await.map(drop)),
        ),
        ("CreateSnapshot", code(a.snapshot("s", &id()).await.map(drop))),
        ("CreateVolume from a volume", code(a.try_create(clone_request("c", plugin.small(), &usage, &id())).await.map(drop))),
        ("CreateVolume from a snapshot", code(a.try_create(restore_request("c", plugin.small(), &usage, &id())).await.map(drop))),
        ("NodeStageVolume", code(node.node_stage_volume(stage).await.map(drop))),
        ("NodePublishVolume", code(node.node_publish_volume(publish).await.map(drop))),
        ("NodeGetVolumeStats", code(node.node_get_volume_stats(stats).await.map(drop))),
        ("NodeExpandVolume", code(node.node_expand_volume(expand_here).await.map(drop))),
        ("DeleteVolume", code(a.delete(&id()).await)),
        ("DeleteSnapshot", code(a.delete_snapshot(&id()).await)),
        ("ControllerUnpublishVolume", code(controller.controller_unpublish_volume(detach).await.map(drop))),
    ]
}

async fn an_id_that_could_leave_a_directory_is_invalid_everywhere(plugin: &Plugin) {
    for id in ["", "local:../../etc", "local:..", "local:a/b", "/etc", "local:a\nb", &*format!("local:{}", "x".repeat(123))] {
        for (call, code) in codes(plugin, id).await {
            assert_eq!(code, Code::InvalidArgument, "{call} of {id:?}");
        }
    }
}

/// What the calls that take something away answer, a CO takes for success.
const AWAY: [&str; 3] = ["DeleteVolume", "DeleteSnapshot", "ControllerUnpublishVolume"];

const NOTHING: [&str; 2] = ["local:never-made", "local:00000000000000000000000000000000-00000000"];

async fn an_id_that_names_nothing_is_not_found_everywhere(plugin: &Plugin) {
    for id in NOTHING {
        for (call, code) in codes(plugin, id).await {
            let expected: &[Code] = match call {
                call if AWAY.contains(&call) => &[Code::Ok],
                // Nothing is staged at the path, whatever the volume.
                "NodePublishVolume" => &[Code::NotFound, Code::FailedPrecondition],
                _ => &[Code::NotFound],
            };
            assert!(expected.contains(&code), "{call} of {id:?} answered {code:?}");
        }
    }
}

async fn an_id_that_names_nothing_is_no_success_where_nothing_can_be_cut(plugin: &Plugin) {
    for id in NOTHING {
        for (call, code) in codes(plugin, id).await {
            let expected: &[Code] = match call {
                call if AWAY.contains(&call) => &[Code::Ok],
                _ => &[Code::NotFound, Code::FailedPrecondition, Code::Unimplemented, Code::InvalidArgument],
            };
            assert!(expected.contains(&code), "{call} of {id:?} answered {code:?}");
        }
    }
}

async fn a_path_that_is_missing_relative_or_leads_upwards_is_refused(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    a.stage(&volume, &context, &usage).await.unwrap();
    let upwards = format!("{}/../elsewhere", a.staging(&volume.volume_id).display());
    for path in ["", "relative/path", ".", &upwards] {
        let mut stage = a.stage_request(&volume, &context, &usage);
        stage.staging_target_path = path.to_owned();
        refused(a.node().node_stage_volume(stage).await, Code::InvalidArgument, &["staging_target_path"]);
        let mut publish = a.publish_request(&volume, &context, &usage, POD);
        publish.target_path = path.to_owned();
        refused(a.node().node_publish_volume(publish).await, Code::InvalidArgument, &["target_path"]);
        let unpublish = csi::NodeUnpublishVolumeRequest { volume_id: volume.volume_id.clone(), target_path: path.to_owned() };
        refused(a.node().node_unpublish_volume(unpublish).await, Code::InvalidArgument, &["target_path"]);
        let unstage = csi::NodeUnstageVolumeRequest { volume_id: volume.volume_id.clone(), staging_target_path: path.to_owned() };
        refused(a.node().node_unstage_volume(unstage).await, Code::InvalidArgument, &["staging_target_path"]);
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}
