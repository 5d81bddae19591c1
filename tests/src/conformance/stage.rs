//! NodeStageVolume and its opposite.

use std::fs;
use std::path::Path;

use hawser_proto::csi;
use hawser_proto::csi::volume_capability::access_mode::Mode;
use tonic::Code;

use super::Need;
use crate::MIB;
use crate::client::{Client, POD, text};
use crate::content::{assert_holds, pattern, write};
use crate::kernel::{loops_below, mount_at, mounts_below, run};
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::usage::Usage;

super::table! {
    staging_again_is_the_same: [],
    staging_with_another_filesystem_exists_already: [Format],
    staging_in_another_way_exists_already: [Device],
    staging_read_only_what_is_staged_for_writing_exists_already: [Mount],
    unstaging_what_is_not_staged_succeeds: [],
    a_volume_with_one_filesystem_is_not_given_with_another: [Format],
    a_missing_staging_path_is_made: [],
    a_staging_path_with_another_mount_is_left_alone: [Mount],
    a_blank_volume_that_is_only_read_is_refused: [Format],
    unstaging_a_published_volume_is_refused_and_loses_nothing: [],
}

async fn attached(a: &Client, size: i64, usage: &Usage) -> (csi::Volume, crate::Context) {
    let volume = a.create("one", size, usage).await;
    let context = a.attach(&volume, usage).await.unwrap();
    (volume, context)
}

async fn gone(a: &Client, volume: &csi::Volume) {
    a.unstage(&volume.volume_id).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
}

async fn staging_again_is_the_same(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let (volume, context) = attached(&a, plugin.small(), &usage).await;
    let staging = a.stage(&volume, &context, &usage).await.unwrap();
    let before = (mounts_below(&staging), loops_below(plugin.root()));
    for _ in 0..3 {
        a.stage(&volume, &context, &usage).await.unwrap();
        assert_eq!((mounts_below(&staging), loops_below(plugin.root())), before);
    }
    gone(&a, &volume).await;
}

async fn staging_with_another_filesystem_exists_already(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), Usage::mount().filesystem("ext4"));
    let (volume, context) = attached(&a, plugin.small(), &usage).await;
    let staging = a.stage(&volume, &context, &usage).await.unwrap();
    refused(a.stage(&volume, &context, &Usage::mount().filesystem("xfs")).await, Code::AlreadyExists, &["ext4", "xfs"]);
    // No wish is no other wish.
    a.stage(&volume, &context, &Usage::mount()).await.unwrap();
    assert_eq!(mount_at(&staging).unwrap().filesystem, "ext4");
    gone(&a, &volume).await;
}

async fn staging_in_another_way_exists_already(plugin: &Plugin) {
    let a = plugin.a();
    let (volume, context) = attached(&a, plugin.small(), &Usage::mount()).await;
    for (first, second) in [(Usage::block(), Usage::mount()), (Usage::mount(), Usage::block())] {
        a.stage(&volume, &context, &first).await.unwrap();
        refused(a.stage(&volume, &context, &second).await, Code::AlreadyExists, &["staged"]);
        refused(a.publish(&volume, &context, &second, POD).await, Code::InvalidArgument, &["staged"]);
        a.unstage(&volume.volume_id).await.unwrap();
    }
    gone(&a, &volume).await;
}

async fn staging_read_only_what_is_staged_for_writing_exists_already(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let (volume, context) = attached(&a, plugin.small(), &usage).await;
    a.stage(&volume, &context, &usage).await.unwrap();
    refused(a.stage(&volume, &context, &usage.clone().flag("ro")).await, Code::AlreadyExists, &["for writing"]);
    a.unstage(&volume.volume_id).await.unwrap();
    a.stage(&volume, &context, &usage.clone().flag("ro")).await.unwrap();
    refused(a.stage(&volume, &context, &usage).await, Code::AlreadyExists, &["read-only"]);
    gone(&a, &volume).await;
}

