//! Control groups that a killed program left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::kernel::mounts;

/// How long a group may stay busy with processes that were killed.
const BUSY: Duration = Duration::from_secs(10);

/// The roots of the hierarchies.
pub fn hierarchies() -> Vec<PathBuf> {
    mounts().into_iter().filter(|mount| mount.filesystem.starts_with("cgroup")).map(|mount| mount.point).collect()
}

/// The groups of this name, in each hierarchy there is.
pub fn groups(name: &str) -> Vec<PathBuf> {
    hierarchies().iter().map(|hierarchy| hierarchy.join(name)).filter(|group| group.exists()).collect()
}

/// Removes the groups of this name with all groups below them; nothing may run in them any more but what is just being killed.
/// Returns those that could not be removed.
pub fn remove(name: &str) -> Vec<PathBuf> {
    let begun = Instant::now();
    let mut left = groups(name);
    loop {
        left.retain(|group| !remove_tree(group));
        if left.is_empty() || begun.elapsed() > BUSY {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn remove_tree(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}
