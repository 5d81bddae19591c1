//! A real Docker engine, apart from the one that the machine may have, and its client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Workspace;
use crate::daemon::Daemon;
use crate::enclosure::{Enclosure, Network};
use crate::image;
use crate::kernel::Mount;
use crate::output::Output;
use crate::poll::until_async;

/// An engine with one image, [`image::NAME`].
#[derive(Debug)]
pub struct Docker {
    // Dropped in this order: the engine before its machine.
    daemon: Option<Daemon>,
    machine: Enclosure,
    directory: PathBuf,
}

impl Docker {
    /// Starts an engine in `workspace`; returns when it answers. Containers see what is mounted below the directories of `seen`.
    pub async fn start(workspace: &Workspace, seen: &[PathBuf]) -> Self {
        Self::start_with(workspace, seen, "{}").await
    }

    /// The same with `config`, the text of a daemon.json.
    pub async fn start_with(workspace: &Workspace, seen: &[PathBuf], config: &str) -> Self {
        Self::start_on(workspace, seen, config, "").await
    }

    /// The same on a machine where `setup`, a piece of shell, was run before.
    pub async fn start_on(workspace: &Workspace, seen: &[PathBuf], config: &str, setup: &str) -> Self {
        let directory = workspace.directory("docker");
        let plugins = workspace.directory("docker/plugins");
        // The one directory where an engine finds sockets of plugins is this engine's alone (moby: pkg/plugins/discovery.go).
        let run = "mount -t tmpfs tmpfs /run && mkdir -p /run/docker/plugins && mount --bind";
        let machine = Enclosure::new(Network::None, seen, &format!("{run} '{}' /run/docker/plugins\n{setup}", plugins.display()));
        fs::write(directory.join("daemon.json"), config).unwrap();
        let mut docker = Self { daemon: None, machine, directory };
        docker.start_again().await;
        let archive = image::archive(&docker.directory);
        docker.run(&["import", archive.to_str().unwrap(), image::NAME]).await.well();
        docker
    }

    /// Starts the engine again, with what the one before it left.
    pub async fn start_again(&mut self) {
        let below = |name: &str| self.directory.join(name).display().to_string();
        let mut command = self.machine.command("dockerd");
        command.args(["--host", &format!("unix://{}", below("docker.sock")), "--config-file", &below("daemon.json")]);
        command.args(["--data-root", &below("data"), "--exec-root", &below("exec"), "--pidfile", &below("docker.pid")]);
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--storage-driver=vfs"]);
        command.args(["--exec-opt=native.cgroupdriver=cgroupfs", "--cgroup-parent", self.machine.name()]);
        let mut daemon = self.machine.spawn(command, &self.directory.join("dockerd.log"));
        until_async("an answer of the Docker engine", async || {
            assert!(!daemon.has_ended(), "dockerd ended instead of serving:\n{}", daemon.tail());
            self.run(&["version"]).await.status.success().then_some(())
        })
        .await;
        self.daemon = Some(daemon);
    }

    /// Kills the engine without warning; its containers go on.
    pub fn kill_process(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    /// Where a volume driver's socket goes: `<name>.sock`.
    pub fn plugins(&self) -> PathBuf {
        self.directory.join("plugins")
    }

    /// Runs the client.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        // The client that came with the engine, where Debian puts it; a newer one elsewhere may refuse to talk to it.
        let client = Path::new("/usr/bin/docker");
        let mut command = self.client(if client.exists() { client } else { Path::new("docker") });
        command.args(arguments);
        Output::of(command).await
    }

    /// A command that runs `program`, a client of the engine.
    pub fn client(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env("DOCKER_HOST", format!("unix://{}", self.directory.join("docker.sock").display()));
        command.env("DOCKER_CONFIG", &self.directory).env_remove("DOCKER_CONTEXT");
        command
    }

    /// The mounts that the engine sees.
    pub fn mounts(&self) -> Vec<Mount> {
        self.machine.mounts()
    }

    /// Stops the engine; panics unless it ends well.
    pub fn finish(mut self) {
        let mut daemon = self.daemon.take().unwrap();
        let status = daemon.terminate();
        assert!(status.success(), "dockerd ended with {status}:\n{}", daemon.tail());
    }
}
