//! The configuration that a plugin is started with.

use std::fmt::Write;
use std::path::Path;

use hawser_volume::Bytes;

use crate::storage::Storage;
use crate::{MIB, ec2, ground, scaleio};

/// What volumes are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sparse files on loop devices.
    Image,
    /// Directories.
    Directory,
    /// Directories below an export of an NFS server.
    Nfs,
    /// Volumes of a simulated EC2.
    Ebs,
    /// Volumes of a simulated array.
    ScaleIo,
}

/// The sizes of volumes that a backend can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// All sizes are multiples of this, in bytes.
    pub step: i64,
    /// A size in bytes that does not matter. Its half is a size, too.
    pub small: i64,
}

impl Sizes {
    /// The smallest size that has room for `bytes`.
    pub fn fit(self, bytes: i64) -> i64 {
        (bytes + self.step - 1) / self.step * self.step
    }
}

/// A size in bytes as messages say it.
pub fn words(bytes: i64) -> String {
    Bytes::new(bytes.cast_unsigned()).to_string()
}

impl Kind {
    /// The sizes that its volumes can have.
    pub fn sizes(self) -> Sizes {
        match self {
            Kind::Image | Kind::Directory | Kind::Nfs => Sizes { step: 4096, small: 16 * MIB },
            Kind::Ebs => Sizes { step: 1 << 30, small: 2 << 30 },
            Kind::ScaleIo => Sizes { step: 8 << 30, small: 16 << 30 },
        }
    }

    /// A parameter that can be changed later, with its default and another value.
    pub fn change(self) -> Option<[&'static str; 3]> {
        match self {
            Kind::Image => Some(["provisioning", "thin", "thick"]),
            Kind::Ebs => Some(["type", "gp3", "gp2"]),
            Kind::Directory | Kind::Nfs | Kind::ScaleIo => None,
        }
    }

    /// The storage system that the test has to play, with the content of its volumes within `ground`.
    pub fn storage(self, ground: &Path) -> Option<Box<dyn Storage>> {
        match self {
            Kind::Image | Kind::Directory | Kind::Nfs => None,
            Kind::Ebs => Some(Box::new(ec2::Beside::start(ground))),
            Kind::ScaleIo => Some(Box::new(scaleio::Beside::start(ground))),
        }
    }
}

/// The keys of the configuration that cases differ in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the volumes are made of.
    pub kind: Kind,
    /// What all volumes together may have, as written in the file.
    pub capacity: Option<&'static str>,
    /// How many times the capacity may be promised.
    pub overcommit: &'static str,
    /// How many volumes a node may have.
    pub max_volumes: Option<u32>,
    /// Which optional RPCs are advertised.
    pub spec_level: &'static str,
    /// `list-volumes` of the configuration.
    pub listing: &'static str,
    /// The filter of the log.
    pub log: &'static str,
}

impl Settings {
    /// What a plugin has by default. Much is promised, as tests must not depend on how full the machine's disk is.
    pub fn new(kind: Kind) -> Self {
        Self { kind, capacity: None, overcommit: "1000", max_volumes: None, spec_level: "1.12", listing: "all", log: "info" }
    }

    /// The configuration file, for a pool at `root`.
    pub fn yaml(&self, root: &Path) -> String {
        let mut text = String::new();
        match self.kind {
            Kind::Ebs | Kind::ScaleIo => panic!("its storage knows its lines"),
            Kind::Image => self.local(&mut text, root, "image"),
            Kind::Directory => self.local(&mut text, root, "directory"),
            Kind::Nfs => {
                // The root is a directory of the export, which is mounted here for the tests' own looks at it.
                let (server, export) = ground::export().split_once(':').unwrap();
                let name = root.file_name().unwrap().display();
                writeln!(text, "    type: nfs\n    server: {server}\n    path: {export}/{name}").unwrap();
            }
        }
        self.yaml_of(&text)
    }

    /// The same for a backend with these lines.
    pub fn yaml_of(&self, lines: &str) -> String {
        let Self { spec_level, listing, .. } = self;
        let mut text =
            format!("driver:\n  csi-spec-level: \"{spec_level}\"\n  list-volumes: {listing}\nbackends:\n  local:\n{lines}");
        if let Some(capacity) = self.capacity {
            writeln!(text, "    capacity: {capacity}").unwrap();
        }
        if let Some(limit) = self.max_volumes {
            writeln!(text, "    max-volumes-per-node: {limit}").unwrap();
        }
        text
    }

    fn local(&self, text: &mut String, root: &Path, kind: &str) {
        let (root, overcommit) = (root.display(), self.overcommit);
        writeln!(text, "    type: local\n    root: {root}\n    kind: {kind}\n    overcommit: {overcommit}").unwrap();
    }
}
