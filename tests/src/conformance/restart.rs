//! A plugin that is killed: nothing that it said is forgotten, and nothing that it began stays in the way.

use std::time::Duration;

use hawser_proto::csi;
use tonic::Code;

use super::Need;
use crate::MIB;
use crate::client::{Client, POD, clone_request, create_request, exactly, map, restore_request};
use crate::content::{assert_holds, pattern, write, write_through};
use crate::kernel::{loops_below, may_grow_ext4, mounts_below};
use crate::plugin::{NODE_A, Plugin};
use crate::poll::until;
use crate::refusal::refused;
use crate::rig::inside;

super::table! {
    a_kill_between_any_two_calls_changes_nothing: [],
    a_kill_between_cutting_and_copying_changes_nothing: [Cut],
    a_kill_while_staging_can_be_repeated_or_undone: [],
    a_kill_while_unstaging_loses_nothing: [],
    a_kill_while_creating_leaves_a_whole_volume_or_none: [Device],
    a_kill_while_cutting_lets_the_filesystem_write_again: [Cut, Format],
    a_kill_of_one_node_is_nothing_to_the_other: [],
}

const LENGTH: usize = 3 << 20;

async fn a_kill_between_any_two_calls_changes_nothing(plugin: &Plugin) {
    let usage = plugin.usage();
    let volume = plugin.a().create("one", plugin.small(), &usage).await;
    let a = plugin.restart().await;
    assert_eq!(a.create("one", plugin.small(), &usage).await, volume);
    refused(a.try_create(create_request("one", plugin.small() * 2, &usage)).await, Code::AlreadyExists, &[]);
    let context = a.attach(&volume, &usage).await.unwrap();
    let a = plugin.restart().await;
    assert_eq!(a.attach(&volume, &usage).await.unwrap(), context);
    refused(a.delete(&volume.volume_id).await, Code::FailedPrecondition, &[a.node_id()]);
    a.stage(&volume, &context, &usage).await.unwrap();
    let a = plugin.restart().await;
    let devices = loops_below(plugin.root());
    a.stage(&volume, &context, &usage).await.unwrap();
    assert_eq!(loops_below(plugin.root()), devices);
    let target = a.publish(&volume, &context, &usage, POD).await.unwrap();
    write(&target, &pattern(1, LENGTH)).unwrap();
    let a = plugin.restart().await;
    assert_holds(&target, 1, LENGTH);
    a.publish(&volume, &context, &usage, POD).await.unwrap();
    assert_eq!(mounts_below(&target).len(), 1);
    refused(a.unstage(&volume.volume_id).await, Code::FailedPrecondition, &[]);
    a.expand(&volume.volume_id, exactly(2 * plugin.small())).await.unwrap();
    let a = plugin.restart().await;
    let grown = a.expand_here(&volume.volume_id, &target, &usage, 2 * plugin.small()).await;
    assert!(grown.is_ok_and(|size| size == 2 * plugin.small()) || !may_grow_ext4());
    let a = plugin.restart().await;
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    let a = plugin.restart().await;
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    let a = plugin.restart().await;
    a.unstage(&volume.volume_id).await.unwrap();
    assert_eq!(a.holders(&volume.volume_id).await, [a.node_id()]);
    a.detach(&volume.volume_id).await.unwrap();
    let a = plugin.restart().await;
    assert!(a.holders(&volume.volume_id).await.is_empty());
    assert_holds(&a.up(&volume, &usage).await, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
    let a = plugin.restart().await;
    assert!(a.volumes().await.is_empty());
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_kill_between_cutting_and_copying_changes_nothing(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    write(&a.up(&volume, &usage).await, &pattern(1, LENGTH)).unwrap();
    a.down(&volume).await;
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    let a = plugin.restart().await;
    assert_eq!(a.snapshot("snapshot", &volume.volume_id).await.unwrap(), snapshot);
    let request = restore_request("restored", plugin.small(), &usage, &snapshot.snapshot_id);
    let restored = a.try_create(request.clone()).await.unwrap();
    let a = plugin.restart().await;
    assert_eq!(a.try_create(request).await.unwrap(), restored);
    assert_holds(&a.up(&restored, &usage).await, 1, LENGTH);
    a.down(&restored).await;
    a.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
    for volume in [volume, restored] {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

/// Moments of a call at which to kill: whatever falls on one of them must hold on every one.
const MOMENTS: [u64; 10] = [0, 1, 2, 4, 7, 12, 20, 35, 60, 100];

/// Starts `call`, kills the plugin after so many milliseconds, and starts it again.
async fn killed_during<T: Send + 'static>(
    plugin: &Plugin,
    call: impl Future<Output = T> + Send + 'static,
    milliseconds: u64,
) -> Client {
    let call = tokio::spawn(call);
    // The moment itself is what is tried, so there is nothing to wait for.
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    plugin.kill(NODE_A).await;
    let _ = call.await;
    plugin.restart().await
}

async fn a_kill_while_staging_can_be_repeated_or_undone(plugin: &Plugin) {
    let usage = plugin.usage();
    for (number, moment) in inside::some(MOMENTS).enumerate() {
        let a = plugin.a();
        let volume = a.create(&format!("volume-{number}"), plugin.small(), &usage).await;
        let context = a.attach(&volume, &usage).await.unwrap();
        let (client, again) = (a.clone(), (volume.clone(), context.clone(), usage.clone()));
        let call = async move { client.stage(&again.0, &again.1, &again.2).await.map(drop) };
        let a = killed_during(plugin, call, moment).await;
        if number % 2 == 1 {
            // A CO that gives up undoes what it does not know the end of.
            a.unstage(&volume.volume_id).await.unwrap();
            assert!(loops_below(plugin.root()).is_empty(), "after {moment} ms");
            a.detach(&volume.volume_id).await.unwrap();
        }
        let target = a.up(&volume, &usage).await;
        write(&target, &pattern(moment, LENGTH)).unwrap();
        a.down(&volume).await;
        assert_holds(&a.up(&volume, &usage).await, moment, LENGTH);
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_kill_while_unstaging_loses_nothing(plugin: &Plugin) {
    let usage = plugin.usage();
    let volume = plugin.a().create("one", plugin.small(), &usage).await;
    for moment in inside::some(MOMENTS) {
        let a = plugin.a();
        write(&a.up(&volume, &usage).await, &pattern(moment, LENGTH)).unwrap();
        a.unpublish(&volume.volume_id, POD).await.unwrap();
        let (client, id) = (a.clone(), volume.volume_id.clone());
        let a = killed_during(plugin, async move { client.unstage(&id).await }, moment).await;
        a.unstage(&volume.volume_id).await.unwrap();
        assert!(loops_below(plugin.root()).is_empty(), "after {moment} ms");
        a.detach(&volume.volume_id).await.unwrap();
        assert_holds(&a.up(&volume, &usage).await, moment, LENGTH);
        a.down(&volume).await;
    }
    plugin.a().delete(&volume.volume_id).await.unwrap();
}

async fn a_kill_while_creating_leaves_a_whole_volume_or_none(plugin: &Plugin) {
    let usage = plugin.usage();
    let a = plugin.a();
    let length = 24 << 20;
    let source = a.create("source", plugin.sizes().fit(32 * MIB), &usage).await;
    write(&a.up(&source, &usage).await, &pattern(1, length)).unwrap();
    a.down(&source).await;
    for (number, moment) in inside::some(MOMENTS).enumerate() {
        let client = plugin.a();
        let request = csi::CreateVolumeRequest {
            // What is set aside takes time, too.
            parameters: if plugin.has(Need::Thick) { map([("provisioning", "thick")]) } else { map([]) },
            ..clone_request(&format!("clone-{number}"), plugin.sizes().fit(32 * MIB), &usage, &source.volume_id)
        };
        let (call, again) = (request.clone(), request);
        let a = killed_during(plugin, async move { client.try_create(call).await.map(drop) }, moment).await;
        let clone = a.try_create(again).await.unwrap();
        assert_holds(&a.up(&clone, &usage).await, 1, length);
        a.down(&clone).await;
        a.delete(&clone.volume_id).await.unwrap();
        if plugin.has(Need::Kept) {
            // What was half made is swept, without anybody asking.
            let new = plugin.root().join("new");
            until("an empty folder of new objects", || {
                std::fs::read_dir(&new).unwrap().all(|entry| entry.unwrap().file_name() == "lock").then_some(())
            });
        }
    }
    plugin.a().delete(&source.volume_id).await.unwrap();
}

async fn a_kill_while_cutting_lets_the_filesystem_write_again(plugin: &Plugin) {
    let usage = plugin.usage();
    let a = plugin.a();
    let volume = a.create("one", plugin.sizes().fit(32 * MIB), &usage).await;
    let target = a.up(&volume, &usage).await;
    for (number, moment) in inside::some(MOMENTS).enumerate() {
        let (name, id) = (format!("snapshot-{number}"), volume.volume_id.clone());
        let (client, call) = (plugin.a(), (name.clone(), id.clone()));
        write_through(&target, &pattern(moment, 16 << 20)).unwrap();
        let a = killed_during(plugin, async move { client.snapshot(&call.0, &call.1).await.map(drop) }, moment).await;
        // A frozen filesystem would stop the workload for good.
        let (path, bytes) = (target.clone(), pattern(moment + 1, 16 << 20));
        let written = tokio::task::spawn_blocking(move || write_through(&path, &bytes).unwrap());
        let timely = tokio::time::timeout(Duration::from_secs(20), written).await;
        timely.unwrap_or_else(|_| panic!("the filesystem is frozen, killed after {moment} ms")).unwrap();
        assert_holds(&target, moment + 1, 16 << 20);
        let snapshot = a.snapshot(&name, &id).await.unwrap();
        a.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
    }
    let a = plugin.a();
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_kill_of_one_node_is_nothing_to_the_other(plugin: &Plugin) {
    let (a, b, usage) = (plugin.a(), plugin.b().await, plugin.usage());
    let (here, there) = (a.create("here", plugin.small(), &usage).await, a.create("there", plugin.small(), &usage).await);
    let (target_here, target_there) = (a.up(&here, &usage).await, b.up(&there, &usage).await);
    plugin.kill(NODE_A).await;
    write(&target_there, &pattern(2, LENGTH)).unwrap();
    write(&target_here, &pattern(1, LENGTH)).unwrap();
    if plugin.has(Need::Guarded) {
        // The other one manages everything, but does not take the volume away from a node that still has it in use.
        refused(b.detach_from(&here.volume_id, a.node_id()).await, Code::FailedPrecondition, &[a.node_id()]);
    }
    refused(b.attach(&here, &usage).await, Code::FailedPrecondition, &[a.node_id()]);
    b.down(&there).await;
    assert_holds(&b.up(&there, &usage).await, 2, LENGTH);
    b.down(&there).await;
    let a = plugin.restart().await;
    assert_eq!(b.holders(&here.volume_id).await, [a.node_id()]);
    assert!(b.holders(&there.volume_id).await.is_empty());
    a.down(&here).await;
    assert_holds(&b.up(&here, &usage).await, 1, LENGTH);
    b.down(&here).await;
    for volume in [here, there] {
        b.delete(&volume.volume_id).await.unwrap();
    }
}
