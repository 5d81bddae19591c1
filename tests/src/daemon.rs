//! A program that runs beside a test, and what it says.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::poll::until;

/// How much of a log is shown when a case fails, in lines.
const TAIL: usize = 40;

/// One program. Killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    id: Pid,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command`; what it says is added to `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let id = Pid::from_child(&child);
        Self { child, id, log: log.to_owned() }
    }

    /// The same for a command that runs the program as its child, passes its end on, and is not itself what is meant.
    pub fn spawn_behind(command: Command, log: &Path) -> Self {
        let mut daemon = Self::spawn(command, log);
        daemon.id = until("the start of the program", || {
            assert!(!daemon.has_ended(), "it ended instead of starting:\n{}", daemon.tail());
            children(Pid::from_child(&daemon.child)).first().copied()
        });
        daemon
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        self.id
    }

    /// The process that runs it; itself unless it was [spawned behind](Self::spawn_behind) that.
    pub fn runner(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Everything that was said into its log, by those before it too.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The end of what it said.
    pub fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Whether it runs no more.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.id, signal).unwrap();
    }

    /// Stops it where it is; when this returns it answers nothing any more. Each of its threads stops when it sees the signal.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        until("the standstill of the process", || self.is_still().then_some(()));
    }

    fn is_still(&self) -> bool {
        fs::read_dir(format!("/proc/{}/task", self.id.as_raw_nonzero())).unwrap().all(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tT"))
        })
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        until("the end of the process", || self.child.try_wait().unwrap())
    }

    /// Stops it as an orchestrator does, and returns how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Stops it as a power failure does, as far as a process can tell.
    pub fn kill(&mut self) {
        let _ = kill_process(self.id, Signal::KILL);
        let status = self.wait();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it had ended before it was killed: {status}\n{}", self.tail());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Once it has been waited for, its id may be somebody else's.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(self.id, Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The children of the first thread of a process.
pub fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero();
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}
