//! Devices that go while they are used.

use std::time::Duration;

use hawser_proto::csi;
use hawser_tests::Usage;
use hawser_tests::client::{POD, text};
use hawser_tests::notice::notice;
use tonic::Code;

use crate::world::{GIB, World};

/// A task that has a raw device open. Who opened it anew would have what has its number by then: that is all that a node in `/dev` has.
const KEEPER: &str = r#"
(
  exec 3<> TARGET
  until [ -e /run/write ]; do sleep 0.05; done
  dd if=/dev/zero bs=4096 count=1 conv=fsync 2> /dev/null >&3 && status=0 || status=$?
  echo "$status" > /run/wrote
) > /dev/null 2>&1 &
"#;

/// The array takes it away by force, and gives it back, or another one, under the same name and number. The mount that was is found and
/// reported, and nothing is written through it; it can be taken off the node, and then the volume is used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_whose_device_is_gone_is_reported_and_leaves_the_node() {
    let world = World::new().await;
    let client = world.client();
    for (number, usage) in [
        (1, Usage::mount().filesystem("ext4")),
        (2, Usage::mount().filesystem("xfs")),
        (3, Usage::mount().filesystem("btrfs")),
        (4, Usage::block()),
    ] {
        let (volume, other) = (world.volume(number, GIB), world.volume(number + 100, GIB));
        let disk = world.map(&volume);
        let target = world.up(&volume, &usage).await.unwrap_or_else(|status| panic!("{status}\n{}", world.tail()));
        if usage.block {
            world.node.shell(&KEEPER.replace("TARGET", target.to_str().unwrap()));
        } else {
            world.node.shell(&format!("echo kept > {0}/kept; sync {0}/kept; echo lost > {0}/lost", target.display()));
        }
        world.unmap(&volume);
        let healthy = async |is: bool| {
            let request = csi::NodeGetVolumeStatsRequest {
                volume_id: volume.handle.clone(),
                volume_path: text(&target),
                ..Default::default()
            };
            let answer = client.node().node_get_volume_stats(request).await.unwrap().into_inner();
            let condition = answer.volume_condition.unwrap();
            assert_eq!(condition.abnormal, !is, "{usage:?}: {condition:?}");
            condition.message
        };
        notice(&healthy(false).await);
        // The volume is back, under the name and the number that it had.
        assert_eq!(world.map(&volume), disk);
        healthy(false).await;
        for again in [
            world.stage(&volume, &usage, Duration::from_secs(20)).await,
            client.publish(&volume.csi(), &volume.context, &usage, POD).await,
        ] {
            let status = again.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
            assert!(status.message().contains("from a device that is gone"), "{status}");
            notice(status.message());
        }
        world.unmap(&volume);
        // Another one has its place. It is not used there while the old mount would be taken for it.
        assert_eq!(world.map(&other), disk);
        let status = world.stage(&other, &usage, Duration::from_secs(20)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        assert!(status.message().contains("which is gone and still mounted at"), "{status}");
        notice(status.message());
        let before = (volume.beginning(), other.beginning());
        if usage.block {
            world.node.shell("touch /run/write; until [ -s /run/wrote ]; do sleep 0.05; done; [ $(cat /run/wrote) != 0 ]");
        } else {
            world.node.run(["sh", "-euc", &format!("echo more > {0}/more; sync {0}/more", target.display())]).badly();
        }
        assert!((volume.beginning(), other.beginning()) == before && other.is_untouched(), "{usage:?}");
        // It is this volume's all the same, also for a process that remembers nothing.
        world.down(&volume).await.unwrap_or_else(|status| panic!("{usage:?}: {status}\n{}", world.tail()));
        assert_eq!(world.mounts(), "", "{usage:?}");
        assert!(other.is_untouched());
        world.unmap(&other);
        world.map(&volume);
        let path = world.staged(&volume, &usage).await;
        if !usage.block {
            assert_eq!(world.node.shell(&format!("cat {}/kept", path.display())), "kept");
        }
        client.unstage(&volume.handle).await.unwrap();
        world.unmap(&volume);
    }
}

/// Whose a disk is, is asked when it is looked for and when it has been opened; here the array takes it away after one of the answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_goes_while_it_is_asked_for_is_not_there() {
    let world = World::new().await;
    let drv_cfg = "/opt/emc/scaleio/sdc/bin/drv_cfg";
    world.node.shell(&format!("mv {drv_cfg} /run/drv_cfg"));
    for question in 1..=2 {
        let volume = world.volume(question, GIB);
        world.map(&volume);
        let script = format!(
            "#!/bin/sh\n/run/drv_cfg \"$@\" || exit\necho \"$1\" >> /run/asked\n\
             [ $(grep -c block /run/asked) != {question} ] || echo unmap {} > /dev/scini",
            volume.native
        );
        world.node.shell(&format!("rm -f /run/asked; echo '{script}' > {drv_cfg}; chmod +x {drv_cfg}"));
        world.client().unstage(&volume.handle).await.unwrap();
        let asked: u32 = world.node.shell("grep -c block /run/asked").trim().parse().unwrap();
        assert_eq!((asked, world.node.shell("cat /dev/scini").as_str()), (question, ""));
    }
}
