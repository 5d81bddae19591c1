//! What a volume goes through that is where it should be, and who the node is.

use std::fs;
use std::path::Path;

use hawser_proto::csi;
use hawser_tests::Usage;
use hawser_tests::binary::hawser;
use hawser_tests::client::text;
use hawser_tests::notice::notice;
use hawser_tests::output::Output;
use hawser_tests::rig::Sdc;
use tonic::Code;

use crate::world::{GIB, GUID, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_formatted_written_moved_and_found_again() {
    let world = World::new().await;
    world.node.start_udev();
    let client = world.client();
    let info = client.node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.node_id.as_str(), info.max_volumes_per_node), ("node-a", 7));
    assert!(info.accessible_topology.is_none());
    for (number, filesystem) in [(1, "ext4"), (2, "xfs"), (3, "btrfs")] {
        let usage = Usage::mount().filesystem(filesystem);
        let (volume, other) = (world.volume(number, GIB), world.volume(number + 100, GIB));
        world.map(&volume);
        let target = world.up(&volume, &usage).await.unwrap_or_else(|status| panic!("{status}\n{}", world.tail()));
        // What udev makes of the driver's answer leads to the same disk; nothing here depends on it.
        let link = format!("/dev/disk/by-id/emc-vol-{}", volume.native);
        world.node.shell(&format!("udevadm settle; [ $(readlink -f {link}) = /dev/scinia ]"));
        world.node.shell(&format!("echo {filesystem} > {}/letter", target.display()));
        // Both again, as COs do.
        world.up(&volume, &usage).await.unwrap();
        let request =
            csi::NodeGetVolumeStatsRequest { volume_id: volume.handle.clone(), volume_path: text(&target), ..Default::default() };
        let stats = client.node().node_get_volume_stats(request).await.unwrap().into_inner();
        assert!(stats.usage[0].total > (GIB / 10 * 7).cast_signed() && !stats.volume_condition.unwrap().abnormal);
        let status = client.unstage(&volume.handle).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        world.down(&volume).await.unwrap();
        client.unstage(&volume.handle).await.unwrap();
        world.unmap(&volume);
        // It comes back under another name.
        world.map(&other);
        world.map(&volume);
        let path = world.staged(&volume, &usage).await;
        assert_eq!(world.node.shell(&format!("cat {}/letter", path.display())), filesystem);
        assert!(other.is_untouched());
        client.unstage(&volume.handle).await.unwrap();
        assert_eq!(world.mounts(), "");
        world.unmap(&volume);
        world.unmap(&other);
    }
    assert_eq!(world.node.shell("ls /run/hawser/scaleio/sio"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_device_is_shown_as_it_is_and_a_reader_cannot_write() {
    let world = World::new().await;
    let volume = world.volume(1, GIB);
    let disk = world.map(&volume);
    let target = world.up(&volume, &Usage::block()).await.unwrap();
    let number = |path: &Path| world.node.shell(&format!("stat -c %t:%T {}", path.display()));
    assert_eq!(number(&target), number(&disk));
    world.node.shell(&format!("echo letter | dd of={} conv=fsync bs=512 status=none", target.display()));
    world.down(&volume).await.unwrap();
    assert_eq!(world.mounts(), "");
    assert!(volume.beginning().starts_with(b"letter\n"));
    world.unmap(&volume);
    // Mapped read-only, it is for readers.
    world.node.map_read_only(&volume.native, &volume.file);
    let status = world.up(&volume, &Usage::block()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    let reader = Usage::block().mode(csi::volume_capability::access_mode::Mode::SingleNodeReaderOnly);
    let target = world.up(&volume, &reader).await.unwrap();
    world.node.run(["dd", "if=/dev/zero", &format!("of={}", target.display()), "count=1", "conv=notrunc,fsync"]).badly();
    world.down(&volume).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_while_it_is_used() {
    let world = World::new().await;
    let client = world.client();
    for (number, filesystem) in [(1, "ext4"), (2, "xfs"), (3, "")] {
        let usage = if filesystem.is_empty() { Usage::block() } else { Usage::mount().filesystem(filesystem) };
        let volume = world.volume(number, GIB);
        world.map(&volume);
        let target = world.up(&volume, &usage).await.unwrap();
        let size = || world.node.shell(&format!("df --output=size -B1 {} | tail -1", target.display()));
        let (before, wanted) = (size(), 3 * GIB);
        // The array has not grown it: nothing is claimed.
        let status = client.expand_here(&volume.handle, &target, &usage, wanted.cast_signed()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        // It has, and the SDC looks when it is told to.
        world.node.grow_unseen(&volume.file, wanted);
        assert_eq!(world.node.shell("blockdev --getsize64 /dev/scinia"), GIB.to_string());
        assert_eq!(
            client.expand_here(&volume.handle, &target, &usage, wanted.cast_signed()).await.unwrap(),
            wanted.cast_signed()
        );
        if !filesystem.is_empty() {
            let (before, after): (u64, u64) = (before.trim().parse().unwrap(), size().trim().parse().unwrap());
            assert!(after > before + GIB, "{filesystem}: {before} {after}");
        }
        world.down(&volume).await.unwrap();
        world.unmap(&volume);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_the_node_is_comes_from_the_driver_a_file_or_the_configuration() {
    let plain = "backends:\n  sio:\n    type: scaleio\n";
    let by_guid = &format!("{plain}    node-ids: sdc-guid\n");
    let file = "    node:\n      guid-file: /etc/emc/scaleio/ini_guid\n";
    let mut world = World::idle(by_guid);
    let refused = |config: &str, id: &str, words: &[&str]| {
        let path = world.node.directory().join("refused.yaml");
        fs::write(&path, config).unwrap();
        let mut command = world.node.command(hawser());
        command.args(["serve", "node", "--endpoint", "unix:///run/refused.sock", "--node-id", id, "--config"]).arg(&path);
        let said = Output::from(command.output().unwrap()).badly();
        for word in words {
            assert!(said.contains(word), "no {word:?} in: {said}");
        }
        notice(said.trim());
    };
    refused(plain, "node-a", &["/dev/scini", "load the driver, or set node.guid"]);
    refused(&format!("{plain}{file}"), "node-a", &["node.guid-file: /etc/emc/scaleio/ini_guid must be a file"]);
    world.node.shell(&format!("mkdir -p /etc/emc/scaleio; echo {GUID} > /etc/emc/scaleio/ini_guid"));
    let missing = "there is no /opt/emc/scaleio/sdc/bin/drv_cfg or /bin/emc/scaleio/drv_cfg";
    refused(&format!("{plain}{file}"), "node-a", &[missing]);
    world.node.install_sdc(GUID);
    refused(by_guid, "node-a", &["the node's id is node-a, and its SDC is 9E56672F", "leave driver.node-id out"]);
    // Without an id of its own the node is called as its SDC.
    world.run(hawser()).await;
    let info = world.client().node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.node_id.as_str(), info.max_volumes_per_node), (GUID, 0));
}
