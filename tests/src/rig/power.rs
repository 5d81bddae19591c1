//! A node that has power: the process that is its kernel, and those that this one has made.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::daemon::{Daemon, children};
use crate::poll::until;

/// How often a kernel is woken that may have lost its clock.
const PULSE: Duration = Duration::from_secs(2);

/// The processes of one node. Dropping it is a power failure.
#[derive(Debug)]
pub struct Power {
    kernel: Daemon,
    /// Ends the pulse when it is dropped.
    pulse: Option<Sender<()>>,
}

impl Power {
    /// Starts a kernel, in the enclosure that `command` enters; what it and its first process say is added to `console`.
    pub fn on(command: Command, console: &Path) -> Self {
        Self { kernel: Daemon::spawn_behind(command, console), pulse: None }
    }

    /// Wakes the kernel from time to time. To be called when it runs: one that is just starting would be ended by the signal.
    ///
    /// Under load, once in some hours, Debian's 6.1 loses the event of its clock: idle, it finds no timer armed and looks again at once, for
    /// ever (arch/um/os-Linux/time.c, os_idle_sleep), and the node stands still. The signal of the timer that was lost wakes it, and one too
    /// many finds nothing that is due.
    pub fn keep_awake(&mut self) {
        let Ok(kernel) = pidfd_open(self.kernel(), PidfdFlags::empty()) else { return };
        let (pulse, ended) = mpsc::channel();
        self.pulse = Some(pulse);
        thread::spawn(move || {
            while ended.recv_timeout(PULSE) == Err(RecvTimeoutError::Timeout) && pidfd_send_signal(&kernel, Signal::ALARM).is_ok()
            {
            }
        });
    }

    /// The process that is the kernel.
    pub fn kernel(&self) -> Pid {
        self.kernel.id()
    }

    /// Whether it went off by itself. Not to be asked while it is frozen, as it is thawed by that.
    pub fn is_off(&mut self) -> bool {
        // nsenter stops when its child does, and goes on only when it is told to, with its child.
        let _ = kill_process(self.kernel.runner(), Signal::CONT);
        self.kernel.has_ended()
    }

    /// Stops everything in the node; its clocks jump when it goes on.
    pub fn freeze(&self) {
        for process in self.untraced() {
            kill_process(process, Signal::STOP).unwrap();
        }
        until("the standstill of the node", || (state(self.kernel()) == Some('T')).then_some(()));
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        for process in self.untraced() {
            kill_process(process, Signal::CONT).unwrap();
        }
    }

    /// The kernel and its threads for disks, which are processes too. The programs of the node are traced by the kernel: they stand
    /// still with it, and to stop them as well would look to it like a broken processor (arch/um/os-Linux/skas/process.c).
    fn untraced(&self) -> Vec<Pid> {
        let traced = |process: &Pid| field(*process, "TracerPid:").is_none_or(|tracer| tracer != "0");
        let mut processes = vec![self.kernel()];
        processes.extend(children(self.kernel()).into_iter().filter(|child| !traced(child)));
        processes
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        if self.kernel.has_ended() {
            return;
        }
        // Once it is stopped it makes no process any more. Those that it has made outlive it if they are let.
        let _ = kill_process(self.kernel(), Signal::STOP);
        let mut processes = children(self.kernel());
        processes.push(self.kernel());
        for process in &processes {
            let _ = kill_process(*process, Signal::KILL);
        }
        until("the end of the node", || self.is_off().then_some(()));
        until("the end of the node's processes", || processes.iter().all(|process| state(*process).is_none()).then_some(()));
    }
}

/// The state of a process as in proc(5); none when it is gone, or is but waited for.
fn state(process: Pid) -> Option<char> {
    field(process, "State:").and_then(|state| state.chars().next()).filter(|state| *state != 'Z' && *state != 'X')
}

fn field(process: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}
