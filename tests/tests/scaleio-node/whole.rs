//! Both sides together: the array maps, and the disk is there.

use std::fs;

use hawser_tests::Usage;
use hawser_tests::binary::tool;
use hawser_tests::client::{at_least, clone_request, restore_request};
use hawser_tests::notice::notice;

use crate::cloud::Cloud;
use crate::world::GIB;

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_copies_have_the_data_and_a_grown_volume_its_size() {
    let cloud = Cloud::new(["node-a"]).await;
    let [machine] = &cloud.machines[..] else { panic!("one node") };
    let (client, usage) = (machine.plugin().client(), Usage::mount());
    let size = (8 * GIB).cast_signed();
    let volume = client.create("origin", size, &usage).await;
    let target = client.up(&volume, &usage).await;
    machine.node.shell(&format!("echo hello > {0}/letter; sync -f {0}/letter", target.display()));
    let snapshot = client.snapshot("cut", &volume.volume_id).await.unwrap();
    let restored = client.try_create(restore_request("restored", size, &usage, &snapshot.snapshot_id)).await.unwrap();
    let copied = client.try_create(clone_request("copied", size, &usage, &volume.volume_id)).await.unwrap();
    // Larger than what it was made from: its filesystem grows when it is staged.
    let larger = client.try_create(restore_request("larger", 2 * size, &usage, &snapshot.snapshot_id)).await.unwrap();
    for made in [&restored, &copied, &larger] {
        let target = client.up(made, &usage).await;
        assert_eq!(machine.node.shell(&format!("cat {}/letter", target.display())), "hello");
        let bytes: i64 =
            machine.node.shell(&format!("df --output=size -B1 {} | tail -1", target.display())).trim().parse().unwrap();
        assert_eq!(bytes > size, made.volume_id == larger.volume_id, "{bytes}");
    }
    client.expand(&volume.volume_id, at_least(2 * size)).await.unwrap();
    assert_eq!(client.expand_here(&volume.volume_id, &target, &usage, 2 * size).await.unwrap(), 2 * size);
    client.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
    for made in [&volume, &restored, &copied, &larger] {
        client.down(made).await;
        client.delete(&made.volume_id).await.unwrap();
    }
    cloud.is_clean();
}

/// csi-sanity runs in the node, where its paths are.
async fn sanity(access: &str) {
    let cloud = Cloud::new(["node-a"]).await;
    let [machine] = &cloud.machines[..] else { panic!("one node") };
    let base = cloud.rig.shared().join("sanity");
    fs::create_dir(&base).unwrap();
    let mut sanity = machine.node.command(tool("csi-sanity"));
    sanity
        .arg("-csi.endpoint=unix:///run/hawser-test.sock")
        .args([format!("-csi.mountdir={}/mounts", base.display()), format!("-csi.stagingdir={}/stages", base.display())])
        .arg(format!("-csi.testvolumeaccesstype={access}"))
        .args([format!("-csi.testvolumesize={}", 8 * GIB), format!("-csi.testvolumeexpandsize={}", 16 * GIB)])
        .args(["-ginkgo.seed=1", "-ginkgo.no-color", "-ginkgo.fail-on-empty"]);
    let output =
        tokio::process::Command::from(sanity).stdin(std::process::Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let summary = said.lines().rev().find(|line| line.contains("Passed |")).unwrap_or_default().to_owned();
    notice(&format!("csi-sanity, ScaleIO in a node, {access}: {}", summary.trim()));
    assert!(output.status.success(), "{said}\n{}", machine.plugin().tail());
    assert!(summary.contains("0 Failed"), "{summary}");
    cloud.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn csi_sanity_with_filesystems() {
    sanity("mount").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csi_sanity_with_raw_devices() {
    sanity("block").await;
}
