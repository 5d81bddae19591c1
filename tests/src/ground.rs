//! What the pool's root stands on: a filesystem with reflinks or one without.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

use crate::kernel::{self, run};
use crate::workspace::Workspace;

/// Enough for every case; the file is sparse.
const SIZE: u64 = 24 << 30;

/// The kind of filesystem below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// No reflinks: copies are copies.
    Ext4,
    /// Reflinks: a snapshot takes no time and no space.
    Xfs,
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
            Ground::Xfs => ("xfs", &["-q", "-f", "-m", "reflink=1"]),
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
