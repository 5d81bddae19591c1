//! A plugin under test: one root, one or several processes that share it, and the proof that nothing is left of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::process::Pid;
use tokio::sync::Mutex as AsyncMutex;

use crate::binary::{hawser, hawser_with_faults};
use crate::client::Client;
use crate::conformance::Need;
use crate::faults::Faults;
use crate::kernel::{Loop, loops_below, mounts_below};
use crate::poll::until;
use crate::process::Process;
use crate::settings::{Kind, Settings, Sizes};
use crate::storage::Storage;
use crate::usage::Usage;
use crate::workspace::Workspace;

/// The nodes of a test.
pub const NODE_A: &str = "node-a";
/// The second one.
pub const NODE_B: &str = "node-b";

/// Longer than making anything takes.
const LONG_AGO: Duration = Duration::from_secs(24 * 3600);

/// A plugin, with everything that it touches.
#[derive(Debug)]
pub struct Plugin {
    // Dropped in this order: nobody works in a directory that is removed.
    processes: AsyncMutex<BTreeMap<String, Process>>,
    settings: Mutex<Settings>,
    usage: Usage,
    program: fn() -> &'static Path,
    has: &'static [Need],
    workspace: Workspace,
    storage: Option<Box<dyn Storage>>,
    root: Workspace,
}

impl Plugin {
    /// Starts a plugin on a new root within `ground`; it serves as [`NODE_A`]. `usage` is how its volumes are used by default.
    pub async fn start(ground: &Path, settings: Settings, usage: Usage) -> Self {
        Self::start_program(hawser, ground, settings, usage).await
    }

    /// The same with the program whose calls fail as [`Plugin::faults`] orders.
    pub async fn start_with_faults(ground: &Path, settings: Settings, usage: Usage) -> Self {
        Self::start_program(hawser_with_faults, ground, settings, usage).await
    }

    async fn start_program(program: fn() -> &'static Path, ground: &Path, settings: Settings, usage: Usage) -> Self {
        let root = Workspace::within(ground);
        let storage = settings.kind.storage(ground);
        let plugin = Self {
            processes: AsyncMutex::default(),
            settings: Mutex::new(settings),
            usage,
            program,
            has: &[],
            workspace: Workspace::new(),
            storage,
            root,
        };
        plugin.start_node(NODE_A).await;
        plugin
    }

    /// How its volumes are used unless a case is about another usage.
    pub fn usage(&self) -> Usage {
        self.usage.clone()
    }

    /// The sizes that its volumes can have.
    pub fn sizes(&self) -> Sizes {
        self.settings().kind.sizes()
    }

    /// The size of a volume whose size does not matter.
    pub fn small(&self) -> i64 {
        self.sizes().small
    }

    /// The same, known to have these abilities.
    #[must_use]
    pub fn with(mut self, has: &'static [Need]) -> Self {
        self.has = has;
        self
    }

    /// Whether its backend has an ability, by the suite's own line of it.
    pub fn has(&self, need: Need) -> bool {
        self.has.contains(&need)
    }

    /// A parameter that can be changed later, with its default and another value.
    pub fn change(&self) -> [&'static str; 3] {
        self.settings().kind.change().expect("the backend can change nothing")
    }

    /// The directory of the case.
    pub fn workspace(&self) -> &Path {
        self.workspace.path()
    }

    /// The root of the pool.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where a node listens.
    pub fn socket(&self, node: &str) -> PathBuf {
        self.workspace().join(format!("{node}.sock"))
    }

    /// The configuration file of the first node, written anew.
    pub fn config(&self) -> PathBuf {
        self.config_of(NODE_A)
    }

