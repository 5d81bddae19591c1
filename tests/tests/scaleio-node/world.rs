//! A node with an SDC and a plugin, and volumes that the test maps to it.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use hawser_scaleio::grant::Grant;
use hawser_tests::binary::{hawser, hawser_with_faults};
use hawser_tests::client::Context;
use hawser_tests::rig::{Given, Sdc, Solo};
use hawser_volume::Bytes;

/// What the SDC calls itself.
pub const GUID: &str = "9E56672F-2F4B-4A42-BFF4-88B6846FBFDA";

/// The id of the system.
pub const SYSTEM: &str = "14dbbf5617523654";

/// A gibibyte. The array has volumes of 8 of them and more; the node takes what is there.
pub const GIB: u64 = 1 << 30;

/// The configuration of every node here, unless a case is about it.
pub const CONFIG: &str = "backends:\n  sio:\n    type: scaleio\n    max-volumes-per-node: 7\n";

/// What everything happens in.
pub struct World(Solo);

/// A volume: a file on this side, a disk in the node when it is mapped.
pub struct Volume {
    /// The ids of the system and the volume.
    pub native: String,
    pub given: Given,
}

impl World {
    /// A node with a plugin as it is.
    pub async fn new() -> Self {
        Self::with(hawser()).await
    }

    /// The same with a plugin whose calls can be held.
    pub async fn with_faults() -> Self {
        Self::with(hawser_with_faults()).await
    }

    async fn with(program: &Path) -> Self {
        let mut world = Self(Solo::idle("node-a", CONFIG));
        world.node.install_sdc(GUID);
        world.run(program).await;
        world
    }

    /// A node without SDC and plugin, whose plugin is not told which node it is.
    pub fn idle(config: &str) -> Self {
        Self(Solo::idle("", config))
    }

    /// A new volume; it takes space only as it is written.
    pub fn volume(&self, number: u32, bytes: u64) -> Volume {
        let id = format!("a{number:015x}");
        let native = format!("{SYSTEM}-{id}");
        let given = Given { handle: format!("sio:{native}"), context: context(&id, GUID, bytes), file: self.file(&id, bytes) };
        Volume { native, given }
    }

    /// What the array does; returns the disk in the node.
    pub fn map(&self, volume: &Volume) -> PathBuf {
        self.node.map(&volume.native, &volume.file)
    }

    /// What the array does.
    pub fn unmap(&self, volume: &Volume) {
        self.node.unmap(&volume.native, &volume.file);
    }
}

/// What the controller says of a volume.
pub fn context(id: &str, sdc: &str, bytes: u64) -> Context {
    let (system, volume, sdc, size) = (SYSTEM.to_owned(), id.to_owned(), sdc.to_owned(), Bytes::new(bytes));
    Grant { system, volume, sdc, size, read_only: false }.to_context()
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