async fn unstaging_what_is_not_staged_succeeds(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    a.unstage(&volume.volume_id).await.unwrap();
    let context = a.attach(&volume, &usage).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    a.stage(&volume, &context, &usage).await.unwrap();
    for _ in 0..3 {
        a.unstage(&volume.volume_id).await.unwrap();
    }
    assert!(loops_below(plugin.root()).is_empty());
    let elsewhere = plugin.workspace().join("never/made");
    let request = csi::NodeUnstageVolumeRequest { volume_id: volume.volume_id.clone(), staging_target_path: text(&elsewhere) };
    a.node().node_unstage_volume(request).await.unwrap();
    assert!(!elsewhere.exists());
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
}

async fn a_volume_with_one_filesystem_is_not_given_with_another(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), Usage::mount().filesystem("ext4"));
    let (volume, context) = attached(&a, plugin.sizes().fit(320 * MIB), &usage).await;
    a.stage(&volume, &context, &usage).await.unwrap();
    let target = a.publish(&volume, &context, &usage, POD).await.unwrap();
    write(&target, &pattern(1, 1 << 20)).unwrap();
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    for other in ["xfs", "btrfs"] {
        refused(a.stage(&volume, &context, &Usage::mount().filesystem(other)).await, Code::FailedPrecondition, &["ext4", other]);
        assert!(loops_below(plugin.root()).is_empty(), "a refused stage left a device");
    }
    // What it has is what it is given with, when nothing is asked for.
    a.stage(&volume, &context, &Usage::mount()).await.unwrap();
    assert_holds(&a.publish(&volume, &context, &Usage::mount(), POD).await.unwrap(), 1, 1 << 20);
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    gone(&a, &volume).await;
}

async fn a_missing_staging_path_is_made(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let (volume, context) = attached(&a, plugin.small(), &usage).await;
    let mut request = a.stage_request(&volume, &context, &usage);
    let missing = Path::new(&request.staging_target_path).join("not/made/yet");
    request.staging_target_path = text(&missing);
    a.node().node_stage_volume(request).await.unwrap();
    assert_eq!(mounts_below(&missing).len(), 1);
    let request = csi::NodeUnstageVolumeRequest { volume_id: volume.volume_id.clone(), staging_target_path: text(&missing) };
    a.node().node_unstage_volume(request).await.unwrap();
    assert!(mounts_below(&missing).is_empty());
    fs::remove_dir_all(a.staging(&volume.volume_id)).unwrap();
    gone(&a, &volume).await;
}

async fn a_staging_path_with_another_mount_is_left_alone(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let (volume, context) = attached(&a, plugin.small(), &usage).await;
    let staging = a.staging(&volume.volume_id);
    run("mount", &["-t", "tmpfs", "somebody", &text(&staging)]);
    fs::write(staging.join("treasure"), "here").unwrap();
    refused(a.stage(&volume, &context, &usage).await, Code::FailedPrecondition, &["tmpfs"]);
    refused(a.unstage(&volume.volume_id).await, Code::FailedPrecondition, &["tmpfs"]);
    assert_eq!(fs::read_to_string(staging.join("treasure")).unwrap(), "here");
    run("umount", &[&text(&staging)]);
    gone(&a, &volume).await;
}

async fn a_blank_volume_that_is_only_read_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    let by_need = [
        (Need::ReadOnly, Usage::mount().readonly()),
        (Need::Readers, Usage::mount().mode(Mode::MultiNodeReaderOnly)),
        (Need::Mount, Usage::mount().mode(Mode::SingleNodeReaderOnly)),
        (Need::Mount, Usage::mount().flag("ro")),
    ];
    for (_, usage) in by_need.into_iter().filter(|(need, _)| plugin.has(*need)) {
        let (volume, context) = attached(&a, plugin.small(), &usage).await;
        refused(a.stage(&volume, &context, &usage).await, Code::FailedPrecondition, &["read-only"]);
        assert!(loops_below(plugin.root()).is_empty());
        gone(&a, &volume).await;
    }
}

async fn unstaging_a_published_volume_is_refused_and_loses_nothing(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write(&target, &pattern(1, 1 << 20)).unwrap();
    refused(a.unstage(&volume.volume_id).await, Code::FailedPrecondition, &[&text(&target)]);
    // The workload goes on, and so does the CO when it has found its mistake.
    assert_holds(&target, 1, 1 << 20);
    write(&target, &pattern(2, 1 << 20)).unwrap();
    a.down(&volume).await;
    assert_holds(&a.up(&volume, &usage).await, 2, 1 << 20);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}
