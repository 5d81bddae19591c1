//! Devices that go while they are used, and those that must not.

use hawser_tests::Usage;
use hawser_tests::client::POD;
use hawser_tests::notice::notice;
use tonic::Code;

use crate::world::{GIB, World};

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
