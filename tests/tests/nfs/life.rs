//! The life of a volume.

use hawser_proto::csi::volume_capability::access_mode::Mode;
use hawser_tests::client::{POD, text};
use hawser_tests::{MIB, Usage};
use tonic::Code;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_written_moved_and_removed() {
    let world = World::new(["n1", "n2"], "").await;
    let [one, two] = &world.nodes[..] else { panic!("two nodes") };
    let (a, b) = (one.plugin.client(), two.plugin.client());
    let usage = Usage::mount();
    let volume = a.create("v", 64 * MIB, &usage).await;
    // Nothing enforces a size here, and the spec's word for that is zero.
    assert_eq!(volume.capacity_bytes, 0);
    assert_eq!(b.create("v", 64 * MIB, &usage).await, volume);
    let target = text(&a.up(&volume, &usage).await);
    one.node.shell(&format!("echo hello > {target}/letter; sync {target}/letter"));
    let refused = b.attach(&volume, &usage).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("n1"), "{refused}");
    let refused = b.stage(&volume, &Default::default(), &usage).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("n1"), "{refused}");
    a.down(&volume).await;
    let target = text(&b.up(&volume, &usage).await);
    assert_eq!(two.node.run(["cat", &format!("{target}/letter")]).well().trim(), "hello");
    b.down(&volume).await;
    for machine in &world.nodes {
        let mounts = machine.node.shell("grep -c nfs4 /proc/self/mountinfo || true");
        assert_eq!(mounts.trim(), "0", "{}", machine.plugin.tail());
    }
    b.delete(&volume.volume_id).await.unwrap();
    assert!(a.volumes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_see_what_each_other_writes() {
    let world = World::new(["n1", "n2"], "").await;
    let usage = Usage::mount().mode(Mode::MultiNodeMultiWriter);
    let client = world.nodes[0].plugin.client();
    let volume = client.create("shared", 64 * MIB, &usage).await;
    let mut targets = Vec::new();
    for machine in &world.nodes {
        targets.push(text(&machine.plugin.client().up(&volume, &usage).await));
    }
    for (n, machine) in world.nodes.iter().enumerate() {
        machine.node.shell(&format!("echo from {n} > {}/from-{n}", targets[n]));
    }
    for (n, machine) in world.nodes.iter().enumerate() {
        let other = 1 - n;
        let seen = machine.node.run(["cat", &format!("{}/from-{other}", targets[n])]).well();
        assert_eq!(seen.trim(), format!("from {other}"));
    }
    for machine in &world.nodes {
        machine.plugin.client().down(&volume).await;
    }
    client.delete(&volume.volume_id).await.unwrap();
    assert_eq!(POD, "pod");
}
