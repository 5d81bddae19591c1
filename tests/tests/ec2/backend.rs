//! The EBS backend through its socket: what a CO asks for, and what EC2 has then.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_proto::csi;
use hawser_tests::client::{Client, at_least, clone_request, create_request, exactly, map, restore_request};
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, Hold, ZONES};
use hawser_tests::refusal::refused;
use hawser_tests::usage::Usage;
use tonic::Code;

const GIB: i64 = 1024 * hawser_tests::MIB;

/// The native part of an id.
fn native(id: &str) -> &str {
    id.strip_prefix("ebs:").unwrap()
}

struct Stage {
    ec2: Ec2,
    plugin: Controller,
    place: tempfile::TempDir,
    a: String,
    b: String,
}

impl Stage {
    async fn new(settings: Ec2Settings, more: &str) -> Self {
        let ec2 = Ec2::start(settings).await;
        let place = tempfile::tempdir().unwrap();
        let plugin = Controller::start(&ec2, place.path(), "one", more).await;
        let a = ec2.world().instance(ZONES[0]);
        let b = ec2.world().instance(ZONES[0]);
        Self { ec2, plugin, place, a, b }
    }

    fn a(&self) -> Client {
        self.plugin.client(&self.a)
    }

    fn b(&self) -> Client {
        self.plugin.client(&self.b)
    }
}

fn slow() -> Ec2Settings {
    let step = Duration::from_millis(300);
    Ec2Settings { create: step, attach: step, detach: step, modify: step, snapshot: step, listed: step, ..Ec2Settings::default() }
}

fn request(name: &str, parameters: &[(&str, &str)]) -> csi::CreateVolumeRequest {
    let parameters = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    csi::CreateVolumeRequest {
        parameters,
        accessibility_requirements: Some(csi::TopologyRequirement { requisite: vec![zone(ZONES[0])], preferred: vec![] }),
        ..create_request(name, 4 * GIB, &Usage::mount())
    }
}

fn zone(name: &str) -> csi::Topology {
    csi::Topology { segments: map([("csi.hawser.dev/ebs", name)]) }
}

#[tokio::test]
async fn a_volume_lives_from_its_making_to_its_end() {
    let stage = Stage::new(slow(), "").await;
    let a = stage.a();
    let volume =
        a.try_create(request("data", &[("type", "gp3"), ("tagSpecification_1", "team=db"), ("fsType", "xfs")])).await.unwrap();
    let id = native(&volume.volume_id).to_owned();
    assert_eq!((volume.capacity_bytes, volume.volume_context["name"].as_str()), (4 * GIB, "data"));
    assert_eq!(volume.accessible_topology, [zone(ZONES[0])]);
    {
        let world = stage.ec2.world();
        let tags = &world.volumes[&id].tags;
        for (key, value) in [("team", "db"), ("CSIVolumeName", "data"), ("Name", "data"), ("ebs.csi.aws.com/cluster", "true")] {
            assert_eq!(tags[key], value);
        }
    }
    // The same again, in this process and in another one, is the same.
    let again = a.try_create(request("data", &[("type", "gp3"), ("tagSpecification_1", "team=db"), ("fsType", "xfs")])).await;
    assert_eq!(again.unwrap(), volume);
    let other = Controller::start(&stage.ec2, stage.place.path(), "two", "").await;
    let again = other.client(&stage.a).try_create(request("data", &[("type", "gp3"), ("fsType", "xfs")])).await.unwrap();
    assert_eq!(again, volume);

    let context = a.attach(&volume, &Usage::mount()).await.unwrap();
    assert_eq!(context["volume-id"], id);
    assert!(context["device"].starts_with("/dev/xvd"), "{context:?}");
    assert_eq!(a.attach(&volume, &Usage::mount()).await.unwrap(), context);
    assert_eq!(a.holders(&volume.volume_id).await, std::slice::from_ref(&stage.a));
    refused(stage.b().attach(&volume, &Usage::mount()).await, Code::FailedPrecondition, &[&stage.a]);
    refused(a.delete(&volume.volume_id).await, Code::FailedPrecondition, &[&stage.a]);
    let listed = a.volumes().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].status.as_ref().unwrap().published_node_ids, std::slice::from_ref(&stage.a));

    let grown = a.expand(&volume.volume_id, exactly(6 * GIB)).await.unwrap();
    assert_eq!((grown.capacity_bytes, grown.node_expansion_required), (6 * GIB, true));
    assert_eq!(a.expand(&volume.volume_id, at_least(5 * GIB)).await.unwrap().capacity_bytes, 6 * GIB);
    refused(a.expand(&volume.volume_id, exactly(5 * GIB)).await, Code::OutOfRange, &["smaller"]);

    a.detach(&volume.volume_id).await.unwrap();
    assert!(stage.ec2.world().volumes[&id].attachments.is_empty());
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    refused(a.attach(&volume, &Usage::mount()).await, Code::NotFound, &[&id]);
    assert!(stage.ec2.world().volumes.is_empty());
    // The name is free again, though its token is used up: for the same volume and for another one.
    let second = a.try_create(request("data", &[("type", "gp3"), ("tagSpecification_1", "team=db"), ("fsType", "xfs")])).await;
    let second = second.unwrap();
    assert_ne!(second.volume_id, volume.volume_id);
    a.delete(&second.volume_id).await.unwrap();
    let third = a.try_create(request("data", &[])).await.unwrap();
    assert!(![volume.volume_id, second.volume_id].contains(&third.volume_id));
}

