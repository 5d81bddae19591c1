//! The plugin in a node, with its CO on this side.

use std::os::unix::process::ExitStatusExt;

use hawser_host::step::Step;
use hawser_proto::csi;
use hawser_tests::binary::hawser_with_faults;
use hawser_tests::rig::{Node, Plan, Plugin, Rig};
use hawser_tests::settings::Kind;
use hawser_tests::{MIB, Settings, Usage};
use rustix::process::Signal;

/// The configuration of a local backend on the node's scratch disk.
fn config() -> String {
    Settings::new(Kind::Image).yaml("/tmp/pool".as_ref())
}

fn plans() -> [Plan; 2] {
    ["n1", "n2"].map(|name| Plan { scratch: 8 << 30, ..Plan::new(name) })
}

fn read(node: &Node, path: &std::path::Path) -> String {
    node.run(["cat", path.join("letter").to_str().unwrap()]).well()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_in_two_nodes_serve_this_side() {
    let rig = Rig::start();
    let nodes = rig.nodes_of(plans());
    let mut plugins = Vec::new();
    for node in &nodes {
        plugins.push(Plugin::start(node, &config()).await);
    }
    for (node, plugin) in nodes.iter().zip(&plugins) {
        let client = plugin.client();
        assert!(client.identity().probe(csi::ProbeRequest {}).await.is_ok());
        let told = client.node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
        assert_eq!(told.node_id, node.name());
        for usage in [Usage::mount().filesystem("ext4"), Usage::mount().filesystem("xfs")] {
            let volume = client.create("v", 320 * MIB, &usage).await;
            let target = client.up(&volume, &usage).await;
            node.shell(&format!("echo {} > {}/letter; sync", node.name(), target.display()));
            client.down(&volume).await;
            let target = client.up(&volume, &usage).await;
            assert_eq!(read(node, &target), node.name());
            client.down(&volume).await;
            client.delete(&volume.volume_id).await.unwrap();
        }
        assert_eq!(node.shell("losetup --list --noheadings; findmnt --noheadings --list | grep csi || true"), "");
    }
    for mut plugin in plugins {
        assert!(plugin.terminate().success(), "{}", plugin.tail());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_in_a_node_dies_where_it_is_told_to() {
    let rig = Rig::start();
    let [node] = rig.nodes_of([Plan { scratch: 8 << 30, ..Plan::new("n1") }]);
    let usage = Usage::mount();
    let volume;
    {
        let mut command = node.command(hawser_with_faults());
        command.env("HAWSER_KILL_AT", Step::StagingMounted.name());
        let mut plugin = Plugin::serve(&node, command, &config()).await;
        let client = plugin.client();
        volume = client.create("v", 64 * MIB, &usage).await;
        let context = client.attach(&volume, &usage).await.unwrap();
        client.stage(&volume, &context, &usage).await.unwrap_err();
        assert_eq!(plugin.wait().signal(), Some(Signal::KILL.as_raw()), "{}", plugin.tail());
    }
    let mut plugin = Plugin::start(&node, &config()).await;
    let target = plugin.client().up(&volume, &usage).await;
    node.shell(&format!("echo letter > {}/letter; sync", target.display()));
    plugin.kill();
    node.kill();
    node.boot();
    let plugin = Plugin::start(&node, &config()).await;
    let target = plugin.client().up(&volume, &usage).await;
    assert_eq!(read(&node, &target), "letter");
    plugin.client().down(&volume).await;
}
