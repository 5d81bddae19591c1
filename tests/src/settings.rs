//! The configuration that a plugin is started with.

use std::fmt::Write;
use std::path::Path;

use crate::ground;

/// What a pool's volumes are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sparse files on loop devices.
    Image,
    /// Directories.
    Directory,
    /// Directories below an export of an NFS server.
    Nfs,
}

/// The keys of the configuration that cases differ in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the pool's volumes are made of.
    pub kind: Kind,
    /// What all volumes together may have, as written in the file.
    pub capacity: Option<&'static str>,
    /// How many times the capacity may be promised.
    pub overcommit: &'static str,
    /// How many volumes a node may have.
    pub max_volumes: Option<u32>,
    /// Which optional RPCs are advertised.
    pub spec_level: &'static str,
    /// The filter of the log.
    pub log: &'static str,
}

impl Settings {
    /// What a plugin has by default. Much is promised, as tests must not depend on how full the machine's disk is.
    pub fn new(kind: Kind) -> Self {
        Self { kind, capacity: None, overcommit: "1000", max_volumes: None, spec_level: "1.12", log: "info" }
    }

    /// The configuration file, for a pool at `root`.
    pub fn yaml(&self, root: &Path) -> String {
        let mut text = format!("driver:\n  csi-spec-level: \"{}\"\nbackends:\n  local:\n", self.spec_level);
        match self.kind {
            Kind::Image => self.local(&mut text, root, "image"),
            Kind::Directory => self.local(&mut text, root, "directory"),
            Kind::Nfs => {
                // The root is a directory of the export, which is mounted here for the tests' own looks at it.
                let (server, export) = ground::export().split_once(':').unwrap();
                let name = root.file_name().unwrap().display();
                writeln!(text, "    type: nfs\n    server: {server}\n    path: {export}/{name}").unwrap();
            }
        }
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
