//! Growing.

use tonic::Code;

use super::growing;
use crate::client::{POD, at_least, exactly};
use crate::content::{assert_holds, pattern, size, take, write};
use crate::kernel::may_grow_ext4;
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::settings::words;
use crate::usage::Usage;

super::table! {
    a_filesystem_grows_while_it_is_mounted_and_keeps_its_data: [Format],
    an_ext4_that_may_not_grow_says_why_and_keeps_its_data: [Format],
    a_filesystem_that_was_detached_grows_when_it_is_staged: [Format],
    a_device_grows_while_it_is_used_and_keeps_its_data: [Block],
    a_directory_takes_any_size: [Shared],
    growing_to_what_it_has_changes_nothing: [Measured],
    shrinking_is_refused: [Measured],
    a_node_cannot_grow_what_the_controller_did_not: [Device],
    a_published_reader_is_no_reason_to_fail: [Format, ReadOnly],
    a_filesystem_grows_at_a_target_that_is_read_only: [Format],
}

const LENGTH: usize = 5 << 20;

async fn a_filesystem_grows_while_it_is_mounted_and_keeps_its_data(plugin: &Plugin) {
    let a = plugin.a();
    for (filesystem, bytes) in growing(plugin) {
        let (small, large) = (bytes, 2 * bytes);
        let usage = Usage::mount().filesystem(filesystem);
        let volume = a.create(filesystem, small, &usage).await;
        let id = &volume.volume_id;
        let target = a.up(&volume, &usage).await;
        write(&target, &pattern(1, LENGTH)).unwrap();
        let before = size(&target);
        let expanded = a.expand(id, exactly(large)).await.unwrap();
        assert_eq!((expanded.capacity_bytes, expanded.node_expansion_required), (large, true));
        for _ in 0..2 {
            assert_eq!(a.expand_here(id, &target, &usage, large).await.unwrap(), large);
        }
        let after = size(&target);
        assert!(after - before >= u64::try_from(small * 9 / 10).unwrap(), "{filesystem} grew from {before} to {after}");
        assert_holds(&target, 1, LENGTH);
        // What has been gained can be used.
        take(&target, small);
        write(&target, &pattern(2, LENGTH)).unwrap();
        a.down(&volume).await;
        assert_holds(&a.up(&volume, &usage).await, 2, LENGTH);
        a.down(&volume).await;
        a.delete(id).await.unwrap();
    }
}

