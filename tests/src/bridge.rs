//! Bridges of several agents, played on one machine over one pool: what a task's agent has, for each agent.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use hawser_proto::csi;
use hawser_proto::csi::node_client::NodeClient;
use rustix::mount::{UnmountFlags, unmount};
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::binary::{hawser, hawser_with_faults};
use crate::client::text;
use crate::faults::Faults;
use crate::kernel::{Mount, loops_below, mounts_below, run};
use crate::output::Output;
use crate::process::Process;
use crate::usage::Usage;
use crate::workspace::Workspace;

/// The agents of one cluster.
#[derive(Debug)]
pub struct Agents {
    // Dropped in this order: nobody works in a directory that is removed.
    processes: BTreeMap<String, Process>,
    program: fn() -> &'static Path,
    workspace: Workspace,
    root: Workspace,
    backends: String,
    more: String,
    own: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
}

impl Agents {
    /// No agents yet, over a new pool within `ground`. `more` is added to each configuration's section `bridge`, a key a line.
    pub fn new(ground: &Path, more: &[&str]) -> Self {
        Self::with(hawser, ground, more)
    }

    /// The same with the program whose calls fail as [`Agents::faults`] orders.
    pub fn with_faults(ground: &Path, more: &[&str]) -> Self {
        Self::with(hawser_with_faults, ground, more)
    }

    fn with(program: fn() -> &'static Path, ground: &Path, more: &[&str]) -> Self {
        let (more, own, environment) = (keys(more), BTreeMap::new(), Vec::new());
        let (processes, workspace, root) = (BTreeMap::new(), Workspace::new(), Workspace::within(ground));
        Self { processes, program, workspace, root, backends: String::new(), more, own, environment }
    }

    /// Adds `more` to the section `bridge` of this agent's configuration from its next start on.
    pub fn configure(&mut self, agent: &str, more: &[&str]) {
        self.own.insert(agent.to_owned(), keys(more));
    }

    /// Adds a backend to each configuration, a key a line, from the next start on. `local` stays the default.
    pub fn add_backend(&mut self, name: &str, keys: &[&str]) {
        self.backends.push_str(&format!("  {name}:\n"));
        self.backends.extend(keys.iter().map(|key| format!("    {key}\n")));
    }

    /// Adds a backend whose storage system answers nothing: nobody listens on port 1.
    pub fn add_backend_that_is_away(&mut self, name: &str) {
        let password = self.workspace.path().join("password");
        fs::write(&password, "secret").unwrap();
        let password = format!("  password-file: {}", password.display());
        self.add_backend(
            name,
            &[
                "type: scaleio",
                "answer-within-seconds: 1",
                "systems:",
                "- gateways: [\"https://127.0.0.1:1\"]",
                "  user: hawser",
                &password,
                "node:",
                "  guid: 5A5EB8A2-9BE9-4B8C-9E8A-6F5E0A1B2C3D",
                // There is no SDC here, and nothing of this backend is ever attached.
                "  drv-cfg: /bin/true",
            ],
        );
    }

