//! CreateVolume and DeleteVolume: one name is one volume.

use std::os::unix::fs::MetadataExt;

use hawser_proto::csi;
use tonic::Code;

use crate::MIB;
use crate::client::{at_least, capitalized, clone_request, create_request, map, restore_request};
use crate::content::size;
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::usage::Usage;

super::table! {
    the_same_name_is_the_same_volume: [],
    what_a_co_adds_for_itself_makes_no_other_volume: [],
    the_same_name_with_another_size_exists_already: [],
    the_same_name_with_other_parameters_exists_already: [Device, Noted],
    the_same_name_with_another_source_exists_already: [Cut],
    a_size_that_fits_the_range_is_the_same_volume: [],
    a_name_is_free_again_when_its_volume_is_gone: [],
    a_volume_has_exactly_the_size_that_was_asked_for: [Sized],
    a_volume_without_a_size_gets_one: [Measured],
    deleting_what_does_not_exist_succeeds: [],
    a_blank_volume_takes_no_space_and_a_thick_one_all_of_it: [Thick],
    a_filesystem_is_made_as_the_parameters_say: [Format],
    the_volume_that_was_refused_does_not_exist: [],
}

async fn the_same_name_is_the_same_volume(plugin: &Plugin) {
    let a = plugin.a();
    let first = a.create("one", plugin.small(), &plugin.usage()).await;
    let again = a.create("one", plugin.small(), &plugin.usage()).await;
    assert_eq!(first, again);
    let other = a.create("other", plugin.small(), &plugin.usage()).await;
    assert_ne!(first.volume_id, other.volume_id);
    assert_eq!(a.volumes().await.len(), 2);
    // The id says where the volume is, and is safe wherever a CO puts it.
    for volume in [&first, &other] {
        let native = volume.volume_id.strip_prefix("local:").unwrap();
        assert!(native.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{native}");
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn what_a_co_adds_for_itself_makes_no_other_volume(plugin: &Plugin) {
    let a = plugin.a();
    let first = a.create("one", plugin.small(), &plugin.usage()).await;
    let parameters = map([("csi.storage.k8s.io/pvc/name", "claim"), ("csi.storage.k8s.io/pv/name", "pv")]);
    let request = csi::CreateVolumeRequest { parameters, ..create_request("one", plugin.small(), &plugin.usage()) };
    assert_eq!(a.try_create(request).await.unwrap(), first);
    a.delete(&first.volume_id).await.unwrap();
}

async fn the_same_name_with_another_size_exists_already(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    for other in [plugin.small() * 2, plugin.small() / 2] {
        refused(a.try_create(create_request("one", other, &plugin.usage())).await, Code::AlreadyExists, &["one"]);
    }
    let request = csi::CreateVolumeRequest {
        capacity_range: Some(at_least(plugin.small() + 1)),
        ..create_request("one", 0, &plugin.usage())
    };
    refused(a.try_create(request).await, Code::AlreadyExists, &["one"]);
    assert_eq!(a.create("one", plugin.small(), &plugin.usage()).await, volume);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn the_same_name_with_other_parameters_exists_already(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &Usage::mount()).await;
    let [key, before, after] = plugin.change();
    for parameters in [map([(key, after)]), map([("blockSize", "1024")])] {
        let request = csi::CreateVolumeRequest { parameters, ..create_request("one", plugin.small(), &Usage::mount()) };
        refused(a.try_create(request).await, Code::AlreadyExists, &["one"]);
    }
    // What is the default may be said, and keys may be written in any case.
    let request = csi::CreateVolumeRequest {
        parameters: map([(&*capitalized(key), before)]),
        ..create_request("one", plugin.small(), &Usage::mount())
    };
    assert_eq!(a.try_create(request).await.unwrap(), volume);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn the_same_name_with_another_source_exists_already(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let source = a.create("source", plugin.small(), &usage).await;
    let other = a.create("other", plugin.small(), &usage).await;
    let snapshot = a.snapshot("snapshot", &source.volume_id).await.unwrap().snapshot_id;
    let clone = a.try_create(clone_request("clone", plugin.small(), &usage, &source.volume_id)).await.unwrap();
    assert!(clone.content_source.is_some(), "a CO deletes a volume that does not say what it was made from");
    assert_eq!(a.try_create(clone_request("clone", plugin.small(), &usage, &source.volume_id)).await.unwrap(), clone);
    for request in [
        create_request("clone", plugin.small(), &usage),
        clone_request("clone", plugin.small(), &usage, &other.volume_id),
        restore_request("clone", plugin.small(), &usage, &snapshot),
        clone_request("other", plugin.small(), &usage, &source.volume_id),
    ] {
        refused(a.try_create(request).await, Code::AlreadyExists, &["source"]);
    }
    a.delete_snapshot(&snapshot).await.unwrap();
    for volume in [source, other, clone] {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_size_that_fits_the_range_is_the_same_volume(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    for range in [at_least(plugin.small() / 2), csi::CapacityRange { required_bytes: 0, limit_bytes: plugin.small() * 2 }] {
        let request = csi::CreateVolumeRequest { capacity_range: Some(range), ..create_request("one", 0, &plugin.usage()) };
        assert_eq!(a.try_create(request).await.unwrap(), volume, "{range:?}");
    }
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_name_is_free_again_when_its_volume_is_gone(plugin: &Plugin) {
    let a = plugin.a();
    let first = a.create("one", plugin.small(), &plugin.usage()).await;
    a.delete(&first.volume_id).await.unwrap();
    let second = a.create("one", plugin.small() * 2, &plugin.usage()).await;
    assert_ne!(first.volume_id, second.volume_id, "a late call for the old volume would hit the new one");
    // Late calls for the old volume do nothing to the new one.
    a.delete(&first.volume_id).await.unwrap();
    refused(a.attach(&first, &plugin.usage()).await, Code::NotFound, &[&first.volume_id]);
    assert_eq!(a.volumes().await.len(), 1);
    a.delete(&second.volume_id).await.unwrap();
}

async fn a_volume_has_exactly_the_size_that_was_asked_for(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), Usage::block());
    for bytes in [plugin.small(), plugin.small() + plugin.sizes().step, plugin.sizes().fit(37 * MIB)] {
        let volume = a.create(&format!("of-{bytes}"), bytes, &usage).await;
        assert_eq!(volume.capacity_bytes, bytes);
        let device = a.up(&volume, &usage).await;
        assert_eq!(i64::try_from(size(&device)).unwrap(), bytes);
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_volume_without_a_size_gets_one(plugin: &Plugin) {
    let a = plugin.a();
    let request = csi::CreateVolumeRequest { capacity_range: None, ..create_request("one", 0, &plugin.usage()) };
    let volume = a.try_create(request.clone()).await.unwrap();
    assert!(volume.capacity_bytes > 0);
    assert_eq!(a.try_create(request).await.unwrap(), volume);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn deleting_what_does_not_exist_succeeds(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    for _ in 0..3 {
        a.delete(&volume.volume_id).await.unwrap();
    }
    for id in ["never-made", "local:never-made", "local:00000000000000000000000000000000-00000000"] {
        a.delete(id).await.unwrap();
        a.delete_snapshot(id).await.unwrap();
    }
}

async fn a_blank_volume_takes_no_space_and_a_thick_one_all_of_it(plugin: &Plugin) {
    let a = plugin.a();
    let taken = |volume: &csi::Volume| {
        let digest = volume.volume_id.strip_prefix("local:").unwrap().split('-').next().unwrap();
        let image = plugin.root().join("volumes").join(digest).join("image");
        i64::try_from(std::fs::metadata(image).unwrap().blocks() * 512).unwrap()
    };
    let thin = a.create("thin", plugin.small(), &plugin.usage()).await;
    assert_eq!(taken(&thin), 0);
    let request = csi::CreateVolumeRequest {
        parameters: map([("provisioning", "thick")]),
        ..create_request("thick", plugin.small(), &plugin.usage())
    };
    let thick = a.try_create(request).await.unwrap();
    assert!(taken(&thick) >= plugin.small(), "{} of {} bytes are set aside", taken(&thick), plugin.small());
    // Blocks that are set aside are still blank: the volume can be formatted.
    a.up(&thick, &plugin.usage()).await;
    a.down(&thick).await;
    for volume in [thin, thick] {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_filesystem_is_made_as_the_parameters_say(plugin: &Plugin) {
    let a = plugin.a();
    // Each group of blocks has some.
    let inodes = 4096.max(plugin.small() >> 20);
    let parameters = map([("blockSize", "1024"), ("numberOfInodes", &*inodes.to_string())]);
    let request = csi::CreateVolumeRequest { parameters, ..create_request("small-blocks", plugin.small(), &Usage::mount()) };
    let volume = a.try_create(request).await.unwrap();
    let target = a.up(&volume, &Usage::mount()).await;
    let space = rustix::fs::statvfs(&target).unwrap();
    assert_eq!((space.f_frsize, space.f_files), (1024, inodes.cast_unsigned()));
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
    // What this filesystem cannot meet is refused when the volume is made, not when it is first mounted.
    let parameters = map([("numberOfInodes", "4096")]);
    let request = csi::CreateVolumeRequest {
        parameters,
        ..create_request("xfs", plugin.sizes().fit(320 * MIB), &Usage::mount().filesystem("xfs"))
    };
    refused(a.try_create(request).await, Code::InvalidArgument, &["numberOfInodes", "xfs"]);
}

async fn the_volume_that_was_refused_does_not_exist(plugin: &Plugin) {
    let a = plugin.a();
    let request = csi::CreateVolumeRequest {
        parameters: map([("backend", "elsewhere")]),
        ..create_request("one", plugin.small(), &plugin.usage())
    };
    refused(a.try_create(request).await, Code::InvalidArgument, &["elsewhere", "local"]);
    assert!(a.volumes().await.is_empty());
    assert!(plugin.leftovers().is_empty(), "{:?}", plugin.leftovers());
}