    fn config_of(&self, node: &str) -> PathBuf {
        let path = self.workspace().join(format!("{node}.yaml"));
        let settings = self.settings();
        let text = match &self.storage {
            Some(storage) => settings.yaml_of(&storage.yaml(node)),
            None => settings.yaml(self.root()),
        };
        fs::write(&path, text).unwrap();
        path
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a node that does not run.
    pub async fn start_node(&self, node: &str) {
        let mut processes = self.processes.lock().await;
        let log = self.workspace().join(format!("{node}.log"));
        let mut command = Command::new((self.program)());
        command.env("HAWSER_FAULTS", self.fault_board(node));
        processes.insert(node.to_owned(), self.process(command, node, &log).await);
    }

    /// Starts a process that is `node` by `command`.
    pub async fn process(&self, mut command: Command, node: &str, log: &Path) -> Process {
        let (config, socket, filter) = (self.config_of(node), self.socket(node), self.settings().log);
        command.envs(self.storage.iter().flat_map(|storage| storage.environment()));
        Process::serve(command, &config, &self.node_id(node), &socket, log, filter).await
    }

    /// The storage system that the test plays; panics if there is none.
    pub fn storage(&self) -> &dyn Storage {
        self.storage.as_deref().expect("the backend has no storage system beside it")
    }

    /// The id of a node, which is what a storage system knows it by.
    pub fn node_id(&self, node: &str) -> String {
        self.storage.as_ref().map_or_else(|| node.to_owned(), |storage| storage.node_id(node))
    }

    /// An id as the backend gives them, of something that it never made; `what` it is (`vol` or `snap`) where ids say it.
    pub fn imagined(&self, what: &str, number: u8) -> String {
        let native = match &self.storage {
            Some(storage) => storage.imagined(what, number),
            None => format!("{:032x}-{number:08x}", 0xdead_0000_u64 + u64::from(number)),
        };
        format!("local:{native}")
    }

    fn fault_board(&self, node: &str) -> PathBuf {
        self.workspace().join(format!("{node}.faults"))
    }

    /// The faults of a node.
    pub fn faults(&self, node: &str) -> Faults {
        Faults::at(&self.fault_board(node))
    }

    /// A client of a node, with a connection of its own.
    pub fn client(&self, node: &str) -> Client {
        Client::new(&self.socket(node), &self.node_id(node), &self.workspace().join(node))
    }

    /// A client of the first node.
    pub fn a(&self) -> Client {
        self.client(NODE_A)
    }

    /// A client of the second node, which is started if it is not there yet.
    pub async fn b(&self) -> Client {
        if !self.processes.lock().await.contains_key(NODE_B) {
            self.start_node(NODE_B).await;
        }
        self.client(NODE_B)
    }

    /// Kills a node without warning.
    pub async fn kill(&self, node: &str) {
        if let Some(mut process) = self.processes.lock().await.remove(node) {
            process.kill();
        }
    }

    /// Stops a node in good order.
    pub async fn stop(&self, node: &str) {
        let stopped = self.processes.lock().await.remove(node);
        if let Some(mut process) = stopped {
            assert!(process.terminate().success(), "{}", process.tail());
        }
    }

    /// Kills the first node without warning and starts it again.
    pub async fn restart(&self) -> Client {
        self.kill(NODE_A).await;
        self.start_node(NODE_A).await;
        self.a()
    }

    /// Stops the first node in good order and starts it again with other settings.
    pub async fn reconfigure(&self, change: impl FnOnce(&mut Settings)) -> Client {
        self.stop(NODE_A).await;
        change(&mut self.settings());
        self.start_node(NODE_A).await;
        self.a()
    }

    /// The process id of the first node.
    pub async fn process_id(&self) -> Pid {
        self.processes.lock().await[NODE_A].id()
    }

    /// Takes the first node's process out of the plugin's care.
    pub async fn take(&self) -> Process {
        self.processes.lock().await.remove(NODE_A).unwrap()
    }

    /// Everything that the nodes said.
    pub async fn said(&self) -> String {
        let processes = self.processes.lock().await;
        processes.values().map(|process| process.said()).collect()
    }

    /// The end of what the nodes said, for a report.
    pub async fn tail(&self) -> String {
        let processes = self.processes.lock().await;
        processes.iter().map(|(node, process)| format!("--- {node}\n{}\n", process.tail())).collect()
    }

    /// Stops every node as an orchestrator does and panics unless each ends well and nothing is left: no mount, no loop device,
    /// no volume, no half-made object, nothing at a target or staging path, no socket.
    pub async fn finish(&self) {
        if matches!(self.settings().kind, Kind::Nfs | Kind::Ebs | Kind::ScaleIo) {
            // What is deleted there is removed in the background.
            until("everything to be removed", || self.leftovers().is_empty().then_some(()));
        }
        let left = self.leftovers();
        assert!(left.is_empty(), "left behind: {left:#?}");
        for (node, process) in self.processes.lock().await.iter_mut() {
            let status = process.terminate();
            assert!(status.success(), "{node} ended with {status}:\n{}", process.tail());
            assert!(!process.socket().exists(), "{node} left its socket");
            let said = process.said();
            let panics: Vec<&str> = said.lines().filter(|line| line.contains("panicked")).collect();
            assert!(panics.is_empty(), "{node} panicked: {panics:#?}");
        }
    }

    /// Makes what killed calls left in the making so old that nobody can be at work on it. On an export it may be another controller's,
    /// so it is swept only then, by the next start. Returns whether there was any.
    pub fn age(&self) -> bool {
        if self.settings().kind != Kind::Nfs {
            return false;
        }
        let drafts = entries(&self.root().join(".hawser/new"));
        for draft in &drafts {
            // What is swept at this moment needs no age.
            let aged = File::open(draft).and_then(|draft| draft.set_modified(SystemTime::now() - LONG_AGO));
            assert!(aged.is_ok() || !draft.exists(), "{}: {aged:?}", draft.display());
        }
        !drafts.is_empty()
    }

    /// The devices of its volumes, each with what it is bound to: a file of the pool, or as a path the storage system's own name of the
    /// volume.
    pub fn devices(&self) -> Vec<Loop> {
        self.storage.as_ref().map_or_else(|| loops_below(self.root()), |storage| storage.devices())
    }

    /// What is still there of everything that was made.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        left.extend(mounts_below(self.workspace()).into_iter().map(|mount| format!("mount {}", mount.point.display())));
        left.extend(
            loops_below(self.root()).into_iter().map(|bound| format!("{} of {}", bound.device.display(), bound.file.display())),
        );
        left.extend(self.storage.iter().flat_map(|storage| storage.left()));
        let own = if self.settings().kind == Kind::Nfs { self.root().join(".hawser") } else { self.root().to_owned() };
        for shelf in ["volumes", "snapshots", "groups", "new", "trash"] {
            left.extend(
                entries(&own.join(shelf))
                    .into_iter()
                    .filter(|path| !path.ends_with("lock"))
                    .map(|path| path.display().to_string()),
            );
        }
        for node in [NODE_A, NODE_B] {
            for kind in ["staging", "pods"] {
                // The directories themselves are the CO's; what is in them is the plugin's.
                let made = entries(&self.workspace().join(node).join(kind));
                left.extend(made.iter().flat_map(|directory| entries(directory)).map(|path| path.display().to_string()));
            }
        }
        left
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(read) = fs::read_dir(directory) else { return Vec::new() };
    read.map(|entry| entry.unwrap().path()).collect()
}