    /// Sets a variable of the environment of each bridge from its next start on.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.environment.push((variable.to_owned(), value.to_owned()));
    }

    /// Takes the power from the machine of `agent`: its bridge is killed, nothing is mounted or bound any more, and what starts there
    /// next finds another boot id and the time of that boot. `keep` are mount points that belong to the test.
    pub fn lose_machine(&mut self, agent: &str, keep: &[PathBuf]) {
        if let Some(mut process) = self.processes.remove(agent) {
            process.kill();
        }
        let directory = self.workspace.directory(agent);
        let ours = |mount: &Mount| !keep.contains(&mount.point);
        let devices: Vec<String> = mounts_below(&directory).into_iter().filter(ours).map(|mount| mount.source).collect();
        while let Some(mount) = mounts_below(&directory).into_iter().rfind(ours) {
            unmount(&mount.point, UnmountFlags::NOFOLLOW).unwrap();
        }
        for bound in loops_below(self.root.path()) {
            if devices.iter().any(|device| Path::new(device) == bound.device) {
                run("losetup", &["--detach", &text(&bound.device)]);
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        fs::write(directory.join("stat"), format!("btime {now}\n")).unwrap();
        fs::copy("/proc/sys/kernel/random/uuid", directory.join("boot_id")).unwrap();
    }

    /// What starts a program of `agent`: on a machine that was lost once it sees that machine's boot.
    fn command(&self, agent: &str) -> Command {
        let place = |name: &str| self.workspace.path().join(agent).join(name);
        if !place("boot_id").exists() {
            return Command::new((self.program)());
        }
        // Nothing but these two files is its own: its mounts are seen by everybody, as those of any bridge.
        let script = "mount --make-private /proc && mount --bind \"$1\" /proc/sys/kernel/random/boot_id && mount --bind \"$2\" /proc/stat && \
                      shift 2 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "unchanged", "sh", "-c", script, "sh"]);
        command.arg(place("boot_id")).arg(place("stat")).arg((self.program)());
        command
    }

    /// Starts the bridge of `agent`, or stops it in good order and starts it again.
    pub async fn start(&mut self, agent: &str) {
        if let Some(mut process) = self.processes.remove(agent) {
            let status = process.terminate();
            assert!(status.success(), "{agent} ended with {status}:\n{}", process.tail());
        }
        let place = |name: &str| self.workspace.directory(agent).join(name);
        let config = place("config.yaml");
        let text = format!(
            "backends:\n  local:\n    type: local\n    root: {}\n    overcommit: 1000\n{}driver:\n  default-backend: local\nbridge:\n  state: {}\n  mounts: {}\n  docker-socket: {}\n  isolator-socket: {}\n{}{}",
            self.root.path().display(),
            self.backends,
            place("state").display(),
            place("mounts").display(),
            place("plugins/hawser.sock").display(),
            place("isolator.sock").display(),
            self.more,
            self.own.get(agent).map_or("", String::as_str)
        );
        fs::write(&config, text).unwrap();
        let mut command = self.command(agent);
        command.args(["bridge", "--node-id", agent, "--config"]).arg(&config).env("HAWSER_FAULTS", place("faults"));
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        let mut process = Process::spawn(command, &place("isolator.sock"), &place("log"));
        process.wait_until_it_answers().await;
        self.processes.insert(agent.to_owned(), process);
    }

    /// The process of `agent`'s bridge.
    pub fn process_id(&self, agent: &str) -> i32 {
        self.processes[agent].id().as_raw_nonzero().get()
    }

    /// Kills the bridge of `agent` without warning.
    pub fn kill(&mut self, agent: &str) {
        self.processes.remove(agent).unwrap().kill();
    }

    /// What `agent` has.
    pub fn agent(&self, agent: &str) -> Agent {
        Agent { directory: self.workspace.directory(agent) }
    }

    /// The faults of `agent`'s bridge.
    pub fn faults(&self, agent: &str) -> Faults {
        Faults::at(&self.workspace.path().join(agent).join("faults"))
    }

    /// The directory of everything.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The names of the volumes that there are, in order.
    pub fn volumes(&self) -> Vec<String> {
        let records = fs::read_dir(self.root.path().join("volumes")).unwrap();
        // One that goes at this moment is no volume any more.
        let records = records.filter_map(|entry| fs::read(entry.unwrap().path().join("record.json")).ok());
        let mut names: Vec<String> =
            records.map(|text| serde_json::from_slice::<Value>(&text).unwrap()["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// The root of the pool.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Everything that `agent`'s bridge said.
    pub fn said(&self, agent: &str) -> String {
        self.processes[agent].said()
    }

    /// Stops every bridge in good order, and panics if anything is mounted or bound.
    pub fn finish(mut self) {
        for (agent, process) in &mut self.processes {
            let status = process.terminate();
            assert!(status.success(), "{agent} ended with {status}:\n{}", process.tail());
            assert!(!process.said().contains("panicked"), "{agent} panicked:\n{}", process.tail());
        }
        let mounts = mounts_below(self.workspace.path());
        assert!(mounts.is_empty(), "left mounted: {mounts:#?}");
        let loops = loops_below(self.root.path());
        assert!(loops.is_empty(), "left bound: {loops:#?}");
    }
}

/// Keys of a section.
fn keys(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

/// The doors of one agent.
#[derive(Debug, Clone)]
pub struct Agent {
    directory: PathBuf,
}

impl Agent {
    /// The directory in which `dvdcli` and other clients find the volume driver `hawser`.
    pub fn plugins(&self) -> PathBuf {
        self.directory.join("plugins")
    }

    /// Runs `dvdcli` as Mesos does, by that name.
    pub async fn dvdcli(&self, arguments: &[&str]) -> Output {
        let link = self.directory.join("dvdcli");
        if !link.exists() {
            std::os::unix::fs::symlink(hawser(), &link).unwrap();
        }
        let mut command = Command::new(link);
        command.args(arguments).env("HAWSER_PLUGIN_DIR", self.plugins());
        Output::of(command).await
    }

    /// Mounts a volume as Mesos' isolator does; the path, or what the user is told.
    pub async fn mount(&self, name: &str, options: &[&str]) -> Result<PathBuf, String> {
        let mut arguments = vec!["mount".to_owned(), "--volumedriver=hawser".to_owned(), format!("--volumename={name}")];
        arguments.extend(options.iter().map(|option| format!("--volumeopts={option}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.dvdcli(&arguments).await;
        if output.status.success() { Ok(PathBuf::from(output.stdout.trim())) } else { Err(output.stderr) }
    }

    /// Unmounts a volume as Mesos' isolator does.
    pub async fn unmount(&self, name: &str) -> Result<(), String> {
        let output = self.dvdcli(&["unmount", "--volumedriver=hawser", &format!("--volumename={name}")]).await;
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    }

    /// A request to the Docker volume plugin, as dockerd makes it: the status, and the fields of the answer.
    pub fn docker(&self, endpoint: &str, body: &Value) -> (u16, Value) {
        self.docker_unless_silent(endpoint, body).unwrap_or_else(|| panic!("{endpoint} {body} is not answered"))
    }

    /// The same; nothing when the connection is closed without an answer.
    pub fn docker_unless_silent(&self, endpoint: &str, body: &Value) -> Option<(u16, Value)> {
        let mut stream = UnixStream::connect(self.plugins().join("hawser.sock")).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // HTTP 1.0, so that the answer ends with the connection.
        write!(stream, "POST /{endpoint} HTTP/1.0\r\nHost: plugin\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.is_empty() {
            return None;
        }
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("content-type: application/vnd.docker.plugins.v1"), "{head}");
        Some((head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap()))
    }

    /// The isolator's endpoint, as Mesos calls it.
    pub fn isolator(&self) -> Isolator {
        let endpoint = Endpoint::try_from(format!("unix://{}", self.directory.join("isolator.sock").display())).unwrap();
        Isolator { node: NodeClient::new(endpoint.connect_lazy()), work: self.directory.join("work_dir") }
    }
}

/// The RPCs that Mesos' `volume/csi` isolator makes, with the paths that it gives.
#[derive(Debug, Clone)]
pub struct Isolator {
    node: NodeClient<Channel>,
    work: PathBuf,
}

impl Isolator {
    /// The context of a volume that is made on first use.
    pub fn made(mebibytes: u32) -> BTreeMap<String, String> {
        BTreeMap::from([("create".to_owned(), "if-absent".to_owned()), ("size".to_owned(), format!("{mebibytes}MiB"))])
    }

    fn mounts(&self, volume: &str) -> PathBuf {
        self.work.join("mounts").join(volume.replace(':', "%3A"))
    }

    /// The staging path of a volume; Mesos makes it.
    pub fn staging(&self, volume: &str) -> PathBuf {
        let path = self.mounts(volume).join("staging");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The target path of a volume; Mesos makes its parent.
    pub fn target(&self, volume: &str) -> PathBuf {
        self.mounts(volume).join("target")
    }

    /// NodeStageVolume, for at most `seconds`.
    pub async fn stage(&self, volume: &str, context: &BTreeMap<String, String>, seconds: u64) -> Result<(), Status> {
        let mut request = tonic::Request::new(csi::NodeStageVolumeRequest {
            volume_id: volume.to_owned(),
            staging_target_path: text(&self.staging(volume)),
            volume_capability: Some(Usage::mount().filesystem("ext4").capability()),
            volume_context: context.clone(),
            ..Default::default()
        });
        request.set_timeout(std::time::Duration::from_secs(seconds));
        self.node.clone().node_stage_volume(request).await.map(drop)
    }

    /// NodePublishVolume.
    pub async fn publish(&self, volume: &str, context: &BTreeMap<String, String>) -> Result<PathBuf, Status> {
        let target = self.target(volume);
        let request = csi::NodePublishVolumeRequest {
            volume_id: volume.to_owned(),
            staging_target_path: text(&self.staging(volume)),
            target_path: text(&target),
            volume_capability: Some(Usage::mount().filesystem("ext4").capability()),
            volume_context: context.clone(),
            ..Default::default()
        };
        self.node.clone().node_publish_volume(request).await.map(|_| target)
    }

    /// NodeUnpublishVolume.
    pub async fn unpublish(&self, volume: &str) -> Result<(), Status> {
        let target_path = text(&self.target(volume));
        let request = csi::NodeUnpublishVolumeRequest { volume_id: volume.to_owned(), target_path };
        self.node.clone().node_unpublish_volume(request).await.map(drop)
    }

    /// NodeUnstageVolume. When it has succeeded, Mesos deletes everything below the volume's directory, through any mount.
    pub async fn unstage(&self, volume: &str) -> Result<(), Status> {
        let staging_target_path = text(&self.staging(volume));
        let request = csi::NodeUnstageVolumeRequest { volume_id: volume.to_owned(), staging_target_path };
        self.node.clone().node_unstage_volume(request).await?;
        let mounted = mounts_below(&self.mounts(volume));
        assert!(mounted.is_empty(), "Mesos would now delete what is in {mounted:#?}");
        fs::remove_dir_all(self.mounts(volume)).unwrap();
        Ok(())
    }
}

/// A request of dockerd that says a name and an id.
pub fn named(name: &str, id: &str) -> Value {
    json!({ "Name": name, "ID": id })
}
