//! What a plugin says of a volume that is not well.

use std::path::Path;

use hawser_proto::csi;
use hawser_tests::client::{Client, POD, text};
use hawser_tests::{MIB, Usage};
use tonic::Status;

use crate::world::World;

/// The condition of a volume at a path.
pub async fn condition(client: &Client, volume: &str, path: &Path) -> Result<csi::VolumeCondition, Status> {
    let request = csi::NodeGetVolumeStatsRequest { volume_id: volume.to_owned(), volume_path: text(path), ..Default::default() };
    Ok(client.node().node_get_volume_stats(request).await?.into_inner().volume_condition.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_vanished_on_the_server_is_stale_and_goes() {
    let world = World::new(["n1"], "").await;
    let machine = &world.nodes[0];
    let (client, usage) = (machine.plugin.client(), Usage::mount());
    let volume = client.create("v", 64 * MIB, &usage).await;
    let id = volume.volume_id.as_str();
    let target = client.up(&volume, &usage).await;
    assert!(!condition(&client, id, &target).await.unwrap().abnormal);
    let path = text(&target);
    machine.node.shell(&format!("echo x > {path}/file; sync {path}/file"));
    let tree = text(&world.server.tree("data"));
    world.server.node().shell(&format!("rm -r {tree}/.hawser/volumes/*/data-*"));
    let said = condition(&client, id, &target).await.unwrap();
    assert!(said.abnormal && said.message.contains("does not know volume"), "{said:?}");
    let request = csi::NodeGetVolumeHealthRequest { volume_id: id.to_owned(), volume_publish_path: path, ..Default::default() };
    let health = client.node().node_get_volume_health(request).await.unwrap().into_inner().volume_health.unwrap();
    assert_eq!(health.health_statuses[0].reason, "Stale", "{health:?}");
    let request = csi::ControllerGetVolumeRequest { volume_id: id.to_owned() };
    let status = client.controller().controller_get_volume(request).await.unwrap().into_inner().status.unwrap();
    let condition = status.volume_condition.unwrap();
    assert!(condition.abnormal && condition.message.contains("missing"), "{condition:?}");
    // It is no longer of any use, and must not stay for ever.
    client.unpublish(id, POD).await.unwrap();
    client.unstage(id).await.unwrap();
    client.detach(id).await.unwrap();
    client.delete(id).await.unwrap();
    assert_eq!(machine.node.shell("grep -c nfs4 /proc/self/mountinfo || true").trim(), "0");
}
