//! ControllerModifyVolume: all of it or nothing.

use std::os::unix::fs::MetadataExt;

use hawser_proto::csi;
use tonic::{Code, Status};

use super::SMALL;
use crate::client::{Client, POD, create_request, map};
use crate::content::{assert_holds, pattern, write_through};
use crate::plugin::Plugin;
use crate::refusal::refused;

super::table! {
    a_thin_volume_becomes_thick_and_keeps_its_data: [Modify],
    a_mistake_changes_nothing: [Modify],
    mutable_parameters_count_when_a_volume_is_made: [Modify],
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
    let volume = a.create("one", SMALL, &usage).await;
    let target = a.up(&volume, &usage).await;
    write_through(&target, &pattern(1, 1 << 20)).unwrap();
    assert!(taken(plugin, &volume) < SMALL);
    for _ in 0..2 {
        modify(&a, &volume, [("provisioning", "thick")]).await.unwrap();
        assert!(taken(plugin, &volume) >= SMALL);
        assert_holds(&target, 1, 1 << 20);
    }
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    assert_holds(&a.up(&volume, &usage).await, 1, 1 << 20);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_mistake_changes_nothing(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", SMALL, &plugin.usage()).await;
    refused(modify(&a, &volume, [("provisioning", "thick"), ("flavour", "x")]).await, Code::InvalidArgument, &["flavour"]);
    refused(modify(&a, &volume, [("provisioning", "fat")]).await, Code::InvalidArgument, &["provisioning"]);
    refused(modify(&a, &volume, [("blockSize", "4096")]).await, Code::InvalidArgument, &["blockSize"]);
    assert_eq!(taken(plugin, &volume), 0);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn mutable_parameters_count_when_a_volume_is_made(plugin: &Plugin) {
    let a = plugin.a();
    let request = csi::CreateVolumeRequest {
        mutable_parameters: map([("provisioning", "thick")]),
        ..create_request("one", SMALL, &plugin.usage())
    };
    let volume = a.try_create(request.clone()).await.unwrap();
    assert!(taken(plugin, &volume) >= SMALL);
    let contradiction = csi::CreateVolumeRequest { parameters: map([("provisioning", "thin")]), ..request.clone() };
    refused(a.try_create(contradiction).await, Code::InvalidArgument, &["provisioning"]);
    let unknown = csi::CreateVolumeRequest { name: "two".to_owned(), mutable_parameters: map([("flavour", "x")]), ..request };
    refused(a.try_create(unknown).await, Code::InvalidArgument, &["flavour"]);
    a.delete(&volume.volume_id).await.unwrap();
}
