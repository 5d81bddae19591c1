//! `hawser serve` in a node.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Node;
use crate::binary::hawser;
use crate::client::Client;
use crate::daemon::Daemon;
use crate::faults::Faults;
use crate::process::Process;

/// Where it listens in the node. That is not below what both sides see: a socket does not cross, and its file would be in the way.
const SOCKET: &str = "/run/hawser-test.sock";

/// Its configuration, in the node's directory.
const CONFIG: &str = "config.yaml";
/// The file with the orders to it, in the node's directory.
const FAULTS: &str = "faults";

/// One process in a node, with its socket on this side. Killed when it is dropped.
///
/// It is a [`Process`] like any other: [`Daemon::kill`], [`Daemon::terminate`] and [`Daemon::tail`] are about the one in the node.
#[derive(Debug)]
pub struct Plugin {
    process: Process,
    _forward: Daemon,
    node: String,
    base: PathBuf,
}

impl Plugin {
    /// Starts `hawser serve all` in `node`, with the node's name as its node id and `config`, the text of a configuration; returns when
    /// it answers on this side.
    pub async fn start(node: &Node, config: &str) -> Self {
        Self::serve(node, node.command(hawser()), config).await
    }

    /// The same with a [command](Node::command) that runs another program, or has more environment.
    pub async fn serve(node: &Node, command: Command, config: &str) -> Self {
        Self::serve_as(node, command, "all", node.name(), config).await
    }

    /// The same with the services of `mode` and another node id; with an empty one it is left to the plugin.
    pub async fn serve_as(node: &Node, command: Command, mode: &str, id: &str, config: &str) -> Self {
        let base = node.directory();
        fs::write(base.join(CONFIG), config).unwrap();
        let forward = node.forward(Path::new(SOCKET), &base.join("csi.sock"));
        let process = Self::process(node, command, mode, id).await;
        Self { process, _forward: forward, node: id.to_owned(), base }
    }

    async fn process(node: &Node, mut command: Command, mode: &str, id: &str) -> Process {
        let base = node.directory();
        command.env("HAWSER_FAULTS", base.join(FAULTS));
        command.args(["serve", mode, "--endpoint", &format!("unix://{SOCKET}"), "--config"]).arg(base.join(CONFIG));
        if !id.is_empty() {
            command.args(["--node-id", id]);
        }
        let mut process = Process::spawn(command, &base.join("csi.sock"), &base.join("plugin.log"));
        process.wait_until_it_answers().await;
        process
    }

    /// Starts it again with the configuration that it had, by a command of the same `node`; returns when it answers. What ran before is to
    /// end by itself, or to hang.
    pub async fn start_again(&mut self, node: &Node, command: Command) {
        self.process = Self::process(node, command, "all", &self.node).await;
    }

    /// The faults of one that was started with [`hawser_with_faults`](crate::binary::hawser_with_faults).
    pub fn faults(&self) -> Faults {
        Faults::at(&self.base.join(FAULTS))
    }

    /// A client, whose paths are in the [node's directory](Node::directory). What is mounted there only the node sees.
    pub fn client(&self) -> Client {
        Client::new(self.process.socket(), &self.node, &self.base)
    }
}

impl Deref for Plugin {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Plugin {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