#[tokio::test]
async fn a_name_means_one_volume_and_nothing_else() {
    let stage = Stage::new(Ec2Settings::default(), "").await;
    let a = stage.a();
    let volume = a.try_create(request("data", &[("type", "gp3")])).await.unwrap();
    let larger = csi::CreateVolumeRequest { capacity_range: Some(exactly(8 * GIB)), ..request("data", &[("type", "gp3")]) };
    refused(a.try_create(larger).await, Code::AlreadyExists, &["4GiB"]);
    refused(a.try_create(request("data", &[("type", "gp2")])).await, Code::AlreadyExists, &["parameters"]);
    let elsewhere = csi::TopologyRequirement { requisite: vec![zone(ZONES[1])], preferred: vec![] };
    let far = csi::CreateVolumeRequest { accessibility_requirements: Some(elsewhere), ..request("data", &[("type", "gp3")]) };
    refused(a.try_create(far).await, Code::AlreadyExists, &[ZONES[0]]);
    // Another cluster in the same account has names of its own.
    let other = Controller::start(&stage.ec2, stage.place.path(), "other", "    cluster: other\n").await;
    let theirs = other.client(&stage.a).try_create(request("data", &[("type", "gp3")])).await.unwrap();
    assert_ne!(theirs.volume_id, volume.volume_id);
    assert_eq!((a.volumes().await.len(), other.client(&stage.a).volumes().await.len()), (1, 1));
}

/// Two controllers are asked for one name with different parameters at the same moment: EC2 gives one volume, and one is refused.
#[tokio::test]
async fn of_two_who_ask_for_different_volumes_under_one_name_one_gets_it() {
    let stage = Stage::new(Ec2Settings { listed: Duration::from_millis(500), ..Ec2Settings::default() }, "").await;
    let other = Controller::start(&stage.ec2, stage.place.path(), "two", "").await;
    for number in 0..5 {
        let (name, one, two) = (format!("v{number}"), stage.a(), other.client(&stage.a));
        let (first, second) =
            tokio::join!(one.try_create(request(&name, &[("type", "gp3")])), two.try_create(request(&name, &[("type", "gp2")])),);
        let codes = [&first, &second].map(|result| result.as_ref().err().map(tonic::Status::code));
        assert!(codes.contains(&None) && codes.contains(&Some(Code::AlreadyExists)), "{first:?} {second:?}");
    }
    assert_eq!(stage.ec2.world().volumes.len(), 5);
}

