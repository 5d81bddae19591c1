//! One agent: a process, and the machine that it runs on.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::container::Container;
use super::{Options, environment, http, program};
use crate::cgroup;
use crate::daemon::Daemon;
use crate::enclosure::{Enclosure, Network};
use crate::poll::{PATIENCE, until_async};

/// The directory that is in /run elsewhere (mesos: src/local/local.cpp).
const RUNTIME: &str = "work/agents/0/run";

/// Where `volume/csi` notes what containers use.
const NOTES: &str = "work/agents/0/work/isolators/volume/csi";

/// An agent.
#[derive(Debug)]
pub struct Agent {
    // Dropped in this order: nothing runs on a machine that is gone.
    daemon: Option<Daemon>,
    machine: Option<Enclosure>,
    directory: PathBuf,
    master: u16,
    port: u16,
    node: Option<&'static str>,
    options: Options,
}

impl Agent {
    /// Starts an agent on a machine of its own.
    pub(super) async fn start(directory: &Path, number: usize, master: u16, options: &Options) -> Self {
        for name in ["bin", "plugins", "csi"] {
            fs::create_dir_all(directory.join(name)).unwrap();
        }
        if let Some(dvdcli) = &options.dvdcli {
            symlink(dvdcli, directory.join("bin/dvdcli")).unwrap();
        }
        if let Some(plugin) = options.csi_plugins.get(number) {
            fs::write(directory.join("csi/plugin.json"), plugin.description().to_string()).unwrap();
        }
        let (directory, node) = (directory.to_owned(), options.nodes.get(number).copied());
        let mut agent = Self { daemon: None, machine: None, directory, master, port: 0, node, options: options.clone() };
        agent.start_again().await;
        agent
    }

    /// Starts the process again, with what the one before it left, at the same address; and its machine first, if that is lost.
    pub async fn start_again(&mut self) {
        if self.machine.is_none() {
            self.machine = Some(self.boot());
        }
        let text = |value: &str| value.to_owned();
        let below = |name: &str| self.directory.join(name).display().to_string();
        let mut command = self.machine().command(program("mesos"));
        command.arg("agent").arg(format!("master@127.0.0.1:{}", self.master)).envs(environment(&self.directory.join("work")));
        command.envs([
            ("LIBPROCESS_PORT", self.port.to_string()),
            ("PATH", format!("{}:{}", below("bin"), std::env::var("PATH").unwrap())),
            // The standby master that is in the process has nothing to remember.
            ("MESOS_REGISTRY", text("in_memory")),
            ("MESOS_LAUNCHER_DIR", program("").display().to_string()),
            ("MESOS_LAUNCHER", text("linux")),
            ("MESOS_ISOLATION", text(self.options.isolation)),
            ("MESOS_CONTAINERIZERS", text("mesos")),
            ("MESOS_SYSTEMD_ENABLE_SUPPORT", text("false")),
            ("MESOS_CGROUPS_ROOT", text(self.machine().name())),
            ("MESOS_DOCKER_VOLUME_CHECKPOINT_DIR", below("run/volumes")),
            ("MESOS_RESOURCES", text("cpus:8;mem:4096;disk:4096;ports:[]")),
        ]);
        if !self.options.csi_plugins.is_empty() {
            command.env("MESOS_CSI_PLUGIN_CONFIG_DIR", below("csi"));
        }
        if let Some(node) = self.node {
            command.env("MESOS_ATTRIBUTES", format!("csi_node:{node}"));
        }
        command.envs(self.options.flags.iter().cloned());
        let daemon = self.machine().spawn(command, &self.directory.join("agent.log"));
        self.port = http::port_in(&daemon, "Mesos agent started on (1)@127.0.0.1:").await;
        self.daemon = Some(daemon);
        let health = json!({"type": "GET_HEALTH"});
        until_async("the end of the agent's recovery", async || self.call(&health).await.ok()).await;
    }

    /// A machine with a /run and a boot id of its own. An agent forgets its containers when it finds another id than before.
    fn boot(&self) -> Enclosure {
        let id = self.directory.join("boot_id");
        fs::copy("/proc/sys/kernel/random/uuid", &id).unwrap();
        let setup = format!(
            "mount --bind '{}' /proc/sys/kernel/random/boot_id; mount -t tmpfs tmpfs /run; mkdir -p /run/docker/plugins; \
             mount --bind '{}' /run/docker/plugins",
            id.display(),
            self.plugins().display()
        );
        Enclosure::new(Network::Shared, &self.options.seen, &setup)
    }

    /// What its machine has at /run/docker/plugins, where `dvdcli` finds the sockets of volume drivers.
    pub fn plugins(&self) -> PathBuf {
        self.directory.join("plugins")
    }

