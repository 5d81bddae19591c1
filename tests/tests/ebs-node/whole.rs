//! Both sides together: EC2 attaches, and the device is there.

use std::fs;
use std::time::Instant;

use hawser_tests::Usage;
use hawser_tests::binary::tool;
use hawser_tests::notice::notice;
use tonic::Code;

use crate::cloud::Cloud;
use crate::world::GIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_moves_between_instances_with_its_data() {
    let cloud = Cloud::new(2).await;
    let [one, two] = &cloud.machines[..] else { panic!("two instances") };
    let (a, b) = (one.plugin.client(), two.plugin.client());
    for usage in [Usage::mount().filesystem("ext4"), Usage::mount().filesystem("xfs"), Usage::block()] {
        let volume = a.create(&format!("v-{}", usage.filesystem), GIB.cast_signed(), &usage).await;
        let began = Instant::now();
        let context = a.attach(&volume, &usage).await.unwrap();
        let attached = began.elapsed();
        a.stage(&volume, &context, &usage).await.unwrap_or_else(|status| panic!("{status}\n{}", one.plugin.tail()));
        let staged = began.elapsed();
        let target = a.publish(&volume, &context, &usage, "pod").await.unwrap();
        notice(&format!("{usage:?}: attached after {} ms, staged after {} ms", attached.as_millis(), staged.as_millis()));
        let (target, letter) = (target.display(), "hello");
        let at = if usage.block { target.to_string() } else { format!("{target}/letter") };
        one.node.shell(&format!("echo {letter} | dd of={at} bs=512 conv=fsync status=none"));
        let status = b.attach(&volume, &usage).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        a.down(&volume).await;
        let target = b.up(&volume, &usage).await;
        let target = target.display();
        let at = if usage.block { target.to_string() } else { format!("{target}/letter") };
        assert_eq!(two.node.shell(&format!("head -c 5 {at}")), letter);
        b.down(&volume).await;
        b.delete(&volume.volume_id).await.unwrap();
        for machine in &cloud.machines {
            assert_eq!(machine.node.shell("grep nvme /proc/self/mountinfo || true; ls /dev | grep nvme.n || true"), "");
            assert!(machine.devices.is_well());
        }
    }
    assert!(cloud.ec2.world().volumes.is_empty());
}

/// csi-sanity runs in the instance, where its paths are.
async fn sanity(access: &str) {
    let cloud = Cloud::new(1).await;
    let [machine] = &cloud.machines[..] else { panic!("one instance") };
    let base = cloud.rig.shared().join("sanity");
    fs::create_dir(&base).unwrap();
    let report = base.join("report.json");
    let mut sanity = machine.node.command(tool("csi-sanity"));
    sanity
        .arg("-csi.endpoint=unix:///run/hawser-test.sock")
        .args([format!("-csi.mountdir={}/mounts", base.display()), format!("-csi.stagingdir={}/stages", base.display())])
        .arg(format!("-csi.testvolumeaccesstype={access}"))
        .args([format!("-csi.testvolumesize={GIB}"), format!("-csi.testvolumeexpandsize={}", 2 * GIB)])
        .arg(format!("-ginkgo.json-report={}", report.display()))
        .args(["-ginkgo.seed=1", "-ginkgo.no-color", "-ginkgo.fail-on-empty"]);
    let output =
        tokio::process::Command::from(sanity).stdin(std::process::Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let summary = said.lines().rev().find(|line| line.contains("Passed |")).unwrap_or_default().to_owned();
    notice(&format!("csi-sanity, EBS in an instance, {access}: {}", summary.trim()));
    assert!(output.status.success(), "{said}\n{}", machine.plugin.tail());
    assert!(summary.contains("0 Failed"), "{summary}");
    assert!(machine.devices.is_well());
    assert_eq!(machine.node.shell("grep nvme /proc/self/mountinfo || true"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn csi_sanity_with_filesystems() {
    sanity("mount").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csi_sanity_with_raw_devices() {
    sanity("block").await;
}
