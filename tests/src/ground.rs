//! What the pool's root stands on: a filesystem with reflinks or one without.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::mount::{UnmountFlags, unmount};

use crate::kernel::{self, run};
use crate::workspace::Workspace;

/// Enough for every case; the file is sparse.
const SIZE: u64 = 24 << 30;

/// The kind of filesystem below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// No reflinks: copies are copies.
    Ext4,
    /// Reflinks: a snapshot takes no time and no space.
    Xfs,
    /// The export of a server, for a suite that runs in a node of the rig: [`export`].
    Nfs,
    /// Where a simulated storage system keeps what is on its volumes, for a suite that runs in a node of the rig, where they can be devices.
    Devices,
}

/// The variable that names the export of [`Ground::Nfs`], as `server:/path`.
pub const EXPORT: &str = "HAWSER_TEST_EXPORT";

/// The export that [`EXPORT`] names.
pub fn export() -> &'static str {
    static NAMED: OnceLock<String> = OnceLock::new();
    NAMED.get_or_init(|| std::env::var(EXPORT).unwrap_or_else(|_| panic!("{EXPORT} names no export")))
}

/// What cases stand on that share it, each with a root of its own.
#[derive(Debug, Default)]
pub struct Grounds(BTreeMap<Ground, Footing>);

impl Grounds {
    /// Where a root on such ground is made.
    pub fn place(&mut self, ground: Ground) -> PathBuf {
        self.0.entry(ground).or_insert_with(|| Footing::of(ground)).path().to_owned()
    }
}

/// A mounted filesystem of a certain kind in which roots can be made.
#[derive(Debug)]
pub struct Footing {
    workspace: Workspace,
    mounted: Option<PathBuf>,
}

impl Footing {
    /// The temporary directory itself where it is of the wanted kind, else a filesystem in a file.
    pub fn of(ground: Ground) -> Self {
        let workspace = Workspace::new();
        let (kind, format): (&str, &[&str]) = match ground {
            Ground::Ext4 => ("ext4", &["-q", "-F"]),
            // With reflinks what is cut is one moment, as it is on real ones.
            Ground::Xfs | Ground::Devices => ("xfs", &["-q", "-f", "-m", "reflink=1"]),
            Ground::Nfs => return Self::of_export(workspace),
        };
        if filesystem_of(workspace.path()) == kind {
            return Self { workspace, mounted: None };
        }
        let file = workspace.path().join("ground");
        File::create_new(&file).unwrap().set_len(SIZE).unwrap();
        let mounted = workspace.directory("mounted");
        let (file, point) = (file.to_str().unwrap(), mounted.to_str().unwrap());
        run(&format!("mkfs.{kind}"), &[format, &[file]].concat());
        run("mount", &["-t", kind, "-o", "loop", file, point]);
        Self { workspace, mounted: Some(mounted) }
    }

    /// The export itself, with nothing remembered of what others see there.
    fn of_export(workspace: Workspace) -> Self {
        let mounted = workspace.directory("mounted");
        let options = "vers=4.2,softerr,timeo=100,retrans=3,actimeo=0,lookupcache=none,nosharecache";
        run("mount", &["-t", "nfs4", "-o", options, export(), mounted.to_str().unwrap()]);
        Self { workspace, mounted: Some(mounted) }
    }

    /// A place for a root.
    pub fn path(&self) -> &Path {
        self.mounted.as_deref().unwrap_or(self.workspace.path())
    }

    /// Where the filesystem of its own is mounted, if it has one; only such a one may be frozen by a test.
    pub fn own(&self) -> Option<&Path> {
        self.mounted.as_deref()
    }
}

impl Drop for Footing {
    fn drop(&mut self) {
        // The device that mount(8) bound frees itself with the last unmount.
        if let Some(mounted) = &self.mounted {
            let _ = unmount(mounted, UnmountFlags::NOFOLLOW);
        }
    }
}

/// The type of the filesystem that `path` is in.
fn filesystem_of(path: &Path) -> String {
    let mounts = kernel::mounts();
    let nearest =
        mounts.iter().filter(|mount| path.starts_with(&mount.point)).max_by_key(|mount| mount.point.components().count());
    nearest.map(|mount| mount.filesystem.clone()).unwrap_or_default()
}