#[tokio::test]
async fn zones_are_chosen_as_they_are_preferred_and_as_there_is_room() {
    let stage = Stage::new(Ec2Settings::default(), "").await;
    let a = stage.a();
    let of = |name: &str, requisite: &[&str], preferred: &[&str]| {
        let places = |zones: &[&str]| zones.iter().map(|name| zone(name)).collect();
        let requirement = csi::TopologyRequirement { requisite: places(requisite), preferred: places(preferred) };
        csi::CreateVolumeRequest { accessibility_requirements: Some(requirement), ..request(name, &[]) }
    };
    let preferred = a.try_create(of("a", &ZONES, &[ZONES[1]])).await.unwrap();
    assert_eq!(preferred.accessible_topology, [zone(ZONES[1])]);
    stage.ec2.world().full.insert(ZONES[1].to_owned());
    let next = a.try_create(of("b", &ZONES, &[ZONES[1]])).await.unwrap();
    assert_eq!(next.accessible_topology, [zone(ZONES[0])]);
    refused(a.try_create(of("c", &[ZONES[1]], &[])).await, Code::ResourceExhausted, &["InsufficientVolumeCapacity"]);
    let unknown = csi::Topology { segments: map([("csi.hawser.dev/local", "x")]) };
    let nowhere = csi::TopologyRequirement { requisite: vec![unknown], preferred: vec![] };
    let nowhere = csi::CreateVolumeRequest { accessibility_requirements: Some(nowhere), ..request("d", &[]) };
    refused(a.try_create(nowhere).await, Code::ResourceExhausted, &["zone"]);
    // As Kubernetes and aws-ebs-csi-driver say it.
    for (name, key) in [("e", "topology.kubernetes.io/zone"), ("f", "topology.ebs.csi.aws.com/zone")] {
        let place = csi::Topology { segments: map([(key, ZONES[0])]) };
        let requirement = csi::TopologyRequirement { requisite: vec![place], preferred: vec![] };
        let request = csi::CreateVolumeRequest { accessibility_requirements: Some(requirement), ..request(name, &[]) };
        assert_eq!(a.try_create(request).await.unwrap().accessible_topology, [zone(ZONES[0])], "{key}");
    }
    // Without a wish the name decides, for every controller alike.
    stage.ec2.world().full.clear();
    let anywhere = |name: &str| csi::CreateVolumeRequest { accessibility_requirements: None, ..request(name, &[]) };
    let mut zones = BTreeMap::new();
    for number in 0..12 {
        let volume = a.try_create(anywhere(&format!("any{number}"))).await.unwrap();
        *zones.entry(volume.accessible_topology[0].segments["csi.hawser.dev/ebs"].clone()).or_insert(0) += 1;
    }
    assert_eq!(zones.len(), 2, "{zones:?}");
}

#[tokio::test]
async fn snapshots_are_cut_kept_and_made_volumes_of() {
    let stage = Stage::new(slow(), "").await;
    let a = stage.a();
    let volume = a.try_create(request("data", &[])).await.unwrap();
    let cut = csi::CreateSnapshotRequest {
        name: "cut".to_owned(),
        source_volume_id: volume.volume_id.clone(),
        parameters: map([
            ("lockMode", "governance"),
            ("lockDuration", "7"),
            ("fastSnapshotRestoreAvailabilityZones", "us-east-1a, us-east-1b"),
            ("tagSpecification_1", "of={{ .VolumeSnapshotName }}"),
            ("csi.storage.k8s.io/volumesnapshot/name", "nightly"),
        ]),
        ..Default::default()
    };
    let made = a.controller().create_snapshot(cut.clone()).await.unwrap().into_inner().snapshot.unwrap();
    assert_eq!((made.source_volume_id.as_str(), made.size_bytes), (volume.volume_id.as_str(), 4 * GIB));
    let again = a.controller().create_snapshot(cut.clone()).await.unwrap().into_inner().snapshot.unwrap();
    assert_eq!(again.snapshot_id, made.snapshot_id);
    {
        let world = stage.ec2.world();
        let snapshot = &world.snapshots[native(&made.snapshot_id)];
        assert_eq!((snapshot.lock.clone(), snapshot.fast.len()), (Some(("governance".to_owned(), Some(7))), 2));
        assert_eq!(snapshot.tags["of"], "nightly");
    }
    let other = a.try_create(request("other", &[])).await.unwrap();
    refused(a.snapshot("cut", &other.volume_id).await, Code::AlreadyExists, &["another name"]);
    // A zone where it cannot be is found out when the snapshot is there; it is not left behind.
    let wrong = csi::CreateSnapshotRequest {
        name: "wrong".to_owned(),
        parameters: map([("fastSnapshotRestoreAvailabilityZones", "us-east-1z")]),
        ..cut.clone()
    };
    refused(a.controller().create_snapshot(wrong).await, Code::InvalidArgument, &["us-east-1z"]);
    assert_eq!(stage.ec2.world().snapshots.len(), 1);
    // The snapshot is waited for until it is complete.
    let larger = a.try_create(restore_request("larger", 8 * GIB, &Usage::mount(), &made.snapshot_id)).await.unwrap();
    assert_eq!(larger.capacity_bytes, 8 * GIB);
    assert_eq!(
        larger.content_source.as_ref().unwrap(),
        restore_request("x", GIB, &Usage::mount(), &made.snapshot_id).volume_content_source.as_ref().unwrap()
    );
    refused(
        a.try_create(restore_request("small", 2 * GIB, &Usage::mount(), &made.snapshot_id)).await,
        Code::OutOfRange,
        &["4GiB"],
    );
    let missing = "ebs:snap-0123456789abcdef0";
    refused(a.try_create(restore_request("none", 4 * GIB, &Usage::mount(), missing)).await, Code::NotFound, &["snap-"]);
    refused(a.delete_snapshot(&made.snapshot_id).await, Code::FailedPrecondition, &["locked"]);
    stage.ec2.world().snapshots.get_mut(native(&made.snapshot_id)).unwrap().lock = None;
    a.delete_snapshot(&made.snapshot_id).await.unwrap();
    a.delete_snapshot(&made.snapshot_id).await.unwrap();
}

