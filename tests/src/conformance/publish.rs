//! NodePublishVolume and its opposite.

use std::fs;
use std::os::unix::fs::symlink;

use hawser_proto::csi;
use hawser_proto::csi::volume_capability::access_mode::Mode;
use tonic::Code;

use super::Need;
use crate::client::{Client, POD, text};
use crate::content::{assert_holds, assert_read_only, pattern, size, write, write_through};
use crate::kernel::{mount_at, mounts_below, run};
use crate::plugin::Plugin;
use crate::refusal::refused;

super::table! {
    publishing_before_staging_is_refused: [],
    a_second_publication_follows_the_table_of_the_spec: [Device],
    a_second_publication_follows_the_table_of_the_spec_in_every_mode: [Shared],
    publishing_again_what_is_staged_read_only_is_the_same: [ReadOnly],
    unpublishing_what_is_not_published_succeeds: [],
    a_target_that_exists_already_is_used: [],
    a_target_of_another_kind_is_refused: [],
    a_symlink_as_target_is_not_followed: [],
    a_mount_inside_the_target_keeps_it: [Mount],
    a_mount_on_the_target_keeps_it: [],
    a_late_call_for_an_old_volume_does_nothing_to_the_new_one: [],
    statistics_say_how_full_a_directory_is: [Mount],
    statistics_rise_with_what_is_written: [Format],
    statistics_say_how_large_a_device_is: [Block],
}

