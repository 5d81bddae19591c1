//! Removing a large tree: the call does not wait for it, and a crash does not lose it.

use std::time::Duration;

use hawser_tests::Usage;
use hawser_tests::client::{Client, text};
use hawser_tests::poll::until;
use hawser_tests::rig::Plugin;
use tonic::Code;

use crate::world::{World, config};

/// So many that removing them takes longer than a look and a kill.
const FILES: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_goes_on_after_each_kill() {
    let mut world = World::new(["n1"], "").await;
    let mut machine = world.nodes.pop().unwrap();
    let client = machine.plugin.client();
    let usage = Usage::mount();
    let neighbour = client.create("neighbour", 16 << 20, &usage).await;
    let path = text(&client.up(&neighbour, &usage).await);
    machine.node.shell(&format!("echo precious > {path}/file; sync {path}/file"));
    let volume = client.create("v", 16 << 20, &usage).await;
    let own = format!("{}/.hawser", text(&world.server.tree("data")));
    let incarnation = volume.volume_id.rsplit('-').next().unwrap();
    world.server.node().shell(&format!(
        "cd {own}/volumes/*/data-{incarnation}; python3 -c '
import os
for n in range({FILES}):
    d = str(n // 100)
    n % 100 or os.mkdir(d)
    os.close(os.open(d + \"/\" + str(n), os.O_CREAT | os.O_WRONLY))
os.symlink(\"/\", \"root\")'"
    ));
    let left = || {
        let count = world.server.node().shell(&format!("find {own}/trash -type f | wc -l"));
        count.trim().parse::<usize>().unwrap()
    };
    client.delete(&volume.volume_id).await.unwrap();
    let after = left();
    assert!(after > FILES / 2, "the call has waited for the removal: {after} files are left");
    let mut kills = 0;
    let mut before = FILES;
    while before > 0 && kills < 3 {
        let now = until("progress", || Some(left()).filter(|left| *left < before));
        machine.plugin.kill();
        // What a killed process had asked for may still be done.
        tokio::time::sleep(Duration::from_millis(500)).await;
        before = left();
        assert!(before <= now);
        if before == 0 {
            break;
        }
        kills += 1;
        let config = config(&world.server.export("data", "rw,sync,no_root_squash,no_subtree_check"), "");
        machine.plugin = Plugin::start(&machine.node, &config).await;
    }
    assert!(kills > 0, "it was gone before the first kill");
    until("the end of the removal", || world.server.node().shell(&format!("ls {own}/trash")).trim().is_empty().then_some(()));
    let client = machine.plugin.client();
    assert_eq!(client.volumes().await.len(), 1);
    assert_eq!(machine.node.shell(&format!("cat {path}/file")).trim(), "precious");
    client.down(&neighbour).await;
    client.delete(&neighbour.volume_id).await.unwrap();
}

/// The second of two directories in a tree is gone when it is looked for; that is what was wanted, and no silence of the server.
#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_remove_the_same_at_one_moment() {
    let world = World::new(["n1", "n2"], "").await;
    let [a, b] = [0, 1].map(|number| world.nodes[number].plugin.client());
    let own = format!("{}/.hawser", text(&world.server.tree("data")));
    for _ in 0..15 {
        let volume = a.create("v", 16 << 20, &Usage::mount()).await;
        let incarnation = volume.volume_id.rsplit('-').next().unwrap();
        let deep = (0..40).map(|number| format!("{number}/deeper")).collect::<Vec<_>>().join(" ");
        world.server.node().shell(&format!("cd {own}/volumes/*/data-{incarnation} && mkdir -p {deep}"));
        tokio::join!(delete(&a, &volume.volume_id), delete(&b, &volume.volume_id));
        let (first, second) = tokio::join!(a.volumes(), b.volumes());
        assert!(first.is_empty() && second.is_empty(), "{first:?} {second:?}");
    }
    until("the end of the removal", || world.server.node().shell(&format!("ls {own}/trash")).trim().is_empty().then_some(()));
    for machine in &world.nodes {
        let said = machine.plugin.said();
        assert!(!said.contains("does not answer") && !said.contains("could not remove"), "{said}");
    }
}

/// Deletes, again for as long as the answer is to repeat the call: of two who change a record at one moment, one may not know which change
/// was the last.
async fn delete(client: &Client, id: &str) {
    while let Err(status) = client.delete(id).await {
        assert!(status.code() == Code::Unavailable && status.message().contains("repeat the call"), "{status}");
    }
}
