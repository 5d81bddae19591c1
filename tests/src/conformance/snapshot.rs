//! Snapshots and clones: the content of one moment, and nothing else.

use hawser_proto::csi;
use tokio::task::spawn_blocking;
use tonic::Code;

use super::{filesystems, growing};
use crate::MIB;
use crate::client::{Client, POD, clone_request, create_request, restore_request};
use crate::content::{Journal, assert_holds, pattern, size, write, write_through};
use crate::kernel::{mount_at, mounts_copies_of_btrfs};
use crate::plugin::Plugin;
use crate::poll::until_async;
use crate::refusal::refused;
use crate::settings::words;
use crate::usage::Usage;

super::table! {
    a_snapshot_keeps_what_the_volume_loses: [Cut],
    a_snapshot_outlives_its_volume: [Cut, Outlived],
    the_same_snapshot_again_is_the_same: [Cut],
    a_snapshot_of_a_mounted_filesystem_is_one_moment_of_it: [Cut, Format],
    a_snapshot_of_a_device_in_use_is_one_moment_of_it: [Block, Moment],
    a_device_in_use_that_cannot_be_cut_is_refused: [Block, Copy],
    a_large_copy_is_ready_when_it_is_complete: [Block, Copy],
    a_clone_has_the_content_of_its_source: [Cut],
    a_clone_of_a_mounted_filesystem_is_one_moment_of_it: [Cut, Format, Still],
    a_larger_copy_has_a_larger_filesystem: [Cut, Format],
    a_smaller_copy_is_refused: [Cut, Measured],
    a_copy_is_mounted_beside_its_source: [Cut, Format],
    a_copy_is_never_formatted: [Cut, Format],
    a_chain_of_copies_keeps_every_link: [Cut],
}

const LENGTH: usize = 3 << 20;

/// A volume that holds the pattern of seed 1 and is not attached.
async fn written(plugin: &Plugin, name: &str) -> csi::Volume {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create(name, plugin.small(), &usage).await;
    write(&a.up(&volume, &usage).await, &pattern(1, LENGTH)).unwrap();
    a.down(&volume).await;
    volume
}

async fn holds(a: &Client, volume: &csi::Volume, usage: &Usage, seed: u64) {
    assert_holds(&a.up(volume, usage).await, seed, LENGTH);
    a.down(volume).await;
}

