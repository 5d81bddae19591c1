//! Sizes that are enforced, by a controller that runs where the disk is.

use hawser_proto::csi;
use hawser_tests::client::{Client, at_least, create_request, text};
use hawser_tests::kernel::run;
use hawser_tests::rig::{NfsServer, Plan, Plugin, Rig};
use hawser_tests::{MIB, Usage};
use tonic::Code;

use crate::world::config;

/// The bytes that a volume has in all, as statistics have it.
async fn total(client: &Client, volume: &csi::Volume, path: &str) -> i64 {
    let request = csi::NodeGetVolumeStatsRequest {
        volume_id: volume.volume_id.clone(),
        volume_path: path.to_owned(),
        ..Default::default()
    };
    client.node().node_get_volume_stats(request).await.unwrap().into_inner().usage[0].total
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_no_larger_than_it_was_made() {
    let rig = Rig::start();
    let [storage, node] = rig.nodes_of([Plan::new("storage"), Plan::new("n1")]);
    let server = NfsServer::on(storage);
    let disk = rig.disk("quotas", 4 << 30);
    run("mkfs.xfs", &["-q", text(&disk).as_str()]);
    let device = text(&server.node().attach(&disk, "quotas"));
    let tree = text(&server.tree("quotas"));
    server.node().shell(&format!("mkdir -p {tree}; mount -o prjquota {device} {tree}"));
    let export = server.export("quotas", "rw,sync,no_root_squash,no_subtree_check");
    let wrong = config(&export, "    local-path: /srv/trees\n").replace("backends:\n  nfs:", "  wrong:");
    let local = config(&export, &format!("    local-path: {tree}\n{wrong}driver:\n  default-backend: nfs\n"));
    let control = Plugin::start(server.node(), &local).await;
    let elsewhere = Plugin::start(&node, &config(&export, "")).await;
    let (control, here, usage) = (control.client(), elsewhere.client(), Usage::mount());

    let mut request = create_request("v", 32 * MIB, &usage);
    request.parameters.insert("backend".to_owned(), "wrong".to_owned());
    let refused = control.try_create(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("local-path"), "{refused}");

    let volume = control.create("v", 32 * MIB, &usage).await;
    assert_eq!(volume.capacity_bytes, 32 * MIB);
    assert_eq!(control.create("v", 32 * MIB, &usage).await, volume);
    let neighbour = control.create("w", 128 * MIB, &usage).await;
    let path = text(&here.up(&volume, &usage).await);
    let other = text(&here.up(&neighbour, &usage).await);
    assert_eq!(total(&here, &volume, &path).await, 32 * MIB);
    // Past the client's cache: what it cannot write it would try again and again, long after the program has ended.
    let fill = |path: &str, mib: u32| {
        let from = "dd if=/dev/urandom bs=1M oflag=direct status=none";
        node.run(["sh", "-euc", &format!("mkdir -p {path}/deeper; {from} count={mib} of={path}/deeper/file")])
    };
    let full = fill(&path, 40);
    assert!(!full.status.success() && (full.stderr.contains("No space") || full.stderr.contains("quota")), "{full:?}");
    fill(&other, 40).well();
    // Another controller cannot see to it, and says so; this one can.
    let larger = at_least(96 * MIB);
    let refused = here.expand(&volume.volume_id, larger).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert_eq!(control.expand(&volume.volume_id, larger).await.unwrap().capacity_bytes, 96 * MIB);
    assert_eq!(total(&here, &volume, &path).await, 96 * MIB);
    fill(&path, 40).well();
    let sum = |path: &str| node.shell(&format!("sha256sum < {path}/deeper/file"));
    let original = sum(&path);

    // A clone has what the origin has, and a limit of its own.
    let mut request = create_request("clone", 96 * MIB, &usage);
    request.volume_content_source = Some(csi::VolumeContentSource {
        r#type: Some(csi::volume_content_source::Type::Volume(csi::volume_content_source::VolumeSource {
            volume_id: volume.volume_id.clone(),
        })),
    });
    let clone = control.try_create(request).await.unwrap();
    assert_eq!(clone.capacity_bytes, 96 * MIB);
    let cloned = text(&here.up(&clone, &usage).await);
    assert_eq!(sum(&cloned), original);
    assert_eq!(total(&here, &clone, &cloned).await, 96 * MIB);
    let full = fill(&cloned, 100);
    assert!(!full.status.success(), "{full:?}");
    for volume in [&volume, &neighbour, &clone] {
        here.down(volume).await;
        control.delete(&volume.volume_id).await.unwrap();
    }
    // What was deleted does not count for what comes after it.
    let again = control.create("v", 32 * MIB, &usage).await;
    let path = text(&here.up(&again, &usage).await);
    fill(&path, 20).well();
    here.down(&again).await;
    control.delete(&again.volume_id).await.unwrap();
}
