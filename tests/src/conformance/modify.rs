//! ControllerModifyVolume: all of it or nothing.

use std::os::unix::fs::MetadataExt;

use hawser_proto::csi;
use tonic::{Code, Status};

use super::Need;
use crate::client::{Client, POD, create_request, map};
use crate::content::{assert_holds, pattern, write_through};
use crate::plugin::Plugin;
use crate::refusal::refused;

super::table! {
    a_thin_volume_becomes_thick_and_keeps_its_data: [Thick],
    a_change_keeps_the_data: [Modify],
    a_mistake_changes_nothing: [Modify],
    mutable_parameters_count_when_a_volume_is_made: [Modify],
    mutable_parameters_take_precedence_when_a_volume_is_made: [Modify],
}

async fn modify<const N: usize>(a: &Client, volume: &csi::Volume, parameters: [(&str, &str); N]) -> Result<(), Status> {
    let request = csi::ControllerModifyVolumeRequest {
        volume_id: volume.volume_id.clone(),
        mutable_parameters: map(parameters),
        ..Default::default()
    };
    a.controller().controller_modify_volume(request).await.map(drop)
}

fn taken(plugin: &Plugin, volume: &csi::Volume) -> i64 {
    let digest = volume.volume_id.strip_prefix("local:").unwrap().split('-').next().unwrap();
    let image = plugin.root().join("volumes").join(digest).join("image");
    i64::try_from(std::fs::metadata(image).unwrap().blocks() * 512).unwrap()
}

async fn a_thin_volume_becomes_thick_and_keeps_its_data(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write_through(&target, &pattern(1, 1 << 20)).unwrap();
    assert!(taken(plugin, &volume) < plugin.small());
    for _ in 0..2 {
        modify(&a, &volume, [("provisioning", "thick")]).await.unwrap();
        assert!(taken(plugin, &volume) >= plugin.small());
        assert_holds(&target, 1, 1 << 20);
    }
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    assert_holds(&a.up(&volume, &usage).await, 1, 1 << 20);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_change_keeps_the_data(plugin: &Plugin) {
    let (a, usage, [key, before, after]) = (plugin.a(), plugin.usage(), plugin.change());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    write_through(&target, &pattern(1, 1 << 20)).unwrap();
    // What it is already is no change; what was changed is so when it is asked for again.
    for value in [before, after, after] {
        modify(&a, &volume, [(key, value)]).await.unwrap();
        assert_holds(&target, 1, 1 << 20);
    }
    a.down(&volume).await;
    assert_holds(&a.up(&volume, &usage).await, 1, 1 << 20);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_mistake_changes_nothing(plugin: &Plugin) {
    let (a, [key, _, after]) = (plugin.a(), plugin.change());
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    refused(modify(&a, &volume, [(key, after), ("flavour", "x")]).await, Code::InvalidArgument, &["flavour"]);
    refused(modify(&a, &volume, [(key, "fat")]).await, Code::InvalidArgument, &[key]);
    refused(modify(&a, &volume, [("blockSize", "4096")]).await, Code::InvalidArgument, &["blockSize"]);
    if plugin.has(Need::Thick) {
        assert_eq!(taken(plugin, &volume), 0);
    }
    a.delete(&volume.volume_id).await.unwrap();
}

fn with_mutable(plugin: &Plugin, name: &str, key: &str, value: &str) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest { mutable_parameters: map([(key, value)]), ..create_request(name, plugin.small(), &plugin.usage()) }
}

async fn mutable_parameters_count_when_a_volume_is_made(plugin: &Plugin) {
    let (a, [key, before, after]) = (plugin.a(), plugin.change());
    let volume = a.try_create(with_mutable(plugin, "one", key, after)).await.unwrap();
    if plugin.has(Need::Thick) {
        assert!(taken(plugin, &volume) >= plugin.small());
    }
    refused(a.try_create(with_mutable(plugin, "one", key, before)).await, Code::AlreadyExists, &["one"]);
    refused(a.try_create(with_mutable(plugin, "two", "flavour", "x")).await, Code::InvalidArgument, &["flavour"]);
    a.delete(&volume.volume_id).await.unwrap();
}

/// CSI spec, CreateVolumeRequest: "Plugins MUST treat these as if they take precedence over the parameters field."
async fn mutable_parameters_take_precedence_when_a_volume_is_made(plugin: &Plugin) {
    let (a, [key, before, after]) = (plugin.a(), plugin.change());
    let contradicting =
        |value| csi::CreateVolumeRequest { parameters: map([(key, value)]), ..with_mutable(plugin, "one", key, after) };
    let volume = a.try_create(contradicting(before)).await.unwrap();
    if plugin.has(Need::Thick) {
        assert!(taken(plugin, &volume) >= plugin.small());
    }
    // Which of them is not said by the other is no matter.
    assert_eq!(a.try_create(with_mutable(plugin, "one", key, after)).await.unwrap(), volume);
    assert_eq!(a.try_create(contradicting("fat")).await.unwrap(), volume);
    // Keys are the same in any case.
    let shouted = csi::CreateVolumeRequest {
        parameters: map([(key.to_uppercase().as_str(), before)]),
        ..with_mutable(plugin, "one", key, after)
    };
    assert_eq!(a.try_create(shouted).await.unwrap(), volume);
    a.delete(&volume.volume_id).await.unwrap();
}
