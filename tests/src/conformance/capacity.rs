//! What is promised is counted, and what cannot be kept is not promised.

use hawser_proto::csi;
use tonic::Code;

use crate::MIB;
use crate::client::{Client, at_least, create_request, exactly, map};
use crate::plugin::Plugin;
use crate::refusal::refused;

super::table! {
    capacity_goes_down_with_a_volume_and_comes_back_with_it: [Counted],
    what_cannot_be_kept_is_not_promised: [Counted],
    overcommitment_is_for_those_who_ask_for_it: [Counted],
    an_expansion_beyond_the_capacity_is_refused: [Counted],
    there_is_no_capacity_elsewhere_or_for_what_is_impossible: [Placed, Room],
    the_largest_volume_that_is_announced_can_be_made: [Counted],
}

async fn available(a: &Client) -> i64 {
    a.controller().get_capacity(csi::GetCapacityRequest::default()).await.unwrap().into_inner().available_capacity
}

async fn limited(plugin: &Plugin, capacity: &'static str, overcommit: &'static str) -> Client {
    plugin.reconfigure(|settings| (settings.capacity, settings.overcommit) = (Some(capacity), overcommit)).await
}

async fn capacity_goes_down_with_a_volume_and_comes_back_with_it(plugin: &Plugin) {
    let a = limited(plugin, "1GiB", "1.0").await;
    assert_eq!(available(&a).await, 1024 * MIB);
    let volume = a.create("one", 64 * MIB, &plugin.usage()).await;
    assert_eq!(available(&a).await, 960 * MIB);
    a.expand(&volume.volume_id, exactly(100 * MIB)).await.unwrap();
    assert_eq!(available(&a).await, 924 * MIB);
    a.delete(&volume.volume_id).await.unwrap();
    assert_eq!(available(&a).await, 1024 * MIB);
}

async fn what_cannot_be_kept_is_not_promised(plugin: &Plugin) {
    let a = limited(plugin, "100MiB", "1.0").await;
    let volume = a.create("one", 64 * MIB, &plugin.usage()).await;
    refused(a.try_create(create_request("two", 64 * MIB, &plugin.usage())).await, Code::ResourceExhausted, &["36MiB", "64MiB"]);
    assert_eq!(a.volumes().await.len(), 1);
    assert_eq!(available(&a).await, 36 * MIB, "what was refused is not counted");
    let fits = a.create("two", 36 * MIB, &plugin.usage()).await;
    assert_eq!(available(&a).await, 0);
    for volume in [volume, fits] {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn overcommitment_is_for_those_who_ask_for_it(plugin: &Plugin) {
    let a = limited(plugin, "100MiB", "2.0").await;
    let one = a.create("one", 100 * MIB, &plugin.usage()).await;
    let two = a.create("two", 100 * MIB, &plugin.usage()).await;
    refused(
        a.try_create(create_request("three", plugin.small(), &plugin.usage())).await,
        Code::ResourceExhausted,
        &["overcommit"],
    );
    for volume in [one, two] {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn an_expansion_beyond_the_capacity_is_refused(plugin: &Plugin) {
    let a = limited(plugin, "100MiB", "1.0").await;
    let volume = a.create("one", 64 * MIB, &plugin.usage()).await;
    refused(a.expand(&volume.volume_id, at_least(101 * MIB)).await, Code::ResourceExhausted, &[]);
    assert_eq!(a.volumes().await[0].volume.as_ref().unwrap().capacity_bytes, 64 * MIB);
    assert_eq!(a.expand(&volume.volume_id, at_least(100 * MIB)).await.unwrap().capacity_bytes, 100 * MIB);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn there_is_no_capacity_elsewhere_or_for_what_is_impossible(plugin: &Plugin) {
    let a = plugin.a();
    assert!(available(&a).await > 0);
    let elsewhere = csi::Topology { segments: map([("csi.hawser.dev/local", "elsewhere")]) };
    let request = csi::GetCapacityRequest { accessible_topology: Some(elsewhere), ..Default::default() };
    assert_eq!(a.controller().get_capacity(request).await.unwrap().into_inner().available_capacity, 0);
    let request = csi::GetCapacityRequest { parameters: map([("backend", "elsewhere")]), ..Default::default() };
    refused(a.controller().get_capacity(request).await, Code::InvalidArgument, &["elsewhere"]);
}

async fn the_largest_volume_that_is_announced_can_be_made(plugin: &Plugin) {
    let a = limited(plugin, "300MiB", "1.0").await;
    let answer = a.controller().get_capacity(csi::GetCapacityRequest::default()).await.unwrap().into_inner();
    let largest = answer.maximum_volume_size.unwrap();
    let volume = a.create("largest", largest, &plugin.usage()).await;
    a.delete(&volume.volume_id).await.unwrap();
    refused(a.try_create(create_request("larger", largest + 4096, &plugin.usage())).await, Code::ResourceExhausted, &[]);
}
