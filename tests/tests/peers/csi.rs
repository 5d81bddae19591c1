//! Mesos 1.11 and its isolator `volume/csi`, which calls the Node service of a CSI plugin. A standalone container gets none of its
//! volumes, so these are tasks of a framework.
//!
//! # What it asks
//! - When the agent is registered: Probe, GetPluginCapabilities, GetPluginInfo, NodeGetCapabilities. Never NodeGetInfo, nor anything
//!   of a Controller.
//! - NodeStageVolume and NodePublishVolume before each task, **also when the volume is published on the agent already**, at the same
//!   paths, with the context that this task declares.
//! - NodeUnpublishVolume and NodeUnstageVolume when the last task that uses the volume on the agent has ended.
//!
//! # What it makes of the answer
//! - A refused NodeStageVolume fails the task; the code and the message are what the user reads. **NodeUnstageVolume follows**, without
//!   NodeUnpublishVolume.
//!
//! # When something dies
//! - The agent's process: the four calls of the start again; unpublishes and unstages what belongs to tasks that have ended.
//! - The machine: **first of all each volume that was published is staged and published again**, then it is unpublished and unstaged.
//! - The same, and the first NodeStageVolume is refused: nothing more. The next task that names the plugin, with whatever volume, has
//!   everything tried again, the four calls and the stale volume; when that succeeds now, **the stale volume is published and nobody
//!   ever unpublishes it.**

use std::collections::BTreeMap;
use std::path::PathBuf;

use hawser_tests::Workspace;
use hawser_tests::enclosure::share;
use hawser_tests::mesos::{self, Container, Framework, Mesos, Options};
use hawser_tests::poll::until;
use serde_json::json;

use crate::csi_plugin::CsiPlugin;
use crate::traces::Traces;

const PLUGIN: &str = "org.example.plugin";

/// What is asked when a plugin is taken into use.
const START: [&str; 4] = ["Probe", "GetPluginCapabilities", "GetPluginInfo", "NodeGetCapabilities"];

/// A cluster of one agent with a plugin beside it, and a framework.
struct Setting {
    framework: Framework,
    mesos: Mesos,
    plugin: CsiPlugin,
    targets: PathBuf,
    workspace: Workspace,
}

impl Setting {
    async fn new() -> Self {
        let workspace = Workspace::new();
        let (targets, socket) = (workspace.directory("targets"), workspace.path().join("csi.sock"));
        share(&targets);
        let plugin = CsiPlugin::start(&socket, &workspace.directory("volumes"));
        let options = Options::with_csi(&[mesos::CsiPlugin { name: PLUGIN, socket, targets: targets.clone(), written: None }]);
        let mesos = Mesos::start(&workspace, options).await;
        let framework = Framework::subscribe(&mesos).await;
        let setting = Self { framework, mesos, plugin, targets, workspace };
        setting.until_asked(&START);
        setting
    }

    /// Waits until exactly this was asked since the last time.
    fn until_asked(&self, wanted: &[&str]) {
        let mut asked = Vec::new();
        until(&format!("{wanted:?}"), || {
            asked.extend(self.plugin.asked());
            let so_far: Vec<&str> = asked.iter().map(String::as_str).collect();
            assert!(wanted.starts_with(&so_far), "{asked:?} was asked instead of {wanted:?}");
            (asked == wanted).then_some(())
        });
    }

