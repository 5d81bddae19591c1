//! Bytes: what was written is there, whatever the volume goes through, and what must not be written is not.

use hawser_proto::csi::volume_capability::access_mode::Mode;

use tonic::Code;

use crate::client::POD;
use crate::content::{assert_holds, assert_read_only, pattern, write};
use crate::plugin::Plugin;
use crate::refusal::refused;

super::table! {
    data_survives_being_published_again: [],
    data_survives_being_staged_again: [],
    data_moves_with_the_volume_from_node_to_node: [],
    a_reader_cannot_write: [Mount],
    a_device_attached_for_reading_cannot_be_written: [Block, ReadOnly],
    a_device_attached_for_writing_is_not_published_for_reading: [Block],
    what_is_attached_for_reading_cannot_be_written: [ReadOnly],
    a_mode_for_readers_is_read_only: [ReadOnly],
    a_mode_for_readers_on_many_nodes_is_read_only: [Readers],
    a_mode_for_readers_mounts_read_only: [Mount],
    two_nodes_read_at_one_time: [Readers, Together],
    two_nodes_write_at_one_time: [Shared],
    volumes_do_not_see_each_other: [],
}

const LENGTH: usize = 5 << 20;

async fn data_survives_being_published_again(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    a.stage(&volume, &context, &usage).await.unwrap();
    for round in 0..3 {
        let target = a.publish(&volume, &context, &usage, POD).await.unwrap();
        if round > 0 {
            assert_holds(&target, round - 1, LENGTH);
        }
        write(&target, &pattern(round, LENGTH)).unwrap();
        a.unpublish(&volume.volume_id, POD).await.unwrap();
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn data_survives_being_staged_again(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    for round in 0..3 {
        let target = a.up(&volume, &usage).await;
        if round > 0 {
            assert_holds(&target, round - 1, LENGTH);
        }
        // Nobody asks for a flush: that it reaches the volume is the plugin's duty.
        write(&target, &pattern(round, LENGTH)).unwrap();
        a.down(&volume).await;
    }
    a.delete(&volume.volume_id).await.unwrap();
}

async fn data_moves_with_the_volume_from_node_to_node(plugin: &Plugin) {
    let nodes = [plugin.a(), plugin.b().await];
    let usage = plugin.usage();
    let volume = nodes[0].create("one", plugin.small(), &usage).await;
    for round in 0..4 {
        let node = &nodes[usize::try_from(round % 2).unwrap()];
        let target = node.up(&volume, &usage).await;
        if round > 0 {
            assert_holds(&target, round - 1, LENGTH);
        }
        write(&target, &pattern(round, LENGTH)).unwrap();
        node.down(&volume).await;
    }
    nodes[0].delete(&volume.volume_id).await.unwrap();
}

/// A volume that holds the pattern of seed 1.
async fn written(plugin: &Plugin) -> hawser_proto::csi::Volume {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    write(&a.up(&volume, &usage).await, &pattern(1, LENGTH)).unwrap();
    a.down(&volume).await;
    volume
}

async fn a_reader_cannot_write(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = written(plugin).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    a.stage(&volume, &context, &usage).await.unwrap();
    let target = a.publish(&volume, &context, &usage.readonly(), POD).await.unwrap();
    assert_read_only(&target);
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_device_attached_for_reading_cannot_be_written(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage().readonly());
    let volume = written(plugin).await;
    let target = a.up(&volume, &usage).await;
    assert_read_only(&target);
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    // The device that is bound next is not read-only any more.
    write(&a.up(&volume, &plugin.usage()).await, &pattern(2, LENGTH)).unwrap();
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

/// A read-only mount of a device's node does not keep anybody from writing to the device.
async fn a_device_attached_for_writing_is_not_published_for_reading(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = written(plugin).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    a.stage(&volume, &context, &usage).await.unwrap();
    refused(a.publish(&volume, &context, &usage.readonly(), POD).await, Code::FailedPrecondition, &["read-only"]);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn what_is_attached_for_reading_cannot_be_written(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = written(plugin).await;
    let context = a.attach(&volume, &usage.clone().readonly()).await.unwrap();
    a.stage(&volume, &context, &usage).await.unwrap();
    // Whoever publishes it without saying so does not get more than the controller gave.
    let target = a.publish(&volume, &context, &usage, POD).await.unwrap();
    assert_read_only(&target);
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    assert_holds(&a.up(&volume, &usage).await, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_mode_for_readers_is_read_only(plugin: &Plugin) {
    mode_for_readers(plugin, Mode::SingleNodeReaderOnly).await;
}

async fn a_mode_for_readers_on_many_nodes_is_read_only(plugin: &Plugin) {
    mode_for_readers(plugin, Mode::MultiNodeReaderOnly).await;
}

async fn a_mode_for_readers_mounts_read_only(plugin: &Plugin) {
    mode_for_readers(plugin, Mode::SingleNodeReaderOnly).await;
}

async fn mode_for_readers(plugin: &Plugin, mode: Mode) {
    let a = plugin.a();
    let volume = written(plugin).await;
    let target = a.up(&volume, &plugin.usage().mode(mode)).await;
    assert_read_only(&target);
    assert_holds(&target, 1, LENGTH);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn two_nodes_read_at_one_time(plugin: &Plugin) {
    let (a, b) = (plugin.a(), plugin.b().await);
    let volume = written(plugin).await;
    let usage = plugin.usage().mode(Mode::MultiNodeReaderOnly);
    let (there, here) = (b.up(&volume, &usage).await, a.up(&volume, &usage).await);
    for target in [&there, &here] {
        assert_read_only(target);
        assert_holds(target, 1, LENGTH);
    }
    // One of them leaves; the other one goes on reading.
    a.down(&volume).await;
    assert_holds(&there, 1, LENGTH);
    b.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn two_nodes_write_at_one_time(plugin: &Plugin) {
    let (a, b) = (plugin.a(), plugin.b().await);
    let usage = plugin.usage().mode(Mode::MultiNodeMultiWriter);
    let volume = a.create("one", plugin.small(), &usage).await;
    let (here, there) = (a.up(&volume, &usage).await, b.up(&volume, &usage).await);
    write(&here, &pattern(1, LENGTH)).unwrap();
    assert_holds(&there, 1, LENGTH);
    write(&there, &pattern(2, LENGTH)).unwrap();
    assert_holds(&here, 2, LENGTH);
    a.down(&volume).await;
    assert_holds(&there, 2, LENGTH);
    b.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn volumes_do_not_see_each_other(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let mut volumes = Vec::new();
    for number in 0..4 {
        let volume = a.create(&format!("volume-{number}"), plugin.small(), &usage).await;
        let target = a.up(&volume, &usage).await;
        write(&target, &pattern(number, LENGTH)).unwrap();
        volumes.push((number, volume, target));
    }
    // One that goes takes nothing of the others with it.
    let (_, gone, _) = volumes.remove(1);
    a.down(&gone).await;
    a.delete(&gone.volume_id).await.unwrap();
    for (number, volume, target) in volumes {
        assert_holds(&target, number, LENGTH);
        a.down(&volume).await;
        assert_holds(&a.up(&volume, &usage).await, number, LENGTH);
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}
