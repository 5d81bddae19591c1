//! A machine of its own for programs that mount, spawn and never clean up: mounts and processes that nobody else sees, and that
//! are all gone with it, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Pid, Signal, kill_process};

use crate::cgroup;
use crate::daemon::{Daemon, children};
use crate::kernel::{Mount, mounts_of};

/// What the first process does. Other tests' mounts are in the copy of the table that it starts with, and would keep their
/// filesystems busy, so they are taken away from it. Then it waits until nobody holds the other end of its standard input any
/// more, which is also so when the test is killed; meanwhile the shell reaps whoever lost its parent.
const INIT: &str = r#"
set -eu
unwanted=$1; shift
while read -r _ _ _ _ point _; do
  point=$(printf %b "$point")
  case $point in "$unwanted"/*) ;; *) continue ;; esac
  for kept in "$@"; do
    case $point in "$kept" | "$kept"/*) continue 2 ;; esac
  done
  umount --lazy "$point" || :
done < /proc/self/mountinfo
"#;
const WAIT: &str = "\necho ready\ncat > /dev/null\n";

/// What the programs in an enclosure reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What everybody here reaches.
    Shared,
    /// Nothing.
    None,
}

/// What the names of enclosures begin with, before the id of the process that holds one.
const PREFIX: &str = "hawser-test-";

/// Namespaces of mounts and processes, held by a process of their own.
#[derive(Debug)]
pub struct Enclosure {
    holder: Child,
    init: Pid,
    name: String,
    network: Network,
}

impl Enclosure {
    /// An enclosure whose first process has run `setup`, a piece of shell.
    ///
    /// Mounts below the system's temporary directory, where the workspaces are, are not seen inside, but for those below the
    /// directories of `seen`; and what is mounted there later, once they are [shared](share).
    pub fn new(network: Network, seen: &[PathBuf], setup: &str) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "slave", "--pid", "--fork", "--mount-proc"]);
        if network == Network::None {
            command.arg("--net");
        }
        command.args(["sh", "-c", &[INIT, setup, WAIT].concat(), "init"]).arg(std::env::temp_dir()).args(seen);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let id = Pid::from_child(&holder);
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(init) = children(id).first().copied().filter(|_| line == "ready\n") else {
            panic!("an enclosure could not be set up: {:?}", holder.wait_with_output().unwrap());
        };
        Self { holder, init, name: format!("{PREFIX}{}", id.as_raw_nonzero()), network }
    }

    /// A name that no other enclosure has at this time; control groups below it are removed with the enclosure.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first process inside.
    pub fn init(&self) -> Pid {
        self.init
    }

    /// A command that runs `program` inside, as its child.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.as_raw_nonzero().to_string(), "--mount", "--pid"]);
        if self.network == Network::None {
            command.arg("--net");
        }
        command.arg("--").arg(program.as_ref());
        command
    }

    /// Starts a [`command`](Self::command).
    pub fn spawn(&self, command: Command, log: &Path) -> Daemon {
        Daemon::spawn_behind(command, log)
    }

    /// The mounts inside.
    pub fn mounts(&self) -> Vec<Mount> {
        mounts_of(self.init)
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        let _ = kill_process(self.init, Signal::KILL);
        let _ = self.holder.wait();
        let left = cgroup::remove(&self.name);
        assert!(left.is_empty() || std::thread::panicking(), "control groups that are not empty: {left:?}");
    }
}

/// Control groups of enclosures that are no more.
pub fn abandoned_groups() -> BTreeSet<PathBuf> {
    let groups = cgroup::hierarchies().into_iter().flat_map(|hierarchy| fs::read_dir(hierarchy).into_iter().flatten().flatten());
    let abandoned = |group: &fs::DirEntry| {
        let name = group.file_name().to_string_lossy().into_owned();
        name.strip_prefix(PREFIX).is_some_and(|holder| !Path::new("/proc").join(holder).exists())
    };
    groups.filter(abandoned).map(|group| group.path()).collect()
}

/// Makes a mount of `directory`, which goes with its workspace, so that what is mounted below it is seen in enclosures too.
pub fn share(directory: &Path) {
    mount_bind(directory, directory).unwrap();
    mount_change(directory, MountPropagationFlags::SHARED).unwrap();
}
