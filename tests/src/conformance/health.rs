//! Health: what is wrong with a volume, in the words of both spec levels.

use std::path::PathBuf;

use hawser_proto::csi;
use tonic::Code;

use crate::client::{POD, text};
use crate::plugin::Plugin;
use crate::refusal::refused;

super::table! {
    a_healthy_volume_has_no_complaint: [],
    a_volume_that_lost_its_content_says_so: [Kept],
    the_health_of_what_does_not_exist_is_not_found: [],
    the_storage_of_a_node_is_healthy: [],
}

fn content(plugin: &Plugin, volume: &csi::Volume) -> PathBuf {
    let digest = volume.volume_id.strip_prefix("local:").unwrap().split('-').next().unwrap();
    let incarnation = volume.volume_id.split_once('-').unwrap().1;
    let names = ["image".to_owned(), "data".to_owned(), format!("data-{incarnation}")];
    let folders = [plugin.root().join("volumes"), plugin.root().join(".hawser/volumes")];
    let places = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(digest).join(name)));
    places.into_iter().find(|path| path.exists()).unwrap()
}

async fn condition(plugin: &Plugin, volume: &csi::Volume) -> csi::VolumeCondition {
    let a = plugin.a();
    let request = csi::ControllerGetVolumeRequest { volume_id: volume.volume_id.clone() };
    let got = a.controller().controller_get_volume(request).await.unwrap().into_inner().status.unwrap().volume_condition.unwrap();
    let listed =
        a.volumes().await.into_iter().find(|entry| entry.volume.as_ref().unwrap().volume_id == volume.volume_id).unwrap();
    assert_eq!(listed.status.unwrap().volume_condition.unwrap(), got);
    got
}

async fn health(plugin: &Plugin, volume: &csi::Volume) -> Vec<csi::volume_health::VolumeHealthEntry> {
    let a = plugin.a();
    let request = csi::ControllerGetVolumeHealthRequest { volume_id: volume.volume_id.clone(), ..Default::default() };
    let got = a.controller().controller_get_volume_health(request).await.unwrap().into_inner().volume_health.unwrap();
    let request = csi::ControllerListVolumeHealthRequest::default();
    let listed = a.controller().controller_list_volume_health(request).await.unwrap().into_inner().entries;
    // Healthy volumes are left out of the list.
    let expected: Vec<csi::VolumeHealth> = if got.health_statuses.is_empty() { vec![] } else { vec![got.clone()] };
    assert_eq!(listed, expected);
    got.health_statuses
}

async fn a_healthy_volume_has_no_complaint(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    assert!(!condition(plugin, &volume).await.abnormal);
    assert!(health(plugin, &volume).await.is_empty());
    let target = a.up(&volume, &usage).await;
    for (volume_publish_path, staging_target_path) in
        [(text(&target), String::new()), (String::new(), text(&a.staging(&volume.volume_id)))]
    {
        let request =
            csi::NodeGetVolumeHealthRequest { volume_id: volume.volume_id.clone(), volume_publish_path, staging_target_path };
        let answer = a.node().node_get_volume_health(request).await.unwrap().into_inner().volume_health.unwrap();
        assert_eq!((answer.volume_id, answer.health_statuses), (volume.volume_id.clone(), vec![]));
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_volume_that_lost_its_content_says_so(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let (content, aside) = (content(plugin, &volume), plugin.root().join("aside"));
    std::fs::rename(&content, &aside).unwrap();
    // A volume of an export has no path on this machine but where it is in the export.
    let named = text(content.strip_prefix(plugin.root()).unwrap());
    let condition = condition(plugin, &volume).await;
    assert!(condition.abnormal && condition.message.contains(&named), "{condition:?}");
    let health = health(plugin, &volume).await;
    assert_eq!(health.len(), 1);
    assert!(!health[0].reason.is_empty() && health[0].message.contains(&named), "{health:?}");
    // It is not made again: an empty volume in its place would be a loss that nobody notices.
    let context = a.attach(&volume, &usage).await.unwrap();
    assert!(a.stage(&volume, &context, &usage).await.is_err());
    assert!(a.publish(&volume, &context, &usage, POD).await.is_err());
    assert!(!content.exists());
    std::fs::rename(&aside, &content).unwrap();
    a.up(&volume, &usage).await;
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn the_health_of_what_does_not_exist_is_not_found(plugin: &Plugin) {
    let a = plugin.a();
    let volume_id = "local:00000000000000000000000000000000-00000000".to_owned();
    let request = csi::ControllerGetVolumeHealthRequest { volume_id: volume_id.clone(), ..Default::default() };
    refused(a.controller().controller_get_volume_health(request).await, Code::NotFound, &[&volume_id]);
    let request = csi::NodeGetVolumeHealthRequest {
        volume_id: volume_id.clone(),
        volume_publish_path: text(plugin.workspace()),
        ..Default::default()
    };
    refused(a.node().node_get_volume_health(request).await, Code::NotFound, &[&volume_id]);
}

async fn the_storage_of_a_node_is_healthy(plugin: &Plugin) {
    let request = csi::NodeGetStorageHealthRequest::default();
    assert!(plugin.a().node().node_get_storage_health(request).await.unwrap().into_inner().backend_health.is_empty());
}
