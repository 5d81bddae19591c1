//! An instance with a plugin, and volumes that the test attaches to it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_ebs::Grant;
use hawser_proto::csi;
use hawser_tests::Usage;
use hawser_tests::binary::{hawser, hawser_with_faults};
use hawser_tests::client::{Client, Context};
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
    pub plugin: Plugin,
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
        let rig = Rig::start();
        let [node] = rig.nodes_of([Plan { memory: 512, ..Plan::new("n1") }]);
        fs::create_dir(rig.shared().join("volumes")).unwrap();
        let config = format!("backends:\n  ebs:\n    type: ebs\n    node:\n      zone: {ZONE}\n");
        let plugin = Plugin::serve_as(&node, node.command(program), "node", INSTANCE, &config).await;
        Self { plugin, node, rig }
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
        self.plugin.client()
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
        self.stage(volume, usage, Duration::from_secs(50))
            .await
            .unwrap_or_else(|status| panic!("{status}\n{}", self.plugin.tail()))
    }

    /// The mounts in the node that have anything to do with volumes.
    pub fn mounts(&self) -> String {
        self.node.shell("grep -E 'nvme|/staging/|/pods/' /proc/self/mountinfo || true")
    }

    /// Fails unless staging was refused with `code` and these words, and nothing was mounted.
    pub fn refused(&self, result: Result<PathBuf, Status>, code: Code, words: &[&str]) {
        let status = result.map(|path| panic!("staged at {}\n{}", path.display(), self.plugin.tail())).unwrap_err();
        assert_eq!(status.code(), code, "{status}\n{}", self.plugin.tail());
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
