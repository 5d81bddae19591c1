//! What a volume goes through that is where it should be.

use std::time::Duration;

use hawser_proto::csi;
use hawser_tests::Usage;
use hawser_tests::client::{POD, map, text};
use hawser_tests::rig::Nvme;
use tonic::Code;

use crate::world::{GIB, INSTANCE, World, ZONE};

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_formatted_written_moved_and_found_again() {
    let world = World::new().await;
    let client = world.client();
    let info = client.node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.node_id.as_str(), info.max_volumes_per_node), (INSTANCE, 26));
    let segments = info.accessible_topology.unwrap().segments;
    assert_eq!(segments, map([("csi.hawser.dev/ebs", ZONE), ("topology.ebs.csi.aws.com/zone", ZONE)]));
    for (number, filesystem) in [(1, "ext4"), (2, "xfs"), (3, "btrfs")] {
        let usage = Usage::mount().filesystem(filesystem);
        let (volume, other) = (world.volume(number, GIB), world.volume(number + 100, GIB));
        world.attach(&volume);
        world.staged(&volume, &usage).await;
        let target = client.publish(&volume.csi(), &volume.context, &usage, POD).await.unwrap();
        world.node.shell(&format!("echo {filesystem} > {}/letter", target.display()));
        // Both again, as COs do.
        world.staged(&volume, &usage).await;
        client.publish(&volume.csi(), &volume.context, &usage, POD).await.unwrap();
        let request =
            csi::NodeGetVolumeStatsRequest { volume_id: volume.handle.clone(), volume_path: text(&target), ..Default::default() };
        let stats = client.node().node_get_volume_stats(request).await.unwrap().into_inner();
        assert!(stats.usage[0].total > (GIB / 10 * 7).cast_signed(), "{stats:?}");
        let status = client.unstage(&volume.handle).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        client.unpublish(&volume.handle, POD).await.unwrap();
        client.unstage(&volume.handle).await.unwrap();
        client.unstage(&volume.handle).await.unwrap();
        world.detach(&volume);
        // It comes back under another name.
        world.attach(&other);
        world.attach(&volume);
        let path = world.staged(&volume, &usage).await;
        assert_eq!(world.node.shell(&format!("cat {}/letter", path.display())), filesystem);
        assert!(other.is_untouched());
        client.unstage(&volume.handle).await.unwrap();
        assert_eq!(world.mounts(), "");
        world.detach(&volume);
        world.detach(&other);
    }
    assert_eq!(world.node.shell("ls /run/hawser/ebs/ebs"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_device_is_shown_as_it_is() {
    let world = World::new().await;
    let (client, usage) = (world.client(), Usage::block());
    let volume = world.volume(1, GIB);
    let device = world.attach(&volume);
    world.staged(&volume, &usage).await;
    let target = client.publish(&volume.csi(), &volume.context, &usage, POD).await.unwrap();
    let number = |path: &std::path::Path| world.node.shell(&format!("stat -c %t:%T {}", path.display()));
    assert_eq!(number(&target), number(&device));
    world.node.shell(&format!("echo letter | dd of={} conv=fsync bs=512 status=none", target.display()));
    client.unpublish(&volume.handle, POD).await.unwrap();
    client.unstage(&volume.handle).await.unwrap();
    assert_eq!(world.mounts(), "");
    assert!(volume.beginning().starts_with(b"letter\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_the_filesystem_come_with_the_volume() {
    let world = World::new().await;
    let client = world.client();
    let volume = world.volume(1, GIB);
    let device = world.attach(&volume);
    let described = csi::Volume {
        volume_context: map([("blockSize", "1024"), ("inodeSize", "512"), ("bytesPerInode", "65536")]),
        ..volume.csi()
    };
    client.stage(&described, &volume.context, &Usage::mount().filesystem("ext4")).await.unwrap();
    let told = world.node.shell(&format!("dumpe2fs -h {} 2> /dev/null", device.display()));
    for line in ["Block size:               1024", "Inode size:\t          512"] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.lines().any(|told| squeezed(told) == squeezed(line)), "{line}: {told}");
    }
    client.unstage(&volume.handle).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_while_it_is_used() {
    let world = World::new().await;
    let client = world.client();
    for (number, filesystem) in [(1, "ext4"), (2, "xfs"), (3, "")] {
        let usage = if filesystem.is_empty() { Usage::block() } else { Usage::mount().filesystem(filesystem) };
        let volume = world.volume(number, GIB);
        world.attach(&volume);
        world.staged(&volume, &usage).await;
        let target = client.publish(&volume.csi(), &volume.context, &usage, POD).await.unwrap();
        let size = || world.node.shell(&format!("df --output=size -B1 {} | tail -1", target.display()));
        let before = size();
        // The size is not there yet: nothing is claimed.
        let wanted = (3 * GIB).cast_signed();
        let status = client.expand_here(&volume.handle, &target, &usage, wanted).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        // It comes while the call waits.
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tokio::task::block_in_place(|| world.node.resize(&volume.file, &volume.serial, 3 * GIB));
        };
        let handle = volume.handle.clone();
        let (size_now, ()) = tokio::join!(client.expand_here(&handle, &target, &usage, wanted), later);
        assert_eq!(size_now.unwrap(), wanted);
        if !filesystem.is_empty() {
            let (before, after): (u64, u64) = (before.trim().parse().unwrap(), size().trim().parse().unwrap());
            assert!(after > before + GIB, "{filesystem}: {before} {after}");
        }
        client.unpublish(&volume.handle, POD).await.unwrap();
        client.unstage(&volume.handle).await.unwrap();
        world.detach(&volume);
    }
}