    /// Kills the process without warning; its containers go on.
    pub fn kill_process(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    /// Stops the process where it is; its containers go on. [`Agent::go_on`] ends it.
    pub fn stop(&self) {
        self.daemon.as_ref().unwrap().freeze();
    }

    /// Ends [`Agent::stop`].
    pub fn go_on(&self) {
        self.daemon.as_ref().unwrap().thaw();
    }

    /// Takes the power from the machine: no process and no mount is left, and what was recorded in memory alone is forgotten.
    pub fn lose_machine(&mut self) {
        // First the agent: while it is stopped, whoever waits for it is too, and nobody could end its machine.
        self.daemon = None;
        self.machine = None;
        for memory in ["run", RUNTIME] {
            let _ = fs::remove_dir_all(self.directory.join(memory));
        }
        // A container runs for a while before its machine fails, and a machine does not start at once.
        let before = SystemTime::now() - Duration::from_secs(3600);
        let notes = fs::read_dir(self.directory.join(NOTES)).into_iter().flatten().flatten();
        for note in notes.filter_map(|entry| File::open(entry.path().join("volumes")).ok()) {
            note.set_modified(before).unwrap();
        }
    }

    /// Has it forget its id, as an operator does before an agent that was marked gone may come back. Its machine is lost.
    pub fn forget_id(&mut self) {
        assert!(self.daemon.is_none(), "the agent runs");
        fs::remove_dir_all(self.directory.join("work/agents/0/work/meta")).unwrap();
    }

    /// Where it listens; its API is at `/api/v1`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its address in Mesos' own notation.
    pub fn pid(&self) -> String {
        format!("slave(1)@127.0.0.1:{}", self.port)
    }

    /// Its machine.
    pub fn machine(&self) -> &Enclosure {
        self.machine.as_ref().expect("the machine is lost")
    }

    /// The id that the master has given it.
    pub async fn id(&self) -> String {
        let answer = self.call(&json!({"type": "GET_AGENT"})).await.unwrap();
        answer["get_agent"]["agent_info"]["id"]["value"].as_str().unwrap().to_owned()
    }

    /// Calls its operator API. The error is the status and the words that it answered instead.
    pub async fn call(&self, call: &Value) -> Result<Value, String> {
        http::call(&self.url(), call).await
    }

    /// Launches a standalone container; ends when it runs. The agent may be killed meanwhile.
    pub fn launch(&self, container: &Container) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let (url, call) = (self.url(), container.launch());
        async move { http::call(&url, &call).await.map(|_| ()) }
    }

    /// Launches a standalone container and returns its status as wait(2) does. It is waited for from the beginning: Mesos forgets a container
    /// as soon as it is cleaned up, however late somebody asks.
    pub async fn run(&self, container: &Container) -> Result<Option<i64>, String> {
        let mut end = pin!(async {
            loop {
                match self.wait(container.id()).await {
                    Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
                    end => return end,
                }
            }
        });
        tokio::select! {
            biased;
            end = &mut end => return end,
            launched = self.launch(container) => launched?,
        }
        tokio::time::timeout(PATIENCE, end).await.map_err(|_| format!("container {} was forgotten", container.id()))?
    }

    /// Waits until a container has ended and everything of it is cleaned up; returns its status as wait(2) does, if it ran and is
    /// not forgotten yet.
    pub async fn wait(&self, id: &str) -> Result<Option<i64>, String> {
        let call = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": {"value": id}}});
        match self.call(&call).await {
            Ok(answer) => Ok(answer["wait_container"]["exit_status"].as_i64()),
            Err(error) if error.starts_with("404") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Kills a container; returns before it has ended.
    pub async fn kill(&self, id: &str) -> Result<(), String> {
        let call = json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": {"value": id}}});
        self.call(&call).await.map(|_| ())
    }

    /// The ids of the containers, also of those that are being launched or destroyed.
    pub async fn containers(&self) -> Vec<String> {
        let call = json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": true, "show_standalone": true}});
        let answer = self.call(&call).await.unwrap();
        let containers = answer["get_containers"]["containers"].as_array().into_iter().flatten();
        containers.map(|container| container["container_id"]["value"].as_str().unwrap().to_owned()).collect()
    }

    /// The end of what it said, for a report.
    pub(super) fn tail(&self) -> String {
        let tail = self.daemon.as_ref().map(Daemon::tail).unwrap_or_default();
        format!("--- {}\n{tail}\n", self.directory.file_name().unwrap_or_default().display())
    }

    /// Everything that it said.
    pub fn said(&self) -> String {
        self.daemon.as_ref().map(Daemon::said).unwrap_or_default()
    }

    /// Panics unless no container is left, nor a checkpoint, a mount or a control group of one.
    pub(super) async fn assert_clean(&self) {
        until_async("the end of the containers", async || self.containers().await.is_empty().then_some(())).await;
        let records = fs::read_dir(self.directory.join("run/volumes")).into_iter().flatten().flatten();
        let records: Vec<PathBuf> = records.map(|entry| entry.path()).collect();
        assert!(records.is_empty(), "volumes are still recorded as used: {records:?}\n{}", self.tail());
        let work = self.directory.join("work");
        let mounts = self.machine().mounts();
        // The agent mounts its working directory on itself.
        let mounts: Vec<&PathBuf> = mounts
            .iter()
            .map(|mount| &mount.point)
            .filter(|point| point.starts_with(&work) && !point.ends_with("agents/0/work"))
            .collect();
        assert!(mounts.is_empty(), "mounts of containers are left: {mounts:?}\n{}", self.tail());
        let groups = cgroup::groups(self.machine().name()).into_iter().flat_map(|group| fs::read_dir(group).unwrap()).flatten();
        let groups: Vec<PathBuf> = groups.filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| entry.path()).collect();
        assert!(groups.is_empty(), "control groups of containers are left: {groups:?}\n{}", self.tail());
    }
}
