//! Tasks of Mesos, through `dvdcli` and through the isolator `volume/csi`.

use std::os::unix::fs::symlink;

use hawser_tests::Workspace;
use hawser_tests::binary::hawser;
use hawser_tests::mesos::{Container, CsiPlugin, Framework, Mesos, Options};
use serde_json::json;

use crate::bridges::{AGENTS, Bridges};

/// Plays the story that the bridge is made for: a task writes into a volume that nobody has made, ends, and is run again on another
/// agent, where it finds what it wrote. Mesos says that a task has ended before it unmounts, so the next one may come while the volume
/// is still on its way.
async fn follow(mesos: &Mesos, task: impl Fn(&str, &str) -> Container) {
    let mut framework = Framework::subscribe(mesos).await;
    framework.run(mesos.agent(0), &task("write", "echo hello > data/letter")).await;
    framework.until("write", "TASK_FINISHED").await;
    framework.run(mesos.agent(1), &task("read", "grep hello data/letter")).await;
    framework.until("read", "TASK_FINISHED").await;
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
