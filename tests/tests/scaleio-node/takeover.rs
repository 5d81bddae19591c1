//! A volume is taken from a node that is dead, and from no other; and what a node finds that comes back.

use hawser_proto::csi;
use hawser_tests::Usage;
use hawser_tests::client::text;
use hawser_tests::notice::notice;
use hawser_tests::poll::until;
use tonic::{Code, Status};

use crate::cloud::Cloud;
use crate::world::GIB;

const LETTER: &str = "letter";

fn refused(status: &Status, code: Code, words: &[&str]) {
    assert_eq!(status.code(), code, "{status}");
    for word in words {
        assert!(status.message().contains(word), "no {word:?} in: {}", status.message());
    }
    notice(status.message());
}

/// The power of node-a fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_volume_is_taken_and_a_living_ones_is_not() {
    let mut cloud = Cloud::new(["node-a", "node-b"]).await;
    let usage = Usage::mount();
    let (a, b) = (cloud.machines[0].plugin().client(), cloud.machines[1].plugin().client());
    let volume = a.create("data", (8 * GIB).cast_signed(), &usage).await;
    let target = a.up(&volume, &usage).await;
    cloud.machines[0].node.shell(&format!("echo {LETTER} > {0}/letter; sync {0}/letter", target.display()));
    refused(&b.attach(&volume, &usage).await.unwrap_err(), Code::FailedPrecondition, &["is mapped to SDC node-a", "node-b"]);
    cloud.machines[0].dies();
    let sdc = cloud.machines[0].sdc.clone();
    cloud.array.world().connect(&sdc, false);
    // That it is dead is for others to decide; nothing is taken unasked.
    refused(&b.attach(&volume, &usage).await.unwrap_err(), Code::FailedPrecondition, &["is mapped to SDC node-a"]);
    b.detach_from(&volume.volume_id, "node-a").await.unwrap();
    let target = b.up(&volume, &usage).await;
    assert_eq!(cloud.machines[1].node.shell(&format!("cat {}/letter", target.display())), LETTER);
    // It is back, without memory, and asks for what it had.
    cloud.machines[0].node.boot();
    cloud.array.world().connect(&sdc, true);
    cloud.begin(0).await;
    let a = cloud.machines[0].plugin().client();
    refused(&a.attach(&volume, &usage).await.unwrap_err(), Code::FailedPrecondition, &["is mapped to SDC node-b", "node-a"]);
    // Who comes late takes it from nobody.
    a.detach_from(&volume.volume_id, "node-a").await.unwrap();
    assert_eq!(b.holders(&volume.volume_id).await, ["node-b"]);
    a.unstage(&volume.volume_id).await.unwrap();
    b.down(&volume).await;
    b.delete(&volume.volume_id).await.unwrap();
    assert!(cloud.array.world().shared.is_empty());
    cloud.is_clean();
}

/// node-a is cut off and lives, with its task: the array takes the volume from its SDC, so it can write no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_believed_dead_finds_its_mount_stale_and_writes_nothing_through_it() {
    let cloud = Cloud::new(["node-a", "node-b"]).await;
    let [one, two] = &cloud.machines[..] else { panic!("two nodes") };
    let (a, b) = (one.plugin().client(), two.plugin().client());
    for usage in [Usage::mount().filesystem("ext4"), Usage::mount().filesystem("xfs"), Usage::block()] {
        let volume = a.create(&format!("data-{}", usage.filesystem), (8 * GIB).cast_signed(), &usage).await;
        let context = a.attach(&volume, &usage).await.unwrap();
        a.stage(&volume, &context, &usage).await.unwrap();
        let stale = a.publish(&volume, &context, &usage, "pod").await.unwrap();
        let at = |target: &std::path::Path| if usage.block { text(target) } else { format!("{}/letter", target.display()) };
        let write = |letter: &str, target: &std::path::Path| {
            format!("echo {letter} | dd of={} bs=512 conv=notrunc,sync,fsync status=none", at(target))
        };
        one.node.shell(&write("first", &stale));
        cloud.array.world().connect(&one.sdc, false);
        b.detach_from(&volume.volume_id, "node-a").await.unwrap();
        let target = b.up(&volume, &usage).await;
        let read = || two.node.shell(&format!("head -c 5 {}", at(&target)));
        assert_eq!(read(), "first");
        two.node.shell(&write("other", &target));
        // The task on node-a goes on, and nothing that it writes arrives.
        until("the end of the disk on node-a", || one.node.shell("cat /dev/scini").is_empty().then_some(()));
        one.node.run(["sh", "-euc", &write("wrong", &stale)]).badly();
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: volume.volume_id.clone(),
            volume_path: text(&stale),
            ..Default::default()
        };
        let condition = a.node().node_get_volume_stats(request).await.unwrap().into_inner().volume_condition.unwrap();
        assert!(condition.abnormal && condition.message.contains("is gone"), "{condition:?}");
        notice(&condition.message);
        // Its CO, which knows nothing of it, tries again what it did.
        cloud.array.world().connect(&one.sdc, true);
        refused(&a.attach(&volume, &usage).await.unwrap_err(), Code::FailedPrecondition, &["is mapped to SDC node-b"]);
        refused(
            &a.stage(&volume, &context, &usage).await.unwrap_err(),
            Code::FailedPrecondition,
            &["from a device that is gone"],
        );
        let again = a.publish(&volume, &context, &usage, "pod").await.unwrap_err();
        refused(&again, Code::FailedPrecondition, &["from a device that is gone"]);
        a.unpublish(&volume.volume_id, "pod").await.unwrap();
        a.unstage(&volume.volume_id).await.unwrap();
        assert_eq!(read(), "other");
        // And back, in order.
        b.down(&volume).await;
        let target = a.up(&volume, &usage).await;
        assert_eq!(one.node.shell(&format!("head -c 5 {}", at(&target))), "other");
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
    assert!(cloud.array.world().shared.is_empty());
    cloud.is_clean();
}
