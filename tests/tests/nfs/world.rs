//! A server, and nodes with the plugin.

use std::process::Command;

use hawser_tests::binary::hawser;
use hawser_tests::notice::notice;
use hawser_tests::rig::{Export, NfsServer, Node, Plan, Plugin, Rig};

/// The name of the backend in every configuration here.
pub const BACKEND: &str = "nfs";

/// What everything happens in.
pub struct World {
    // Dropped in this order.
    pub nodes: Vec<Machine>,
    pub server: NfsServer,
    pub rig: Rig,
}

/// A node with a plugin.
pub struct Machine {
    pub plugin: Plugin,
    pub node: Node,
}

/// The configuration for one backend over `export`.
pub fn config(export: &Export, more: &str) -> String {
    format!(
        "backends:\n  {BACKEND}:\n    type: nfs\n    server: {}\n    path: {}\n    answer-within-seconds: 3\n{more}",
        export.server, export.path
    )
}

impl World {
    /// A server and one node for each name, all with the same configuration.
    pub async fn new<const N: usize>(names: [&str; N], more: &str) -> Self {
        Self::with(names, more, |node| node.command(hawser())).await
    }

    /// The same with other commands of the nodes.
    pub async fn with<const N: usize>(names: [&str; N], more: &str, command: impl Fn(&Node) -> Command) -> Self {
        let rig = Rig::start();
        let mut plans = vec![Plan::new("storage")];
        // The backend beside it is on a disk.
        plans.extend(names.map(|name| Plan { scratch: 1 << 30, ..Plan::new(name) }));
        let mut nodes = boot(&rig, plans).into_iter();
        let server = NfsServer::on(nodes.next().unwrap());
        let export = server.export("data", "rw,sync,no_root_squash,no_subtree_check");
        let config = config(&export, more);
        let mut machines = Vec::new();
        for node in nodes {
            let plugin = Plugin::serve(&node, command(&node), &config).await;
            machines.push(Machine { plugin, node });
        }
        notice("the world is up");
        Self { nodes: machines, server, rig }
    }
}

fn boot(rig: &Rig, plans: Vec<Plan>) -> Vec<Node> {
    match <[Plan; 2]>::try_from(plans) {
        Ok(two) => rig.nodes_of(two).into(),
        Err(plans) => match <[Plan; 3]>::try_from(plans) {
            Ok(three) => rig.nodes_of(three).into(),
            Err(plans) => panic!("a world of {} nodes", plans.len()),
        },
    }
}