/// By EC2's own copies, and by a snapshot where it has none; with a controller that is killed between the two parts.
#[tokio::test]
async fn a_copy_is_made_in_either_way_and_leaves_no_snapshot() {
    for copies in [true, false] {
        let settings = Ec2Settings { copies, snapshot: Duration::from_millis(800), ..slow() };
        let mut stage = Stage::new(settings, "    listed-within-seconds: 2\n").await;
        let source = stage.a().try_create(request("data", &[("type", "io2"), ("iops", "500")])).await.unwrap();
        let copy = csi::CreateVolumeRequest {
            accessibility_requirements: request("x", &[]).accessibility_requirements,
            ..clone_request("copy", 8 * GIB, &Usage::mount(), &source.volume_id)
        };
        if !copies {
            let (client, request) = (stage.a(), copy.clone());
            let call = tokio::spawn(async move { client.try_create(request).await });
            while stage.ec2.world().snapshots.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stage.plugin.kill();
            call.await.unwrap().unwrap_err();
            stage.plugin = Controller::start(&stage.ec2, stage.place.path(), "after", "    listed-within-seconds: 2\n").await;
        }
        let made = stage.a().try_create(copy.clone()).await.unwrap();
        assert_eq!((made.capacity_bytes, made.content_source.clone()), (8 * GIB, copy.volume_content_source.clone()));
        assert_eq!(stage.a().try_create(copy).await.unwrap(), made);
        {
            let world = stage.ec2.world();
            assert_eq!((world.volumes.len(), world.snapshots.len()), (2, 0), "copies: {copies}");
        }
        // A second one when the first was not listed yet; neither is left.
        let cut = stage.ec2.asked().get("CreateSnapshot").copied().unwrap_or_default();
        assert!(if copies { cut == 0 } else { (1..=2).contains(&cut) }, "copies: {copies}, {cut} snapshots");
        refused(
            stage.a().try_create(clone_request("small", GIB, &Usage::mount(), &source.volume_id)).await,
            Code::OutOfRange,
            &["4GiB"],
        );
    }
}

#[tokio::test]
async fn what_is_asked_of_a_volume_at_once_is_one_change() {
    let settings =
        Ec2Settings { modify: Duration::from_millis(700), modify_again: Duration::from_secs(3600), ..Ec2Settings::default() };
    let stage = Stage::new(settings, "    modify-window-milliseconds: 300\n").await;
    let a = stage.a();
    let volume = a.try_create(request("data", &[("type", "gp3")])).await.unwrap();
    let properties = csi::ControllerModifyVolumeRequest {
        volume_id: volume.volume_id.clone(),
        mutable_parameters: map([
            ("iops", "4000"),
            ("throughput", "200"),
            ("tagSpecification_1", "tier=gold"),
            ("tagDeletion_1", "none"),
        ]),
        ..Default::default()
    };
    let (grown, modified) = tokio::join!(a.expand(&volume.volume_id, exactly(10 * GIB)), async {
        a.controller().controller_modify_volume(properties.clone()).await
    },);
    assert_eq!(grown.unwrap().capacity_bytes, 10 * GIB);
    modified.unwrap();
    assert_eq!(stage.ec2.asked()["ModifyVolume"], 1);
    {
        let world = stage.ec2.world();
        let volume = &world.volumes[native(&volume.volume_id)];
        assert_eq!((volume.size, volume.iops, volume.throughput), (10, Some(4000), Some(200)));
        assert_eq!(volume.tags["tier"], "gold");
    }
    // The same again asks for nothing, and something else has to wait for hours.
    a.controller().controller_modify_volume(properties.clone()).await.unwrap();
    assert_eq!(stage.ec2.asked()["ModifyVolume"], 1);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    refused(a.expand(&volume.volume_id, exactly(11 * GIB)).await, Code::ResourceExhausted, &["six hours"]);
    let wrong =
        csi::ControllerModifyVolumeRequest { mutable_parameters: map([("type", "gp2"), ("throughput", "300")]), ..properties };
    refused(a.controller().controller_modify_volume(wrong).await, Code::InvalidArgument, &["throughput"]);
}

