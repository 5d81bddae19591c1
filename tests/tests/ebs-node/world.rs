//! An instance with a plugin, and volumes that the test attaches to it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hawser_ebs::Grant;
use hawser_host::step::Step;
use hawser_proto::csi;
use hawser_tests::Usage;
use hawser_tests::binary::{hawser, hawser_with_faults};
use hawser_tests::client::{Client, Context, POD};
use hawser_tests::faults::Faults;
use hawser_tests::notice::notice;
use hawser_tests::rig::{Node, Nvme, Plan, Plugin, Rig};
use tonic::{Code, Request, Status};

/// The instance.
pub const INSTANCE: &str = "i-0123456789abcdef0";

/// Its zone.
pub const ZONE: &str = "us-east-1a";

/// Where the volume of every case here was to be attached.
pub const NAME: &str = "/dev/xvdba";

/// A gibibyte.
pub const GIB: u64 = 1 << 30;

/// What everything happens in.
pub struct World {
    // Dropped in this order.
    plugin: Option<Plugin>,
    pub node: Node,
    pub rig: Rig,
}

/// A volume: a file on this side, a device in the node when it is attached.
pub struct Volume {
    pub id: String,
    pub serial: String,
    pub file: PathBuf,
}

impl World {
    /// An instance with a plugin as it is.
    pub async fn new() -> Self {
        Self::with(hawser()).await
    }

    /// The same with a plugin whose calls can be held.
    pub async fn with_faults() -> Self {
        Self::with(hawser_with_faults()).await
    }

    async fn with(program: &Path) -> Self {
        let mut world = Self::idle().await;
        let command = world.node.command(program);
        world.run(command).await;
        world
    }

    /// An instance without a plugin.
    pub async fn idle() -> Self {
        let rig = Rig::start();
        let [node] = rig.nodes_of([Plan { memory: 512, ..Plan::new("n1") }]);
        fs::create_dir(rig.shared().join("volumes")).unwrap();
        Self { plugin: None, node, rig }
    }

    async fn run(&mut self, command: Command) {
        // The one that was there lets its socket go first.
        self.plugin = None;
        let config = format!("backends:\n  ebs:\n    type: ebs\n    node:\n      zone: {ZONE}\n");
        self.plugin = Some(Plugin::serve_as(&self.node, command, "node", INSTANCE, &config).await);
    }

    /// Starts a plugin instead of the one that runs; it is to die at `step`.
    pub async fn serve(&mut self, step: Option<Step>) {
        let mut command = self.node.command(hawser_with_faults());
        if let Some(step) = step {
            command.env("HAWSER_KILL_AT", step.name());
        }
        self.run(command).await;
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

    /// The power of the instance fails, and comes back. Nothing is attached then.
    pub fn power_fails(&mut self) {
        self.plugin = None;
        self.node.kill();
        self.node.boot();
    }

    /// Stages and publishes it.
    pub async fn up(&self, volume: &Volume, usage: &Usage) -> Result<PathBuf, Status> {
        self.stage(volume, usage, Duration::from_secs(50)).await?;
        self.client().publish(&volume.csi(), &volume.context(), usage, POD).await
    }

    /// The opposite.
    pub async fn down(&self, volume: &Volume) -> Result<(), Status> {
        self.client().unpublish(&volume.handle(), POD).await?;
        self.client().unstage(&volume.handle()).await
    }

    /// A new volume; it takes space only as it is written.
    pub fn volume(&self, number: u32, bytes: u64) -> Volume {
        let digits = format!("{number:017x}");
        let file = self.rig.shared().join("volumes").join(&digits);
        File::create_new(&file).unwrap().set_len(bytes).unwrap();
        Volume { id: format!("vol-{digits}"), serial: format!("vol{digits}"), file }
    }

    /// What EC2 does; returns the device in the node.
    pub fn attach(&self, volume: &Volume) -> PathBuf {
        self.node.plug(&volume.file, &volume.serial)
    }

    /// What EC2 does.
    pub fn detach(&self, volume: &Volume) {
        self.node.unplug(&volume.file, &volume.serial);
    }

    pub fn client(&self) -> Client {
        self.plugin.as_ref().unwrap().client()
    }

    /// Stages it, and waits `patience` for the answer.
    pub async fn stage(&self, volume: &Volume, usage: &Usage, patience: Duration) -> Result<PathBuf, Status> {
        let client = self.client();
        let request = client.stage_request(&volume.csi(), &volume.context(), usage);
        let path = PathBuf::from(&request.staging_target_path);
        let mut request = Request::new(request);
        request.set_timeout(patience);
        client.node().node_stage_volume(request).await?;
        Ok(path)
    }

    /// Stages it in time.
    pub async fn staged(&self, volume: &Volume, usage: &Usage) -> PathBuf {
        self.stage(volume, usage, Duration::from_secs(50)).await.unwrap_or_else(|status| panic!("{status}\n{}", self.tail()))
    }

    /// The mounts in the node that have anything to do with volumes.
    pub fn mounts(&self) -> String {
        self.node.shell("grep -E 'nvme|/staging/|/pods/' /proc/self/mountinfo || true")
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

impl Volume {
    /// As CSI sees it.
    pub fn csi(&self) -> csi::Volume {
        csi::Volume { volume_id: self.handle(), ..Default::default() }
    }

    pub fn handle(&self) -> String {
        format!("ebs:{}", self.id)
    }

    /// What ControllerPublishVolume would answer.
    pub fn context(&self) -> Context {
        Grant { device: NAME.to_owned(), volume: self.id.clone() }.to_context()
    }

    /// Whether anything was ever written to it.
    pub fn is_untouched(&self) -> bool {
        let mut bytes = vec![0; 4 << 20];
        let read = File::open(&self.file).unwrap().read_at(&mut bytes, 0).unwrap();
        bytes[..read].iter().all(|byte| *byte == 0)
    }

    /// Everything that is on its first mebibytes.
    pub fn beginning(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8 << 20];
        let read = File::open(&self.file).unwrap().read_at(&mut bytes, 0).unwrap();
        bytes.truncate(read);
        bytes
    }
}
