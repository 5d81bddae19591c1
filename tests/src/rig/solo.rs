//! One node with the node's side of a plugin. Nobody plays the storage system: the test is the controller, and gives the devices.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hawser_host::step::Step;
use hawser_proto::csi;
use tonic::{Code, Request, Status};

use super::{Node, Plan, Plugin, Rig};
use crate::Usage;
use crate::binary::hawser_with_faults;
use crate::client::{Client, Context, POD};
use crate::faults::Faults;
use crate::notice::notice;

/// The node, the plugin, and what it is started with.
#[derive(Debug)]
pub struct Solo {
    // Dropped in this order.
    plugin: Option<Plugin>,
    /// The node.
    pub node: Node,
    /// What it is in.
    pub rig: Rig,
    id: String,
    config: String,
}

/// A volume: a file on this side, a device in the node when the test gives it there.
#[derive(Debug, Clone)]
pub struct Given {
    /// Its id for the plugin.
    pub handle: String,
    /// What the controller would have told the node of it.
    pub context: Context,
    /// Its content.
    pub file: PathBuf,
}

impl Solo {
    /// A node without a plugin. One will have the node id `id` and `config`.
    pub fn idle(id: &str, config: &str) -> Self {
        let rig = Rig::start();
        let [node] = rig.nodes_of([Plan { memory: 512, ..Plan::new("n1") }]);
        fs::create_dir(rig.shared().join("volumes")).unwrap();
        Self { plugin: None, node, rig, id: id.to_owned(), config: config.to_owned() }
    }

    /// Starts `program` as the plugin, instead of the one that runs.
    pub async fn run(&mut self, program: &Path) {
        let command = self.node.command(program);
        self.start(command).await;
    }

    /// Starts a plugin that is to die at `step`, instead of the one that runs.
    pub async fn serve(&mut self, step: Option<Step>) {
        let mut command = self.node.command(hawser_with_faults());
        if let Some(step) = step {
            command.env("HAWSER_KILL_AT", step.name());
        }
        self.start(command).await;
    }

    async fn start(&mut self, command: Command) {
        // The one that was there lets its socket go first.
        self.plugin = None;
        self.plugin = Some(Plugin::serve_as(&self.node, command, "node", &self.id, &self.config).await);
    }

    /// The plugin.
    pub fn plugin(&mut self) -> &mut Plugin {
        self.plugin.as_mut().unwrap()
    }

    /// The orders to a plugin with faults.
    pub fn faults(&self) -> Faults {
        self.plugin.as_ref().unwrap().faults()
    }

    /// The end of what the plugin said.
    pub fn tail(&self) -> String {
        self.plugin.as_ref().map(|plugin| plugin.tail()).unwrap_or_default()
    }

    /// A client of the plugin.
    pub fn client(&self) -> Client {
        self.plugin.as_ref().unwrap().client()
    }

    /// The power of the node fails, and comes back. Nothing that was given to it is there then.
    pub fn power_fails(&mut self) {
        self.plugin = None;
        self.node.kill();
        self.node.boot();
    }

    /// The content of a new volume; it takes space only as it is written.
    pub fn file(&self, name: &str, bytes: u64) -> PathBuf {
        let file = self.rig.shared().join("volumes").join(name);
        File::create_new(&file).unwrap().set_len(bytes).unwrap();
        file
    }

    /// Stages it, and waits `patience` for the answer.
    pub async fn stage(&self, volume: &Given, usage: &Usage, patience: Duration) -> Result<PathBuf, Status> {
        let client = self.client();
        let request = client.stage_request(&volume.csi(), &volume.context, usage);
        let path = PathBuf::from(&request.staging_target_path);
        let mut request = Request::new(request);
        request.set_timeout(patience);
        client.node().node_stage_volume(request).await?;
        Ok(path)
    }

    /// Stages it in time.
    pub async fn staged(&self, volume: &Given, usage: &Usage) -> PathBuf {
        self.stage(volume, usage, Duration::from_secs(50)).await.unwrap_or_else(|status| panic!("{status}\n{}", self.tail()))
    }

    /// Stages and publishes it.
    pub async fn up(&self, volume: &Given, usage: &Usage) -> Result<PathBuf, Status> {
        self.stage(volume, usage, Duration::from_secs(50)).await?;
        self.client().publish(&volume.csi(), &volume.context, usage, POD).await
    }

    /// The opposite.
    pub async fn down(&self, volume: &Given) -> Result<(), Status> {
        self.client().unpublish(&volume.handle, POD).await?;
        self.client().unstage(&volume.handle).await
    }

    /// The mounts in the node that have anything to do with volumes.
    pub fn mounts(&self) -> String {
        self.node.shell("grep -E 'nvme|scini|/staging/|/pods/' /proc/self/mountinfo || true")
    }

    /// Fails unless staging was refused with `code` and these words, and nothing was mounted.
    pub fn refused(&self, result: Result<PathBuf, Status>, code: Code, words: &[&str]) {
        let status = result.map(|path| panic!("staged at {}\n{}", path.display(), self.tail())).unwrap_err();
        assert_eq!(status.code(), code, "{status}\n{}", self.tail());
        for word in words {
            assert!(status.message().contains(word), "no {word:?} in: {}", status.message());
        }
        notice(&format!("{:?}: {}", status.code(), status.message()));
        assert_eq!(self.mounts(), "");
    }
}

impl Given {
    /// As CSI sees it.
    pub fn csi(&self) -> csi::Volume {
        csi::Volume { volume_id: self.handle.clone(), ..Default::default() }
    }

    /// Whether anything was ever written to it.
    pub fn is_untouched(&self) -> bool {
        self.beginning().iter().all(|byte| *byte == 0)
    }

    /// Everything that is on its first mebibytes.
    pub fn beginning(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8 << 20];
        let read = File::open(&self.file).unwrap().read_at(&mut bytes, 0).unwrap();
        bytes.truncate(read);
        bytes
    }
}
