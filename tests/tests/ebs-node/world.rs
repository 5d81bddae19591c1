//! An instance with a plugin, and volumes that the test attaches to it.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use hawser_ebs::Grant;
use hawser_tests::binary::{hawser, hawser_with_faults};
use hawser_tests::rig::{Given, Nvme, Solo};

/// The instance.
pub const INSTANCE: &str = "i-0123456789abcdef0";

/// Its zone.
pub const ZONE: &str = "us-east-1a";

/// Where the volume of every case here was to be attached.
pub const NAME: &str = "/dev/xvdba";

/// A gibibyte.
pub const GIB: u64 = 1 << 30;

/// What everything happens in.
pub struct World(Solo);

/// A volume: a file on this side, a device in the node when it is attached.
pub struct Volume {
    pub id: String,
    pub serial: String,
    given: Given,
}

impl World {
    /// An instance with a plugin as it is.
    pub async fn new() -> Self {
        let mut world = Self::idle().await;
        world.run(hawser()).await;
        world
    }

    /// The same with a plugin whose calls can be held.
    pub async fn with_faults() -> Self {
        let mut world = Self::idle().await;
        world.run(hawser_with_faults()).await;
        world
    }

    /// An instance without a plugin.
    pub async fn idle() -> Self {
        Self(Solo::idle(INSTANCE, &format!("backends:\n  ebs:\n    type: ebs\n    node:\n      zone: {ZONE}\n")))
    }

    /// A new volume; it takes space only as it is written.
    pub fn volume(&self, number: u32, bytes: u64) -> Volume {
        let digits = format!("{number:017x}");
        let id = format!("vol-{digits}");
        let context = Grant { device: NAME.to_owned(), volume: id.clone() }.to_context();
        let given = Given { handle: format!("ebs:{id}"), context, file: self.file(&digits, bytes) };
        Volume { id, serial: format!("vol{digits}"), given }
    }

    /// What EC2 does; returns the device in the node.
    pub fn attach(&self, volume: &Volume) -> PathBuf {
        self.node.plug(&volume.file, &volume.serial)
    }

    /// What EC2 does.
    pub fn detach(&self, volume: &Volume) {
        self.node.unplug(&volume.file, &volume.serial);
    }
}

impl Deref for World {
    type Target = Solo;

    fn deref(&self) -> &Solo {
        &self.0
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Solo {
        &mut self.0
    }
}

impl Deref for Volume {
    type Target = Given;

    fn deref(&self) -> &Given {
        &self.given
    }
}