#[tokio::test]
async fn operations_grow_with_a_volume_that_shall_keep_its_proportion() {
    let stage = Stage::new(Ec2Settings::default(), "").await;
    let parameters = [("type", "io2"), ("iopsPerGB", "100"), ("allowAutoIOPSIncreaseOnModify", "true")];
    let volume = stage.a().try_create(request("data", &parameters)).await.unwrap();
    assert_eq!(stage.ec2.world().volumes[native(&volume.volume_id)].iops, Some(400));
    stage.a().expand(&volume.volume_id, exactly(9 * GIB)).await.unwrap();
    assert_eq!(stage.ec2.world().volumes[native(&volume.volume_id)].iops, Some(900));
}

#[tokio::test]
async fn several_nodes_may_have_a_raw_device_that_was_made_for_it() {
    let stage = Stage::new(Ec2Settings::default(), "").await;
    let usage = Usage::block().mode(csi::volume_capability::access_mode::Mode::MultiNodeMultiWriter);
    let wanted = |name: &str, parameters: &[(&str, &str)]| csi::CreateVolumeRequest {
        volume_capabilities: vec![usage.capability()],
        ..request(name, parameters)
    };
    refused(stage.a().try_create(wanted("a", &[])).await, Code::InvalidArgument, &["io1 or io2"]);
    let volume = stage.a().try_create(wanted("b", &[("type", "io2"), ("iops", "100")])).await.unwrap();
    stage.a().attach(&volume, &usage).await.unwrap();
    stage.b().attach(&volume, &usage).await.unwrap();
    let mut holders = stage.a().holders(&volume.volume_id).await;
    holders.sort();
    assert_eq!(holders, [stage.a.clone(), stage.b.clone()]);
    let alone = stage.a().try_create(request("c", &[])).await.unwrap();
    refused(stage.a().attach(&alone, &usage).await, Code::InvalidArgument, &["io1, io2"]);
    // No node at all: from everywhere.
    stage.a().detach_from(&volume.volume_id, "").await.unwrap();
    assert!(stage.a().holders(&volume.volume_id).await.is_empty());
}

#[tokio::test]
async fn an_instance_has_so_many_volumes_and_no_more_and_names_are_its_own() {
    let stage = Stage::new(Ec2Settings { attachments: 3, ..Ec2Settings::default() }, "").await;
    let other = Controller::start(&stage.ec2, stage.place.path(), "two", "").await;
    let mut volumes = Vec::new();
    for number in 0..5 {
        volumes.push(stage.a().try_create(request(&format!("v{number}"), &[])).await.unwrap());
    }
    // A name that is in use and not listed, as instances have it: the next one is tried. Ids are numbered, so names are near.
    let tail = u32::from_str_radix(&native(&volumes[0].volume_id)[13..], 16).unwrap() % 96;
    let letters = (char::from(b'a' + u8::try_from(tail / 24).unwrap()), char::from(b'a' + u8::try_from(tail % 24).unwrap()));
    let ghost = format!("/dev/xvd{}{}", letters.0, letters.1);
    stage.ec2.world().ghosts.insert((stage.a.clone(), ghost.clone()));
    let usage = Usage::mount();
    let here = stage.a().attach(&volumes[0], &usage).await.unwrap();
    assert_ne!(here["device"], ghost);
    assert_eq!(stage.ec2.asked()["AttachVolume"], 2);
    // Two controllers at once, with the same instance.
    let (one, two) = (stage.a(), other.client(&stage.a));
    let (first, second) = tokio::join!(one.attach(&volumes[1], &usage), two.attach(&volumes[2], &usage));
    assert_ne!(first.unwrap()["device"], second.unwrap()["device"]);
    let before = stage.ec2.asked()["AttachVolume"];
    refused(stage.a().attach(&volumes[3], &usage).await, Code::ResourceExhausted, &["m7i.large", "detach others"]);
    assert_eq!(stage.ec2.asked()["AttachVolume"], before, "what is known beforehand is not tried");
    let mut elsewhere = volumes[4].clone();
    elsewhere.volume_id = "ebs:vol-0123456789abcdef0".to_owned();
    refused(stage.a().attach(&elsewhere, &usage).await, Code::NotFound, &["vol-0123456789abcdef0"]);
    refused(other.client("node-a").attach(&volumes[4], &usage).await, Code::NotFound, &["node-a", "instance"]);
    let far = stage.ec2.world().instance(ZONES[1]);
    refused(other.client(&far).attach(&volumes[4], &usage).await, Code::FailedPrecondition, &["ZoneMismatch"]);
}