    /// Runs a task with a volume at `data`, until it has this state; returns the message.
    async fn task(&mut self, id: &str, shell: &str, volume: &str, state: &str) -> String {
        let volume = json!({
            "volume_id": volume,
            "volume_capability": {"mount": {"fs_type": "ext4"}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}},
            "volume_context": {"task": id},
        });
        self.framework.run(self.mesos.agent(0), &Container::new(id, shell).csi_volume("data", PLUGIN, &volume)).await;
        self.framework.until(id, state).await["message"].as_str().unwrap_or_default().to_owned()
    }

    async fn kill(&mut self, id: &str) {
        self.framework.kill(id).await;
        self.framework.until(id, "TASK_KILLED").await;
    }

    /// The machine is lost with everything on it and starts again.
    async fn reboot(&mut self) {
        self.mesos.agent_mut(0).lose_machine();
        CsiPlugin::lose_mounts(&self.targets);
        self.mesos.agent_mut(0).start_again().await;
        self.mesos.until_registered(self.mesos.agent(0)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mesos_stages_and_publishes_for_each_task() {
    let traces = Traces::now();
    let mut setting = Setting::new().await;
    setting.task("one", "echo hello > data/letter; sleep 1000", "v:1", "TASK_RUNNING").await;
    setting.until_asked(&["NodeStageVolume v:1", "NodePublishVolume v:1"]);
    until("the file in the volume", || setting.workspace.path().join("volumes/v:1/letter").exists().then_some(()));
    setting.task("two", "grep hello data/letter && sleep 1000", "v:1", "TASK_RUNNING").await;
    setting.until_asked(&["NodeStageVolume v:1", "NodePublishVolume v:1"]);
    let context = |task: &str| BTreeMap::from([("task".to_owned(), task.to_owned())]);
    assert_eq!(setting.plugin.contexts(), [context("one"), context("two")]);
    setting.kill("one").await;
    setting.kill("two").await;
    setting.until_asked(&["NodeUnpublishVolume v:1", "NodeUnstageVolume v:1"]);
    setting.plugin.refuse_to_stage("held by another node");
    let message = setting.task("refused", "true", "v2", "TASK_FAILED").await;
    assert_eq!(message, "Failed to launch container: FAILED_PRECONDITION: held by another node");
    setting.until_asked(&["NodeStageVolume v2", "NodeUnstageVolume v2"]);
    let path = setting.workspace.path().to_owned();
    drop(setting);
    traces.assert_none(&path);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_anew_unpublishes_what_is_used_no_more() {
    let mut setting = Setting::new().await;
    setting.task("lives", "sleep 1000", "v1", "TASK_RUNNING").await;
    setting.task("ends", "until [ -e data/may-end ]; do sleep 0.02; done", "v2", "TASK_RUNNING").await;
    setting.plugin.asked();
    setting.mesos.agent_mut(0).kill_process();
    std::fs::write(setting.workspace.path().join("volumes/v2/may-end"), "").unwrap();
    setting.mesos.agent_mut(0).start_again().await;
    setting.framework.until("ends", "TASK_FINISHED").await;
    setting.until_asked(&[&START[..], &["NodeUnpublishVolume v2", "NodeUnstageVolume v2"]].concat());
    setting.kill("lives").await;
    setting.until_asked(&["NodeUnpublishVolume v1", "NodeUnstageVolume v1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_loss_of_a_machine_its_volumes_are_published_once_more() {
    let mut setting = Setting::new().await;
    setting.task("one", "sleep 1000", "v1", "TASK_RUNNING").await;
    setting.plugin.asked();
    setting.reboot().await;
    let again = ["NodeStageVolume v1", "NodePublishVolume v1", "NodeUnpublishVolume v1", "NodeUnstageVolume v1"];
    setting.until_asked(&[&START[..], &again].concat());
    setting.task("two", "sleep 1000", "v2", "TASK_RUNNING").await;
    setting.plugin.asked();
    setting.plugin.refuse_to_stage("held by another node");
    setting.reboot().await;
    setting.until_asked(&[&START[..], &["NodeStageVolume v2"]].concat());
    setting.task("three", "sleep 1000", "v3", "TASK_RUNNING").await;
    let stale = ["NodeStageVolume v2", "NodePublishVolume v2", "NodeStageVolume v3", "NodePublishVolume v3"];
    setting.until_asked(&[&START[..], &stale].concat());
    setting.kill("three").await;
    setting.until_asked(&["NodeUnpublishVolume v3", "NodeUnstageVolume v3"]);
}
