//! ControllerPublishVolume and its opposite: who has a volume.

use std::collections::BTreeMap;

use hawser_proto::csi::volume_capability::access_mode::Mode;
use tonic::Code;

use super::Need;
use crate::client::POD;
use crate::content::{assert_holds, pattern, write};
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::usage::Usage;

super::table! {
    the_same_attachment_again_is_the_same: [],
    another_attachment_to_the_same_node_exists_already: [Granted],
    another_node_is_told_who_has_the_volume: [],
    an_unknown_node_is_not_found: [],
    a_node_takes_no_more_than_its_limit: [Limited],
    taking_away_what_is_not_there_succeeds: [],
    an_empty_node_id_means_every_node: [Readers],
    a_volume_that_is_staged_is_not_taken_away: [Guarded],
    a_volume_that_is_attached_is_not_deleted: [],
    a_node_cannot_take_what_was_not_given_to_it: [Granted],
    the_context_of_an_attachment_that_has_ended_is_refused: [Granted],
    a_mode_that_the_backend_lacks_is_refused: [Device, Single],
    a_device_that_is_attached_raw_is_not_attached_mounted: [Device, Granted],
}

async fn the_same_attachment_again_is_the_same(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    for _ in 0..3 {
        assert_eq!(a.attach(&volume, &usage).await.unwrap(), context);
    }
    assert_eq!(a.holders(&volume.volume_id).await, [a.node_id()]);
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
}

async fn another_attachment_to_the_same_node_exists_already(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    let others =
        [usage.clone().readonly(), usage.clone().mode(Mode::SingleNodeReaderOnly), usage.clone().mode(Mode::MultiNodeReaderOnly)];
    for other in others {
        refused(a.attach(&volume, &other).await, Code::AlreadyExists, &[a.node_id()]);
    }
    assert_eq!(a.attach(&volume, &usage).await.unwrap(), context);
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
}

async fn another_node_is_told_who_has_the_volume(plugin: &Plugin) {
    let (a, b) = (plugin.a(), plugin.b().await);
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    for mode in [Mode::SingleNodeWriter, Mode::SingleNodeReaderOnly, Mode::SingleNodeSingleWriter, Mode::SingleNodeMultiWriter] {
        let usage = plugin.usage().mode(mode);
        a.attach(&volume, &usage).await.unwrap();
        refused(b.attach(&volume, &usage).await, Code::FailedPrecondition, &[a.node_id()]);
        // A storage system that knows no more than who may write cannot tell one reader from the first of many.
        let is_known = mode != Mode::SingleNodeReaderOnly || plugin.has(Need::Granted);
        if plugin.has(Need::Readers) && is_known {
            // Whoever wants it for many nodes has to wait for the one, too.
            let many = plugin.usage().mode(Mode::MultiNodeReaderOnly);
            refused(b.attach(&volume, &many).await, Code::FailedPrecondition, &[a.node_id()]);
        }
        assert_eq!(a.holders(&volume.volume_id).await, [a.node_id()]);
        a.detach(&volume.volume_id).await.unwrap();
        b.attach(&volume, &usage).await.unwrap();
        refused(a.attach(&volume, &usage).await, Code::FailedPrecondition, &[b.node_id()]);
        b.detach(&volume.volume_id).await.unwrap();
    }
    a.delete(&volume.volume_id).await.unwrap();
}