/// The kernel grows ext4 for holders of CAP_SYS_RESOURCE alone.
async fn an_ext4_that_may_not_grow_says_why_and_keeps_its_data(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), Usage::mount().filesystem("ext4"));
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write(&target, &pattern(1, LENGTH)).unwrap();
    a.expand(&volume.volume_id, exactly(2 * plugin.small())).await.unwrap();
    let grown = a.expand_here(&volume.volume_id, &target, &usage, 2 * plugin.small()).await;
    if may_grow_ext4() {
        assert_eq!(grown.unwrap(), 2 * plugin.small());
    } else {
        refused(grown, Code::FailedPrecondition, &["CAP_SYS_RESOURCE"]);
    }
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    // It is no reason to keep the data from its owner.
    assert_holds(&a.up(&volume, &usage).await, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_filesystem_that_was_detached_grows_when_it_is_staged(plugin: &Plugin) {
    let a = plugin.a();
    for (filesystem, bytes) in growing(plugin) {
        let (small, large) = (bytes, 2 * bytes);
        let usage = Usage::mount().filesystem(filesystem);
        let volume = a.create(filesystem, small, &usage).await;
        let target = a.up(&volume, &usage).await;
        write(&target, &pattern(1, LENGTH)).unwrap();
        let before = size(&target);
        a.down(&volume).await;
        a.expand(&volume.volume_id, exactly(large)).await.unwrap();
        let target = a.up(&volume, &usage).await;
        assert!(
            size(&target) - before >= u64::try_from(small * 9 / 10).unwrap(),
            "{filesystem}: {before} then {}",
            size(&target)
        );
        assert_holds(&target, 1, LENGTH);
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_device_grows_while_it_is_used_and_keeps_its_data(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write(&target, &pattern(1, LENGTH)).unwrap();
    let expanded = a.expand(&volume.volume_id, exactly(3 * plugin.small())).await.unwrap();
    assert_eq!(expanded.capacity_bytes, 3 * plugin.small());
    assert_eq!(a.expand_here(&volume.volume_id, &target, &usage, 3 * plugin.small()).await.unwrap(), 3 * plugin.small());
    assert_eq!(i64::try_from(size(&target)).unwrap(), 3 * plugin.small());
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_directory_takes_any_size(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write(&target, &pattern(1, LENGTH)).unwrap();
    let expanded = a.expand(&volume.volume_id, exactly(4 * plugin.small())).await.unwrap();
    assert_eq!((expanded.capacity_bytes, expanded.node_expansion_required), (4 * plugin.small(), false));
    assert_eq!(a.expand_here(&volume.volume_id, &target, &usage, 4 * plugin.small()).await.unwrap(), 4 * plugin.small());
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn growing_to_what_it_has_changes_nothing(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    for range in [
        at_least(plugin.small()),
        exactly(plugin.small()),
        at_least(plugin.small() / 2),
        exactly(2 * plugin.small()),
        exactly(2 * plugin.small()),
        at_least(1),
    ] {
        let expanded = a.expand(&volume.volume_id, range).await.unwrap();
        assert_eq!(
            expanded.capacity_bytes,
            range.required_bytes.max(a.volumes().await[0].volume.as_ref().unwrap().capacity_bytes)
        );
    }
    assert_eq!(a.volumes().await[0].volume.as_ref().unwrap().capacity_bytes, 2 * plugin.small());
    a.delete(&volume.volume_id).await.unwrap();
}

async fn shrinking_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    refused(a.expand(&volume.volume_id, exactly(plugin.small() / 2)).await, Code::OutOfRange, &[&words(plugin.small())]);
    assert_eq!(a.volumes().await[0].volume.as_ref().unwrap().capacity_bytes, plugin.small());
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_node_cannot_grow_what_the_controller_did_not(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write(&target, &pattern(1, LENGTH)).unwrap();
    refused(
        a.expand_here(&volume.volume_id, &target, &usage, 2 * plugin.small()).await,
        Code::Unavailable,
        &["ControllerExpandVolume"],
    );
    refused(a.expand_here(&volume.volume_id, plugin.workspace(), &usage, plugin.small()).await, Code::NotFound, &[]);
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_published_reader_is_no_reason_to_fail(plugin: &Plugin) {
    let (filesystem, bytes) = growing(plugin).last().unwrap();
    let (a, usage, size_before) = (plugin.a(), plugin.usage().filesystem(filesystem), bytes);
    let volume = a.create("one", size_before, &usage).await;
    write(&a.up(&volume, &usage).await, &pattern(1, LENGTH)).unwrap();
    a.down(&volume).await;
    let reader = usage.clone().readonly();
    let target = a.up(&volume, &reader).await;
    a.expand(&volume.volume_id, exactly(2 * size_before)).await.unwrap();
    assert_eq!(a.expand_here(&volume.volume_id, &target, &reader, 2 * size_before).await.unwrap(), 2 * size_before);
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    // The filesystem follows as soon as somebody may write.
    let target = a.up(&volume, &usage).await;
    assert!(size(&target) > u64::try_from(size_before * 3 / 2).unwrap());
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

/// Attached and staged for writing, published for reading: the filesystem grows all the same.
async fn a_filesystem_grows_at_a_target_that_is_read_only(plugin: &Plugin) {
    let a = plugin.a();
    for (filesystem, bytes) in growing(plugin) {
        let (usage, before) = (Usage::mount().filesystem(filesystem), bytes);
        let volume = a.create(filesystem, before, &usage).await;
        let context = a.attach(&volume, &usage).await.unwrap();
        a.stage(&volume, &context, &usage).await.unwrap();
        let target = a.publish(&volume, &context, &usage.clone().readonly(), POD).await.unwrap();
        a.expand(&volume.volume_id, exactly(2 * before)).await.unwrap();
        assert_eq!(a.expand_here(&volume.volume_id, &target, &usage, 2 * before).await.unwrap(), 2 * before);
        assert!(size(&target) > u64::try_from(before * 3 / 2).unwrap(), "{filesystem}: {}", size(&target));
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}