#[tokio::test]
async fn a_volume_is_taken_from_an_instance_that_has_gone() {
    let stage = Stage::new(Ec2Settings::default(), "").await;
    let volume = stage.a().try_create(request("data", &[])).await.unwrap();
    stage.a().attach(&volume, &Usage::mount()).await.unwrap();
    stage.ec2.world().terminate(&stage.a);
    stage.a().detach(&volume.volume_id).await.unwrap();
    stage.b().attach(&volume, &Usage::mount()).await.unwrap();
    // A late detach from the old instance does not take it from the new one.
    stage.a().detach(&volume.volume_id).await.unwrap();
    assert_eq!(stage.b().holders(&volume.volume_id).await, std::slice::from_ref(&stage.b));
    refused(stage.a().attach(&volume, &Usage::mount()).await, Code::NotFound, &[&stage.a]);
}

/// Only who says that the holder is dead may use force, and it is used only when the instance does not let go.
#[tokio::test]
async fn force_is_for_the_dead() {
    let stage = Stage::new(Ec2Settings::default(), "").await;
    let volume = stage.a().try_create(request("data", &[])).await.unwrap();
    stage.a().attach(&volume, &Usage::mount()).await.unwrap();
    stage.ec2.world().stubborn.insert(stage.a.clone());
    let (client, id) = (stage.a(), volume.volume_id.clone());
    let gentle = tokio::spawn(async move { client.detach(&id).await });
    let mut status = None;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let request = csi::ControllerGetVolumeRequest { volume_id: volume.volume_id.clone() };
        status = stage.a().controller().controller_get_volume(request).await.unwrap().into_inner().status;
        if status.as_ref().unwrap().volume_condition.as_ref().unwrap().abnormal {
            break;
        }
    }
    let condition = status.unwrap().volume_condition.unwrap();
    assert!(condition.abnormal && condition.message.contains("unmount"), "{condition:?}");
    assert!(!gentle.is_finished());
    assert_eq!(stage.ec2.world().volumes[native(&volume.volume_id)].attachments[0].hold, Hold::Busy);
    gentle.abort();
    let forced = csi::ControllerUnpublishVolumeRequest {
        volume_id: volume.volume_id.clone(),
        node_id: stage.a.clone(),
        secrets: map([("hawser.dev/holder-is-dead", "true")]),
    };
    // Another process: in the first one the gentle call still has its turn.
    let other = Controller::start(&stage.ec2, stage.place.path(), "two", "").await;
    other.client(&stage.a).controller().controller_unpublish_volume(forced).await.unwrap();
    assert!(stage.ec2.world().volumes[native(&volume.volume_id)].attachments.is_empty());
}

#[tokio::test]
async fn listings_have_pages_and_the_capacity_is_what_is_declared() {
    let stage = Stage::new(Ec2Settings { page: 7, ..Ec2Settings::default() }, "    capacity: 100GiB\n").await;
    let a = stage.a();
    for number in 0..11 {
        a.try_create(request(&format!("v{number}"), &[])).await.unwrap();
    }
    for max_entries in [1, 3, 5, 100] {
        let (mut ids, mut starting_token) = (Vec::new(), String::new());
        loop {
            let page = csi::ListVolumesRequest { max_entries, starting_token };
            let page = a.controller().list_volumes(page).await.unwrap().into_inner();
            assert!(page.entries.len() <= usize::try_from(max_entries).unwrap());
            ids.extend(page.entries.into_iter().map(|entry| entry.volume.unwrap().volume_id));
            starting_token = page.next_token;
            if starting_token.is_empty() {
                break;
            }
        }
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((all, ids.len()), (11, 11), "{max_entries}");
    }
    let bad = csi::ListVolumesRequest { max_entries: 5, starting_token: "ebs:0@nonsense".to_owned() };
    refused(a.controller().list_volumes(bad).await, Code::Aborted, &["starting_token"]);
    let left = a.controller().get_capacity(csi::GetCapacityRequest::default()).await.unwrap().into_inner();
    assert_eq!((left.available_capacity, left.minimum_volume_size), ((100 - 44) * GIB, Some(GIB)));
}
