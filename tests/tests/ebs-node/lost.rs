//! Devices that go while they are used, and those that must not.

use std::path::Path;
use std::time::Duration;

use hawser_proto::csi;
use hawser_proto::csi::volume_capability::access_mode::Mode;
use hawser_tests::Usage;
use hawser_tests::binary::hawser;
use hawser_tests::client::{POD, text};
use hawser_tests::notice::notice;
use hawser_tests::rig::Nvme;
use tonic::Code;

use crate::world::{GIB, Volume, World};

/// EC2 takes it away by force. The volume can be taken off the node, and another one that comes is not taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_device_is_gone_leaves_the_node() {
    let world = World::new().await;
    let client = world.client();
    for (number, usage) in [
        (1, Usage::mount().filesystem("ext4")),
        (2, Usage::mount().filesystem("xfs")),
        (3, Usage::mount().filesystem("btrfs")),
        (4, Usage::block()),
    ] {
        let (volume, other) = (world.volume(number, GIB), world.volume(number + 100, GIB));
        world.attach(&volume);
        world.staged(&volume, &usage).await;
        let target = client.publish(&volume.csi(), &volume.context, &usage, POD).await.unwrap();
        let target = target.display();
        if !usage.block {
            world.node.shell(&format!("echo kept > {target}/kept; sync {target}/kept; echo lost > {target}/lost"));
        }
        world.detach(&volume);
        world.attach(&other);
        // It is this volume's all the same, also for a process that remembers nothing.
        client.unpublish(&volume.handle, POD).await.unwrap_or_else(|status| panic!("{status}\n{}", world.tail()));
        client.unstage(&volume.handle).await.unwrap_or_else(|status| panic!("{status}\n{}", world.tail()));
        assert_eq!(world.mounts(), "", "{usage:?}");
        assert!(other.is_untouched());
        world.detach(&other);
        world.attach(&volume);
        let path = world.staged(&volume, &usage).await;
        if !usage.block {
            assert_eq!(world.node.shell(&format!("cat {}/kept", path.display())), "kept");
        }
        client.unstage(&volume.handle).await.unwrap();
        world.detach(&volume);
    }
}

/// What EC2 says of its volumes.
const MODEL: &str = "Amazon Elastic Block Store";

/// The tag of a device that comes back.
const AGAIN: &str = "again";

/// Until it has been taken down, whoever asks is told, and nothing is shown anew from it, also when the device has come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_whose_device_is_gone_is_said_to_be_so_until_it_is_taken_down() {
    let mut world = World::new().await;
    for (number, usage) in [(1, Usage::mount().filesystem("ext4")), (2, Usage::mount().filesystem("xfs")), (3, Usage::block())] {
        let (volume, other) = (world.volume(number, GIB), world.volume(number + 100, GIB));
        world.attach(&volume);
        let staging = world.staged(&volume, &usage).await;
        let target = world.client().publish(&volume.csi(), &volume.context, &usage, POD).await.unwrap();
        let letter = if usage.block { text(&target) } else { format!("{}/letter", target.display()) };
        world.node.shell(&format!("echo kept | dd of={letter} bs=512 conv=notrunc,sync,fsync status=none"));
        assert_eq!(condition(&world, &volume, &target).await, None);
        world.detach(&volume);
        is_severed(&world, &volume, &usage, &target).await;
        // Nor does who remembers nothing take another device for it, or its own one, when it is back.
        world.run(hawser()).await;
        world.attach(&other);
        is_severed(&world, &volume, &usage, &target).await;
        // The kernel takes what has the name of a device that is still in use for that one.
        world.node.plug_as(&volume.file, &volume.serial, MODEL, AGAIN);
        is_severed(&world, &volume, &usage, &target).await;
        let client = world.client();
        client.unpublish(&volume.handle, POD).await.unwrap();
        client.unstage(&volume.handle).await.unwrap();
        assert_eq!(world.mounts(), "", "{usage:?}");
        assert_eq!(world.staged(&volume, &usage).await, staging);
        let target = client.publish(&volume.csi(), &volume.context, &usage, POD).await.unwrap();
        assert_eq!(condition(&world, &volume, &target).await, None);
        assert_eq!(world.node.shell(&format!("head -c 4 {letter}")), "kept");
        assert!(other.is_untouched());
        world.down(&volume).await.unwrap();
        world.node.unplug(&volume.file, AGAIN);
        world.detach(&other);
    }
}

/// What is wrong with a volume that is published at `target`.
async fn condition(world: &World, volume: &Volume, target: &Path) -> Option<String> {
    let request =
        csi::NodeGetVolumeStatsRequest { volume_id: volume.handle.clone(), volume_path: text(target), ..Default::default() };
    let stats = world.client().node().node_get_volume_stats(request).await;
    let condition = stats.unwrap_or_else(|status| panic!("{status}\n{}", world.tail())).into_inner().volume_condition.unwrap();
    condition.abnormal.then_some(condition.message)
}

/// Fails unless everybody who asks for the volume is told that its device is gone.
async fn is_severed(world: &World, volume: &Volume, usage: &Usage, target: &Path) {
    let client = world.client();
    let said = condition(world, volume, target).await.unwrap_or_default();
    assert!(said.contains("is gone"), "{said:?}\n{}", world.tail());
    let before = world.mounts();
    let again = world.stage(volume, usage, Duration::from_secs(50)).await;
    let there = client.publish(&volume.csi(), &volume.context, usage, POD).await;
    let beside = client.publish(&volume.csi(), &volume.context, &usage.clone().mode(Mode::SingleNodeMultiWriter), "other").await;
    let request =
        csi::NodeExpandVolumeRequest { volume_id: volume.handle.clone(), volume_path: text(target), ..Default::default() };
    let grown = client.node().node_expand_volume(request).await.map(drop);
    for refused in [again.map(drop), there.map(drop), beside.map(drop), grown] {
        let status = refused.map(|()| panic!("it was done\n{}", world.tail())).unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        assert!(status.message().contains("from a device that is gone"), "{status}");
    }
    notice(&said);
    assert_eq!(world.mounts(), before);
}

/// A container that was started while the volume was staged has a copy of its mount.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_in_use_elsewhere_is_not_given_back() {
    let world = World::new().await;
    let (client, usage) = (world.client(), Usage::mount());
    let volume = world.volume(1, GIB);
    let device = world.attach(&volume);
    let path = world.staged(&volume, &usage).await;
    world.node.shell("(unshare --mount --propagation private sleep 1000 > /dev/null 2>&1 & echo $! > /run/keeper)");
    world.node.shell(
        "until [ \"$(readlink /proc/$(cat /run/keeper)/ns/mnt)\" != \"$(readlink /proc/self/ns/mnt)\" ]; do sleep 0.05; done",
    );
    let status = client.unstage(&volume.handle).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("still mounted"), "{status}");
    notice(&status.to_string());
    world.node.shell(&format!("test -b {}", device.display()));
    world.node.shell("kill $(cat /run/keeper)");
    client.unstage(&volume.handle).await.unwrap();
    assert!(!world.mounts().contains(path.to_str().unwrap()));
}
