//! A filesystem that stands still: what a storage system that has gone away looks like to who writes to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;

use crate::kernel::run;
use crate::poll::until;

/// Frozen as long as this lives.
#[derive(Debug)]
pub struct Frozen {
    path: PathBuf,
}

impl Frozen {
    /// Freezes the filesystem mounted at `path`.
    pub fn new(path: &Path) -> Self {
        run("fsfreeze", &["--freeze", path.to_str().unwrap()]);
        Self { path: path.to_owned() }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let thawed = Command::new("fsfreeze").arg("--unfreeze").arg(&self.path).status();
        assert!(thawed.is_ok_and(|status| status.success()) || std::thread::panicking(), "thaw {}", self.path.display());
    }
}

/// Waits until `count` threads of a process hang in the kernel.
pub fn until_hanging(process: Pid, count: usize) {
    let tasks = format!("/proc/{}/task", process.as_raw_nonzero());
    until("a thread that hangs in the kernel", || {
        let threads = std::fs::read_dir(&tasks).ok()?.flatten();
        let hanging = threads.filter(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('D'))
        });
        (hanging.count() >= count).then_some(())
    });
}