async fn an_unknown_node_is_not_found(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    let mut request = a.attach_request(&volume, &plugin.usage());
    for (node, code) in [
        ("node-of-nobody", Code::NotFound),
        ("../node-a", Code::NotFound),
        ("", Code::InvalidArgument),
        (&*"n".repeat(257), Code::InvalidArgument),
    ] {
        request.node_id = node.to_owned();
        refused(a.controller().controller_publish_volume(request.clone()).await, code, &["node"]);
    }
    assert!(a.holders(&volume.volume_id).await.is_empty());
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_node_takes_no_more_than_its_limit(plugin: &Plugin) {
    let a = plugin.reconfigure(|settings| settings.max_volumes = Some(2)).await;
    let info = a.node().node_get_info(hawser_proto::csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.max_volumes_per_node, 2);
    let usage = plugin.usage();
    let mut volumes = Vec::new();
    for name in ["one", "two", "three"] {
        volumes.push(a.create(name, plugin.small(), &usage).await);
    }
    a.attach(&volumes[0], &usage).await.unwrap();
    a.attach(&volumes[1], &usage).await.unwrap();
    refused(a.attach(&volumes[2], &usage).await, Code::ResourceExhausted, &[a.node_id(), "2"]);
    // A repetition is no third volume, another node has room, and one that goes makes room.
    a.attach(&volumes[1], &usage).await.unwrap();
    let b = plugin.b().await;
    b.attach(&volumes[2], &usage).await.unwrap();
    b.detach(&volumes[2].volume_id).await.unwrap();
    a.detach(&volumes[0].volume_id).await.unwrap();
    a.attach(&volumes[2], &usage).await.unwrap();
    for volume in volumes {
        a.detach(&volume.volume_id).await.unwrap();
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn taking_away_what_is_not_there_succeeds(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    for node in [a.node_id(), "node-of-nobody", ""] {
        a.detach_from(&volume.volume_id, node).await.unwrap();
    }
    a.attach(&volume, &usage).await.unwrap();
    a.detach_from(&volume.volume_id, "node-of-nobody").await.unwrap();
    assert_eq!(a.holders(&volume.volume_id).await, [a.node_id()], "only the node that was named loses the volume");
    for _ in 0..3 {
        a.detach(&volume.volume_id).await.unwrap();
    }
    a.delete(&volume.volume_id).await.unwrap();
    for volume in [volume.volume_id.as_str(), "local:never-made", "never-made"] {
        for node in [a.node_id(), "node-of-nobody", ""] {
            a.detach_from(volume, node).await.unwrap();
        }
    }
}

async fn an_empty_node_id_means_every_node(plugin: &Plugin) {
    let (a, b) = (plugin.a(), plugin.b().await);
    let usage = plugin.usage().mode(Mode::MultiNodeReaderOnly);
    let volume = a.create("one", plugin.small(), &usage).await;
    a.attach(&volume, &usage).await.unwrap();
    b.attach(&volume, &usage).await.unwrap();
    a.detach_from(&volume.volume_id, "").await.unwrap();
    assert!(a.holders(&volume.volume_id).await.is_empty());
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_volume_that_is_staged_is_not_taken_away(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    for node in [a.node_id(), ""] {
        refused(a.detach_from(&volume.volume_id, node).await, Code::FailedPrecondition, &[a.node_id()]);
    }
    write(&target, &pattern(1, 1 << 20)).unwrap();
    a.down(&volume).await;
    assert_holds(&a.up(&volume, &usage).await, 1, 1 << 20);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_volume_that_is_attached_is_not_deleted(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    refused(a.delete(&volume.volume_id).await, Code::FailedPrecondition, &[a.node_id()]);
    a.stage(&volume, &context, &usage).await.unwrap();
    a.publish(&volume, &context, &usage, POD).await.unwrap();
    refused(a.delete(&volume.volume_id).await, Code::FailedPrecondition, &[a.node_id()]);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_node_cannot_take_what_was_not_given_to_it(plugin: &Plugin) {
    let (a, b, usage) = (plugin.a(), plugin.b().await, plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    refused(a.stage(&volume, &BTreeMap::new(), &usage).await, Code::FailedPrecondition, &["attached"]);
    let context = a.attach(&volume, &usage).await.unwrap();
    refused(b.stage(&volume, &context, &usage).await, Code::FailedPrecondition, &[a.node_id(), b.node_id()]);
    assert!(crate::kernel::loops_below(plugin.root()).is_empty(), "a refused stage left a device");
    // A CO that lost the context may leave it out: the volume is known to be this node's.
    a.stage(&volume, &BTreeMap::new(), &usage).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
}

async fn the_context_of_an_attachment_that_has_ended_is_refused(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let old = a.attach(&volume, &usage).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    let new = a.attach(&volume, &usage).await.unwrap();
    refused(a.stage(&volume, &old, &usage).await, Code::FailedPrecondition, &[]);
    a.stage(&volume, &new, &usage).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_mode_that_the_backend_lacks_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    for mode in [Mode::MultiNodeSingleWriter, Mode::MultiNodeMultiWriter] {
        let usage = plugin.usage().mode(mode);
        let request = crate::client::create_request("two", plugin.small(), &usage);
        refused(a.try_create(request).await, Code::InvalidArgument, &[mode.as_str_name(), "SINGLE_NODE_WRITER"]);
        refused(a.attach(&volume, &usage).await, Code::InvalidArgument, &[mode.as_str_name()]);
    }
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_device_that_is_attached_raw_is_not_attached_mounted(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &Usage::mount()).await;
    for (first, second) in [(Usage::block(), Usage::mount()), (Usage::mount(), Usage::block())] {
        a.attach(&volume, &first).await.unwrap();
        refused(a.attach(&volume, &second).await, Code::AlreadyExists, &[a.node_id()]);
        a.detach(&volume.volume_id).await.unwrap();
    }
    a.delete(&volume.volume_id).await.unwrap();
}