async fn gone<const N: usize>(a: &Client, volumes: [csi::Volume; N], snapshots: &[&csi::Snapshot]) {
    for snapshot in snapshots {
        a.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
    }
    for volume in volumes {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_snapshot_keeps_what_the_volume_loses(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = written(plugin, "one").await;
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    assert!(snapshot.ready_to_use && snapshot.creation_time.is_some());
    assert_eq!((snapshot.size_bytes, &snapshot.source_volume_id), (plugin.small(), &volume.volume_id));
    write(&a.up(&volume, &usage).await, &pattern(2, LENGTH)).unwrap();
    a.down(&volume).await;
    let restored = a.try_create(restore_request("restored", plugin.small(), &usage, &snapshot.snapshot_id)).await.unwrap();
    assert!(restored.content_source.is_some(), "a CO deletes a volume that does not say what it was made from");
    holds(&a, &restored, &usage, 1).await;
    holds(&a, &volume, &usage, 2).await;
    // What is written into the copy is written nowhere else.
    write(&a.up(&restored, &usage).await, &pattern(3, LENGTH)).unwrap();
    a.down(&restored).await;
    let again = a.try_create(restore_request("again", plugin.small(), &usage, &snapshot.snapshot_id)).await.unwrap();
    holds(&a, &again, &usage, 1).await;
    holds(&a, &volume, &usage, 2).await;
    gone(&a, [volume, restored, again], &[&snapshot]).await;
}

async fn a_snapshot_outlives_its_volume(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = written(plugin, "one").await;
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
    let restored = a.try_create(restore_request("restored", plugin.small(), &usage, &snapshot.snapshot_id)).await.unwrap();
    // And the copy outlives the snapshot.
    a.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
    a.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
    holds(&a, &restored, &usage, 1).await;
    gone(&a, [restored], &[]).await;
}

async fn the_same_snapshot_again_is_the_same(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = written(plugin, "one").await;
    let other = a.create("two", plugin.small(), &usage).await;
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    write(&a.up(&volume, &usage).await, &pattern(2, LENGTH)).unwrap();
    a.down(&volume).await;
    for _ in 0..3 {
        // The time of the cut, too, is that of the cut.
        assert_eq!(a.snapshot("snapshot", &volume.volume_id).await.unwrap(), snapshot);
    }
    refused(a.snapshot("snapshot", &other.volume_id).await, Code::AlreadyExists, &["snapshot"]);
    refused(a.snapshot("", &volume.volume_id).await, Code::InvalidArgument, &["name"]);
    let second = a.snapshot("second", &volume.volume_id).await.unwrap();
    assert_ne!(second.snapshot_id, snapshot.snapshot_id);
    gone(&a, [volume, other], &[&snapshot, &second]).await;
}

/// A filesystem that a database writes to while it is cut: what was flushed before the call is in the copy, nothing is torn, and
/// the database goes on.
async fn a_snapshot_of_a_mounted_filesystem_is_one_moment_of_it(plugin: &Plugin) {
    let a = plugin.a();
    // The copies are mounted beside the volume.
    let can_be_seen = |(filesystem, _): &(&str, i64)| *filesystem != "btrfs" || mounts_copies_of_btrfs();
    for (filesystem, bytes) in filesystems(plugin).filter(can_be_seen) {
        let usage = Usage::mount().filesystem(filesystem);
        let volume = a.create(filesystem, bytes, &usage).await;
        let target = a.up(&volume, &usage).await;
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (count, mut counted) = tokio::sync::watch::channel(0);
        let mut journal = Journal::new(&target);
        let writer = spawn_blocking(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                count.send_replace(journal.append());
            }
        });
        let (mut snapshots, mut bounds) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let at_least = *counted.wait_for(|count| *count >= 5 * (number + 1)).await.unwrap();
            let snapshot = a.snapshot(&format!("{filesystem}-{number}"), &volume.volume_id).await.unwrap();
            bounds.push((at_least, *counted.borrow() + 1));
            snapshots.push(snapshot);
        }
        stop.send(()).unwrap();
        writer.await.unwrap();
        let written = *counted.borrow();
        assert!(written >= bounds[2].0 && Journal::count(&target) == written, "the writer was stopped for good");
        for (number, (snapshot, (at_least, at_most))) in snapshots.iter().zip(bounds).enumerate() {
            let request = restore_request(&format!("{filesystem}-restored-{number}"), bytes, &usage, &snapshot.snapshot_id);
            let restored = a.try_create(request).await.unwrap();
            let found = Journal::count(&a.up(&restored, &usage).await);
            assert!((at_least..=at_most).contains(&found), "{filesystem}: {found} lines, not {at_least} to {at_most}");
            a.down(&restored).await;
            a.delete(&restored.volume_id).await.unwrap();
            a.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
        }
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_snapshot_of_a_device_in_use_is_one_moment_of_it(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write_through(&target, &pattern(1, LENGTH)).unwrap();
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    write_through(&target, &pattern(2, LENGTH)).unwrap();
    let restored = a.try_create(restore_request("restored", plugin.small(), &usage, &snapshot.snapshot_id)).await.unwrap();
    holds(&a, &restored, &usage, 1).await;
    a.down(&volume).await;
    gone(&a, [volume, restored], &[&snapshot]).await;
}

async fn a_device_in_use_that_cannot_be_cut_is_refused(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write_through(&target, &pattern(1, LENGTH)).unwrap();
    refused(a.snapshot("snapshot", &volume.volume_id).await, Code::FailedPrecondition, &["detach"]);
    refused(
        a.try_create(clone_request("clone", plugin.small(), &usage, &volume.volume_id)).await,
        Code::FailedPrecondition,
        &["detach"],
    );
    a.down(&volume).await;
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    let restored = a.try_create(restore_request("restored", plugin.small(), &usage, &snapshot.snapshot_id)).await.unwrap();
    holds(&a, &restored, &usage, 1).await;
    gone(&a, [volume, restored], &[&snapshot]).await;
}

async fn a_large_copy_is_ready_when_it_is_complete(plugin: &Plugin) {
    // More than is copied while the caller waits.
    let length = 96 << 20;
    let size = 128 * MIB;
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", size, &usage).await;
    write(&a.up(&volume, &usage).await, &pattern(1, length)).unwrap();
    a.down(&volume).await;
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    // The volume may be used again at once; what is written then is not in the snapshot.
    write(&a.up(&volume, &usage).await, &pattern(2, length)).unwrap();
    a.down(&volume).await;
    let ready = until_async("a complete copy", async || {
        let again = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
        assert_eq!((&again.snapshot_id, again.creation_time), (&snapshot.snapshot_id, snapshot.creation_time));
        again.ready_to_use.then_some(again)
    })
    .await;
    let restored = a.try_create(restore_request("restored", size, &usage, &ready.snapshot_id)).await.unwrap();
    assert_holds(&a.up(&restored, &usage).await, 1, length);
    a.down(&restored).await;
    gone(&a, [volume, restored], &[&snapshot]).await;
}

async fn a_clone_has_the_content_of_its_source(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = written(plugin, "one").await;
    let clone = a.try_create(clone_request("clone", plugin.small(), &usage, &volume.volume_id)).await.unwrap();
    holds(&a, &clone, &usage, 1).await;
    write(&a.up(&volume, &usage).await, &pattern(2, LENGTH)).unwrap();
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
    holds(&a, &clone, &usage, 1).await;
    gone(&a, [clone], &[]).await;
}

async fn a_clone_of_a_mounted_filesystem_is_one_moment_of_it(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    // Not flushed: the cut has to see to it.
    write(&target, &pattern(1, LENGTH)).unwrap();
    let clone = a.try_create(clone_request("clone", plugin.small(), &usage, &volume.volume_id)).await.unwrap();
    write(&target, &pattern(2, LENGTH)).unwrap();
    holds(&a, &clone, &usage, 1).await;
    assert_holds(&target, 2, LENGTH);
    a.down(&volume).await;
    gone(&a, [volume, clone], &[]).await;
}

async fn a_larger_copy_has_a_larger_filesystem(plugin: &Plugin) {
    let a = plugin.a();
    for (filesystem, bytes) in growing(plugin) {
        let usage = Usage::mount().filesystem(filesystem);
        let volume = a.create(filesystem, bytes, &usage).await;
        let target = a.up(&volume, &usage).await;
        write(&target, &pattern(1, LENGTH)).unwrap();
        let small = size(&target);
        a.down(&volume).await;
        let large = 2 * bytes;
        let clone = a.try_create(clone_request(&format!("{filesystem}-clone"), large, &usage, &volume.volume_id)).await.unwrap();
        assert_eq!(clone.capacity_bytes, large);
        let target = a.up(&clone, &usage).await;
        // CSI spec, CreateVolume: usable with its new size when it is published.
        assert!(size(&target) - small >= u64::try_from(bytes * 9 / 10).unwrap(), "{filesystem}: {small} then {}", size(&target));
        assert_holds(&target, 1, LENGTH);
        a.down(&clone).await;
        gone(&a, [volume, clone], &[]).await;
    }
}

async fn a_smaller_copy_is_refused(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = written(plugin, "one").await;
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    for request in [
        clone_request("small", plugin.small() / 2, &usage, &volume.volume_id),
        restore_request("small", plugin.small() / 2, &usage, &snapshot.snapshot_id),
    ] {
        refused(a.try_create(request).await, Code::OutOfRange, &[&words(plugin.small())]);
    }
    // Who names no size gets what is needed.
    let request = csi::CreateVolumeRequest { capacity_range: None, ..restore_request("any", 0, &usage, &snapshot.snapshot_id) };
    let any = a.try_create(request).await.unwrap();
    assert!(any.capacity_bytes >= plugin.small());
    holds(&a, &any, &usage, 1).await;
    gone(&a, [volume, any], &[&snapshot]).await;
}

/// A copy has the identity of its source, which xfs and btrfs do not mount twice by themselves.
async fn a_copy_is_mounted_beside_its_source(plugin: &Plugin) {
    let a = plugin.a();
    for (filesystem, bytes) in filesystems(plugin) {
        let usage = Usage::mount().filesystem(filesystem);
        let volume = a.create(filesystem, bytes, &usage).await;
        let target = a.up(&volume, &usage).await;
        write_through(&target, &pattern(1, LENGTH)).unwrap();
        let request = clone_request(&format!("{filesystem}-clone"), bytes, &usage, &volume.volume_id);
        let clone = a.try_create(request).await.unwrap();
        if filesystem == "btrfs" && !mounts_copies_of_btrfs() {
            // Told which it is, and nothing is lost.
            let context = a.attach(&clone, &usage).await.unwrap();
            refused(a.stage(&clone, &context, &usage).await, Code::FailedPrecondition, &["6.7"]);
            a.detach(&clone.volume_id).await.unwrap();
            a.down(&volume).await;
            holds(&a, &clone, &usage, 1).await;
            gone(&a, [volume, clone], &[]).await;
            continue;
        }
        let beside = a.up(&clone, &usage).await;
        assert_ne!(mount_at(&beside).unwrap().source, mount_at(&target).unwrap().source, "{filesystem}");
        assert_holds(&beside, 1, LENGTH);
        write_through(&beside, &pattern(2, LENGTH)).unwrap();
        assert_holds(&target, 1, LENGTH);
        write_through(&target, &pattern(3, LENGTH)).unwrap();
        a.down(&clone).await;
        a.down(&volume).await;
        // Each is still itself when it is mounted alone, in either order.
        holds(&a, &clone, &usage, 2).await;
        holds(&a, &volume, &usage, 3).await;
        gone(&a, [volume, clone], &[]).await;
    }
}

/// A copy of a raw device with somebody's content must be told from a blank volume.
async fn a_copy_is_never_formatted(plugin: &Plugin) {
    let (a, raw) = (plugin.a(), Usage::block());
    let volume = a.create("one", plugin.small(), &raw).await;
    write(&a.up(&volume, &raw).await, &pattern(1, LENGTH)).unwrap();
    a.down(&volume).await;
    let clone = a.try_create(clone_request("clone", plugin.small(), &raw, &volume.volume_id)).await.unwrap();
    let context = a.attach(&clone, &Usage::mount()).await.unwrap();
    refused(a.stage(&clone, &context, &Usage::mount()).await, Code::FailedPrecondition, &[&clone.volume_id]);
    a.detach(&clone.volume_id).await.unwrap();
    holds(&a, &clone, &raw, 1).await;
    // A copy of nothing is nothing, and gets its filesystem like any blank volume.
    let blank = a.create("blank", plugin.small(), &Usage::mount()).await;
    let copy = a.try_create(clone_request("copy", plugin.small(), &Usage::mount(), &blank.volume_id)).await.unwrap();
    let context = a.attach(&copy, &Usage::mount()).await.unwrap();
    a.stage(&copy, &context, &Usage::mount()).await.unwrap();
    a.publish(&copy, &context, &Usage::mount(), POD).await.unwrap();
    a.down(&copy).await;
    gone(&a, [volume, clone, blank, copy], &[]).await;
}

async fn a_chain_of_copies_keeps_every_link(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let mut volumes = vec![a.try_create(create_request("link-0", plugin.small(), &usage)).await.unwrap()];
    for number in 1..4 {
        let last = volumes.last().unwrap();
        write(&a.up(last, &usage).await, &pattern(number, LENGTH)).unwrap();
        a.down(last).await;
        let next = a.try_create(clone_request(&format!("link-{number}"), plugin.small(), &usage, &last.volume_id)).await.unwrap();
        holds(&a, &next, &usage, number).await;
        volumes.push(next);
    }
    for (volume, number) in volumes.iter().zip(1..4) {
        holds(&a, volume, &usage, number).await;
    }
    for volume in volumes {
        a.delete(&volume.volume_id).await.unwrap();
    }
}