async fn publishing_before_staging_is_refused(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    refused(a.publish(&volume, &context, &usage, POD).await, Code::FailedPrecondition, &["NodeStageVolume"]);
    let mut request = a.publish_request(&volume, &context, &usage, POD);
    request.staging_target_path = String::new();
    refused(a.node().node_publish_volume(request.clone()).await, Code::FailedPrecondition, &["staging_target_path"]);
    request.staging_target_path = text(&plugin.workspace().join("never/made"));
    refused(a.node().node_publish_volume(request.clone()).await, Code::FailedPrecondition, &["NodeStageVolume"]);
    assert!(!a.target(POD, &volume.volume_id).exists(), "a refused publication made its target");
    // Neither is a path good at which another volume is staged.
    let other = a.create("two", plugin.small(), &usage).await;
    let other_context = a.attach(&other, &usage).await.unwrap();
    request.staging_target_path = text(&a.stage(&other, &other_context, &usage).await.unwrap());
    refused(a.node().node_publish_volume(request).await, Code::FailedPrecondition, &[]);
    assert!(!a.target(POD, &volume.volume_id).exists());
    a.down(&other).await;
    a.detach(&volume.volume_id).await.unwrap();
    for volume in [volume, other] {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

const FEW: [Mode; 5] = [
    Mode::SingleNodeWriter,
    Mode::SingleNodeReaderOnly,
    Mode::MultiNodeReaderOnly,
    Mode::SingleNodeSingleWriter,
    Mode::SingleNodeMultiWriter,
];

async fn a_second_publication_follows_the_table_of_the_spec(plugin: &Plugin) {
    let has = |mode: &Mode| match mode {
        Mode::MultiNodeReaderOnly => plugin.has(Need::Readers),
        // A raw device is read-only only if it is given so.
        Mode::SingleNodeReaderOnly => plugin.has(Need::ReadOnly) || !plugin.usage().block,
        _ => true,
    };
    for mode in FEW.into_iter().filter(has) {
        second_publication(plugin, mode).await;
    }
}

async fn a_second_publication_follows_the_table_of_the_spec_in_every_mode(plugin: &Plugin) {
    for mode in FEW.into_iter().chain([Mode::MultiNodeSingleWriter, Mode::MultiNodeMultiWriter]) {
        second_publication(plugin, mode).await;
    }
}

/// CSI spec, NodePublishVolume: the same target with the same arguments is OK, with others ALREADY_EXISTS; another target is OK
/// for modes of many nodes and of many writers, FAILED_PRECONDITION for the rest.
async fn second_publication(plugin: &Plugin, mode: Mode) {
    let a = plugin.a();
    let writer = plugin.usage();
    let usage = plugin.usage().mode(mode);
    let reads = matches!(mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly);
    let volume = a.create(mode.as_str_name(), plugin.small(), &writer).await;
    // A reader needs something to read.
    write(&a.up(&volume, &writer).await, &pattern(1, 1 << 20)).unwrap();
    a.down(&volume).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    a.stage(&volume, &context, &usage).await.unwrap();
    let target = a.publish(&volume, &context, &usage, "first").await.unwrap();
    a.publish(&volume, &context, &usage, "first").await.unwrap();
    assert_eq!(mounts_below(&target).len(), 1, "{mode:?}: the same publication twice is one mount");
    let other = a.publish(&volume, &context, &usage.clone().readonly(), "first").await;
    if reads {
        // It is read-only as it is.
        other.unwrap();
    } else {
        // A raw device that is attached for writing cannot be shown read-only at all.
        let code = if writer.block { Code::FailedPrecondition } else { Code::AlreadyExists };
        refused(other, code, &[&volume.volume_id]);
    }
    let second = a.publish(&volume, &context, &usage, "second").await;
    let many = !matches!(mode, Mode::SingleNodeWriter | Mode::SingleNodeReaderOnly | Mode::SingleNodeSingleWriter);
    if many {
        assert_holds(&second.unwrap(), 1, 1 << 20);
        a.unpublish(&volume.volume_id, "second").await.unwrap();
        assert_holds(&target, 1, 1 << 20);
    } else {
        refused(second, Code::FailedPrecondition, &[&text(&target)]);
        assert!(!a.target("second", &volume.volume_id).exists(), "{mode:?}: a refused publication made its target");
    }
    a.unpublish(&volume.volume_id, "first").await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
}

/// A CO may say in ControllerPublishVolume alone that nothing shall be written.
async fn publishing_again_what_is_staged_read_only_is_the_same(plugin: &Plugin) {
    let (a, writer) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &writer).await;
    write(&a.up(&volume, &writer).await, &pattern(1, 1 << 20)).unwrap();
    a.down(&volume).await;
    let context = a.attach(&volume, &writer.clone().readonly()).await.unwrap();
    a.stage(&volume, &context, &writer).await.unwrap();
    for _ in 0..3 {
        let target = a.publish(&volume, &context, &writer, POD).await.unwrap();
        assert_eq!(mounts_below(&target).len(), 1);
        assert_read_only(&target);
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn unpublishing_what_is_not_published_succeeds(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    let target = a.up(&volume, &usage).await;
    assert!(target.exists(), "the target is the plugin's to make");
    for _ in 0..3 {
        a.unpublish(&volume.volume_id, POD).await.unwrap();
        assert!(!target.exists(), "the target is the plugin's to remove");
    }
    let request = csi::NodeUnpublishVolumeRequest {
        volume_id: volume.volume_id.clone(),
        target_path: text(&plugin.workspace().join("never/made/mount")),
    };
    a.node().node_unpublish_volume(request).await.unwrap();
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
    a.unpublish(&volume.volume_id, POD).await.unwrap();
}

async fn a_target_that_exists_already_is_used(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.target(POD, &volume.volume_id);
    if usage.block {
        fs::write(&target, "").unwrap();
    } else {
        fs::create_dir(&target).unwrap();
    }
    assert_eq!(a.up(&volume, &usage).await, target);
    write(&target, &pattern(1, 1 << 20)).unwrap();
    a.down(&volume).await;
    assert!(!target.exists());
    a.delete(&volume.volume_id).await.unwrap();
}

async fn staged(a: &Client, plugin: &Plugin) -> (csi::Volume, crate::Context) {
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    let context = a.attach(&volume, &plugin.usage()).await.unwrap();
    a.stage(&volume, &context, &plugin.usage()).await.unwrap();
    (volume, context)
}

async fn a_target_of_another_kind_is_refused(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let (volume, context) = staged(&a, plugin).await;
    let target = a.target(POD, &volume.volume_id);
    if usage.block {
        fs::create_dir(&target).unwrap();
    } else {
        fs::write(&target, "somebody's").unwrap();
    }
    refused(a.publish(&volume, &context, &usage, POD).await, Code::FailedPrecondition, &[&text(&target)]);
    assert!(mount_at(&target).is_none());
    if usage.block {
        fs::remove_dir(&target).unwrap();
    } else {
        assert_eq!(fs::read_to_string(&target).unwrap(), "somebody's");
        fs::remove_file(&target).unwrap();
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_symlink_as_target_is_not_followed(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let (volume, context) = staged(&a, plugin).await;
    let elsewhere = plugin.workspace().join("elsewhere");
    if usage.block {
        fs::write(&elsewhere, "").unwrap();
    } else {
        fs::create_dir(&elsewhere).unwrap();
    }
    let target = a.target(POD, &volume.volume_id);
    symlink(&elsewhere, &target).unwrap();
    refused(a.publish(&volume, &context, &usage, POD).await, Code::FailedPrecondition, &[&text(&target)]);
    assert!(mount_at(&elsewhere).is_none() && mount_at(&target).is_none());
    fs::remove_file(&target).unwrap();
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_mount_inside_the_target_keeps_it(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write(&target, &pattern(1, 1 << 20)).unwrap();
    let inside = target.join("inside");
    fs::create_dir(&inside).unwrap();
    run("mount", &["-t", "tmpfs", "somebody", &text(&inside)]);
    fs::write(inside.join("treasure"), "here").unwrap();
    refused(a.unpublish(&volume.volume_id, POD).await, Code::FailedPrecondition, &[]);
    // A CO deletes recursively what it believes unmounted.
    assert_eq!(mount_at(&inside).unwrap().filesystem, "tmpfs");
    assert_eq!(fs::read_to_string(inside.join("treasure")).unwrap(), "here");
    assert_holds(&target, 1, 1 << 20);
    run("umount", &[&text(&inside)]);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_mount_on_the_target_keeps_it(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    let somebody = plugin.workspace().join("somebody");
    if usage.block {
        fs::write(&somebody, "here").unwrap();
    } else {
        fs::create_dir(&somebody).unwrap();
        fs::write(somebody.join("treasure"), "here").unwrap();
    }
    run("mount", &["--bind", &text(&somebody), &text(&target)]);
    refused(a.unpublish(&volume.volume_id, POD).await, Code::FailedPrecondition, &[&text(&target)]);
    refused(a.publish(&volume, &Default::default(), &usage, POD).await, Code::FailedPrecondition, &[&text(&target)]);
    assert_eq!(mounts_below(&target).len(), 2);
    run("umount", &[&text(&target)]);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_late_call_for_an_old_volume_does_nothing_to_the_new_one(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let old = a.create("old", plugin.small(), &usage).await;
    a.up(&old, &usage).await;
    a.down(&old).await;
    let new = a.create("new", plugin.small(), &usage).await;
    let target = a.up(&new, &usage).await;
    write(&target, &pattern(1, 1 << 20)).unwrap();
    let staging = a.staging(&new.volume_id);
    let late = csi::NodeUnpublishVolumeRequest { volume_id: old.volume_id.clone(), target_path: text(&target) };
    refused(a.node().node_unpublish_volume(late.clone()).await, Code::FailedPrecondition, &[&text(&target)]);
    let late_unstage = csi::NodeUnstageVolumeRequest { volume_id: old.volume_id.clone(), staging_target_path: text(&staging) };
    refused(a.node().node_unstage_volume(late_unstage).await, Code::FailedPrecondition, &[]);
    a.delete(&old.volume_id).await.unwrap();
    refused(a.node().node_unpublish_volume(late).await, Code::FailedPrecondition, &[&text(&target)]);
    assert_holds(&target, 1, 1 << 20);
    a.down(&new).await;
    a.delete(&new.volume_id).await.unwrap();
}

async fn statistics(a: &Client, volume: &str, path: &str) -> Result<csi::NodeGetVolumeStatsResponse, tonic::Status> {
    let request =
        csi::NodeGetVolumeStatsRequest { volume_id: volume.to_owned(), volume_path: path.to_owned(), ..Default::default() };
    Ok(a.node().node_get_volume_stats(request).await?.into_inner())
}

async fn statistics_say_how_full_a_directory_is(plugin: &Plugin) {
    use csi::volume_usage::Unit;
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    let staging = text(&a.staging(&volume.volume_id));
    let before = statistics(&a, &volume.volume_id, &text(&target)).await.unwrap();
    write(&target, &pattern(1, 4 << 20)).unwrap();
    // The staging path shows the same filesystem.
    let after = statistics(&a, &volume.volume_id, &staging).await.unwrap();
    let of =
        |answer: &csi::NodeGetVolumeStatsResponse, unit: Unit| *answer.usage.iter().find(|usage| usage.unit() == unit).unwrap();
    for answer in [&before, &after] {
        let (bytes, inodes) = (of(answer, Unit::Bytes), of(answer, Unit::Inodes));
        assert_eq!(bytes.total, i64::try_from(size(&target)).unwrap());
        assert!(bytes.used + bytes.available <= bytes.total, "{bytes:?}");
        assert!(inodes.total > 0 && inodes.used > 0, "{inodes:?}");
        assert!(!answer.volume_condition.as_ref().unwrap().abnormal);
    }
    for path in ["some/path", "/never/made", &text(plugin.workspace())] {
        refused(statistics(&a, &volume.volume_id, path).await, Code::NotFound, &[]);
    }
    refused(statistics(&a, &volume.volume_id, "").await, Code::InvalidArgument, &["volume_path"]);
    a.down(&volume).await;
    refused(statistics(&a, &volume.volume_id, &text(&target)).await, Code::NotFound, &[]);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn statistics_rise_with_what_is_written(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    let used = async || {
        let answer = statistics(&a, &volume.volume_id, &text(&target)).await.unwrap();
        answer.usage.iter().map(|usage| usage.used).collect::<Vec<_>>()
    };
    let before = used().await;
    write_through(&target, &pattern(1, 4 << 20)).unwrap();
    let after = used().await;
    assert_eq!(before.len(), 2, "bytes and inodes");
    assert!(after[0] - before[0] >= 4 << 20 && after[1] == before[1] + 1, "{before:?} then {after:?}");
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn statistics_say_how_large_a_device_is(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    for path in [&target, &a.staging(&volume.volume_id)] {
        let answer = statistics(&a, &volume.volume_id, &text(path)).await.unwrap();
        assert_eq!(
            answer.usage.iter().map(|usage| (usage.unit(), usage.total)).collect::<Vec<_>>(),
            [(csi::volume_usage::Unit::Bytes, plugin.small())]
        );
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}
