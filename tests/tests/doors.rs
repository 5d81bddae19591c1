//! The bridge's doors, and those who come through them in production: a real Mesos, Docker and Podman.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hawser_tests::binary::hawser;
use hawser_tests::bridge::Agents;
use hawser_tests::docker::Docker;
use hawser_tests::enclosure::share;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::mounts_below;
use hawser_tests::mesos::{Container, CsiPlugin, Framework, Mesos, Options};
use hawser_tests::podman::Podman;
use hawser_tests::poll::{PATIENCE, until};
use hawser_tests::{Workspace, image};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::json;

/// The names of the agents.
const AGENTS: [&str; 2] = ["agent-1", "agent-2"];

/// Bridges of agents, over one pool, whose mounts are seen on their agents' machines.
struct Bridges {
    agents: Agents,
    shared: Vec<PathBuf>,
    _ground: Footing,
}

impl Bridges {
    async fn start() -> Self {
        let ground = Footing::of(Ground::Xfs);
        let mut agents = Agents::new(ground.path(), &[]);
        let mut shared = Vec::new();
        for name in AGENTS {
            for kind in ["mounts", "targets"] {
                shared.push(agents.workspace().directory(Path::new(name).join(kind)));
            }
        }
        shared.iter().for_each(|directory| share(directory));
        for name in AGENTS {
            agents.start(name).await;
        }
        Self { agents, shared, _ground: ground }
    }

    /// The socket of an agent's Docker volume plugin.
    fn plugin(&self, name: &str) -> PathBuf {
        self.agents.agent(name).plugins().join("hawser.sock")
    }

    /// A file or directory of an agent's bridge.
    fn place(&self, name: &str, what: &str) -> PathBuf {
        self.agents.workspace().path().join(name).join(what)
    }

    /// Waits until no volume is mounted, and stops the bridges.
    fn finish(self) {
        until("the end of the last mount", || {
            let mounted = mounts_below(self.agents.workspace().path());
            mounted.iter().all(|mount| self.shared.contains(&mount.point)).then_some(())
        });
        for directory in &self.shared {
            unmount(directory, UnmountFlags::NOFOLLOW).unwrap();
        }
        self.agents.finish();
    }
}

/// Plays the story that the bridge is made for: a task writes into a volume that nobody has made, ends, and is run again on another
/// agent, where it finds what it wrote.
async fn follow(mesos: &Mesos, task: impl Fn(&str, &str) -> Container) {
    let mut framework = Framework::subscribe(mesos).await;
    framework.run(mesos.agent(0), &task("write", "echo hello > data/letter")).await;
    framework.until("write", "TASK_FINISHED").await;
    let read = async {
        // Mesos says that a task has ended before it unmounts. Whoever comes earlier than that may be told to come again.
        for attempt in 0.. {
            let id = format!("read-{attempt}");
            framework.run(mesos.agent(1), &task(&id, "grep hello data/letter")).await;
            let end = framework.end(&id).await;
            if end["state"] == "TASK_FINISHED" {
                break;
            }
            assert!(end["message"].as_str().unwrap().contains("is held by node agent-1"), "{end}");
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the volume never came to the second agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_follows_its_task_through_dvdcli() {
    let bridges = Bridges::start().await;
    let workspace = Workspace::new();
    let options = Options { agents: AGENTS.len(), seen: bridges.shared.clone(), ..Options::with_dvdcli(hawser()) };
    let mesos = Mesos::start(&workspace, options).await;
    for (number, name) in AGENTS.into_iter().enumerate() {
        symlink(bridges.plugin(name), mesos.agent(number).plugins().join("hawser.sock")).unwrap();
    }
    let options = [("size", "64MiB"), ("newFsType", "ext4")];
    follow(&mesos, |id, shell| Container::new(id, shell).docker_volume("data", "hawser", "letters", &options)).await;
    drop(mesos);
    bridges.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_follows_its_task_through_the_isolator() {
    let bridges = Bridges::start().await;
    let workspace = Workspace::new();
    let name = "csi.hawser.dev";
    let plugins = AGENTS.map(|agent| CsiPlugin {
        name,
        socket: bridges.place(agent, "isolator.sock"),
        targets: bridges.place(agent, "targets"),
    });
    let mesos = Mesos::start(&workspace, Options::with_csi(&plugins)).await;
    let volume = json!({
        "volume_id": "letters",
        "volume_capability": {"mount": {"fs_type": "ext4"}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}},
        "volume_context": {"create": "if-absent", "size": "64MiB"},
    });
    follow(&mesos, |id, shell| Container::new(id, shell).csi_volume("data", name, &volume)).await;
    drop(mesos);
    bridges.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_and_podman_use_the_same_volume() {
    let bridges = Bridges::start().await;
    let workspace = Workspace::new();
    let plugin = bridges.plugin(AGENTS[0]);
    let docker = Docker::start(&workspace, &bridges.shared).await;
    symlink(&plugin, docker.plugins().join("hawser.sock")).unwrap();
    let podman = Podman::start(&workspace, &[("hawser", &plugin)], &bridges.shared).await;
    let create = ["volume", "create", "--driver", "hawser", "--opt", "size=64MiB", "--opt", "newFsType=ext4", "letters"];
    let run = |shell| ["run", "--rm", "--network", "none", "-v", "letters:/data", image::NAME, "sh", "-c", shell];
    docker.run(&create).await.well();
    docker.run(&run("echo hello > /data/letter")).await.well();
    let shown: serde_json::Value = serde_json::from_str(&docker.run(&["volume", "inspect", "letters"]).await.well()).unwrap();
    assert_eq!((shown[0]["Scope"].as_str(), shown[0]["Status"]["size"].as_str()), (Some("global"), Some("64MiB")));
    podman.run(&create).await.well();
    assert_eq!(podman.run(&run("cat /data/letter")).await.well(), "hello");
    podman.run(&["volume", "rm", "letters"]).await.well();
    assert!(!docker.run(&["volume", "ls"]).await.well().contains("letters"), "the volume is still there");
    docker.finish();
    drop(podman);
    bridges.finish();
}
