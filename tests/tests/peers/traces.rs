//! What a peer could leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hawser_tests::enclosure::abandoned_groups;
use hawser_tests::kernel::{loops_below, mounts_below};
use hawser_tests::poll::until;

/// Where the peers keep things when nobody tells them another place.
const DEFAULTS: [&str; 13] = [
    "/run/mesos",
    "/tmp/mesos",
    "/var/lib/mesos",
    "/run/docker",
    "/run/docker.sock",
    "/run/containerd",
    "/run/runc",
    "/run/crun",
    "/run/containers",
    "/run/libpod",
    "/var/lib/docker",
    "/var/lib/containers",
    "/dev/shm/libpod_lock",
];

/// What there was before.
#[derive(Debug)]
pub struct Traces {
    files: BTreeSet<PathBuf>,
    groups: BTreeSet<PathBuf>,
}

impl Traces {
    /// What there is now.
    pub fn now() -> Self {
        Self { files: everything(), groups: abandoned_groups() }
    }

    /// Panics if there is more now than there was, or a process, a mount or a loop device of `workspace`, in which nothing runs any
    /// more, or a control group whose enclosure is gone.
    pub fn assert_none(&self, workspace: &Path) {
        let new: Vec<PathBuf> = everything().difference(&self.files).cloned().collect();
        assert!(new.is_empty(), "left behind: {new:?}");
        let (mounts, loops, processes) = (mounts_below(workspace), loops_below(workspace), processes_of(workspace));
        assert!(mounts.is_empty() && loops.is_empty() && processes.is_empty(), "left behind: {mounts:?} {loops:?} {processes:?}");
        // Those of a test that ends at this moment are just being removed.
        until("the removal of control groups", || abandoned_groups().is_subset(&self.groups).then_some(()));
    }
}

/// All files at the default places.
fn everything() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut next: Vec<PathBuf> = DEFAULTS.iter().map(PathBuf::from).filter(|path| path.symlink_metadata().is_ok()).collect();
    while let Some(path) = next.pop() {
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            next.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        found.insert(path);
    }
    found
}

/// The command lines and environments in which the workspace is named.
fn processes_of(workspace: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let line = String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).replace('\0', " ");
        if line.contains(workspace.to_str().unwrap()) {
            found.push(format!("{}: {line}", entry.file_name().display()));
        }
    }
    found
}
