//! Running a program: the only place that does, and only `mkfs.*`, `e2fsck`, `mount.nfs` and the `drv_cfg` of an SDC are ever asked for.
//!
//! A child has no input, a clean environment, a process group of its own, and until the deadline to finish. What it says is kept
//! to the last few kilobytes, for the error message. It is always reaped; one that cannot be killed, because it hangs in the
//! kernel on a dead device, is left to a thread that waits for it, so that no caller does.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hawser_volume::{Deadline, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::errno::Attempt;

/// Where programs are looked for beside `PATH`, which for a service often lacks the sbin directories.
const DIRECTORIES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How much of what a program says is kept, in bytes.
const OUTPUT_MAX: usize = 4096;

/// How long a killed program may take to end.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// What came of a program that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// How it ended, in words.
    pub status: String,
    /// The end of what it wrote to its output and error streams.
    pub output: String,
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Program {
    /// The program called `name`, in `PATH` or one of the usual directories, or at that place if it is an absolute path.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its otherwise clean environment.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Runs it to its end, which may be a failure. `Precondition` when it is not installed, `DeadlineExceeded` when it was
    /// killed because its time ran out.
    pub fn run(&self, deadline: Deadline) -> Result<Outcome> {
        if deadline.passed() {
            return Err(Error::deadline_exceeded(format!("there was no time left to run {}", self.name)));
        }
        let (reader, writer) = io::pipe().attempt(|| format!("make a pipe for {}", self.name))?;
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).attempt(|| format!("set up a pipe for {}", self.name))?;
        let mut command = Command::new(self.find()?);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", search_path())
            .env("LC_ALL", "C")
            .envs(self.environment.iter().copied())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().attempt(|| format!("set up a pipe for {}", self.name))?)
            .stderr(writer);
        let child = command.spawn().attempt(|| format!("run {}", self.name))?;
        // The command holds the writing end, which only the child may hold for the pipe to end with it.
        drop(command);
        self.watch(child, reader, deadline)
    }

    fn watch(&self, mut child: Child, mut reader: PipeReader, deadline: Deadline) -> Result<Outcome> {
        let watching = || format!("watch {}", self.name);
        let mut output = Vec::new();
        let result = until_end(&child, &mut reader, &mut output, deadline).attempt(watching);
        if !matches!(result, Ok(true)) {
            self.kill(child);
            result?;
            let said = words(&output);
            return Err(Error::deadline_exceeded(format!("{} did not end in time and was killed{}", self.name, quoted(&said))));
        }
        let status = child.wait().attempt(watching)?;
        Ok(Outcome { code: status.code(), status: ending(status), output: words(&output) })
    }

    /// Ends the child and everything that it started, and makes sure that somebody waits for it.
    fn kill(&self, mut child: Child) {
        if let Some(group) = group(&child) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let patience = Deadline::after(KILL_WAIT);
        while !patience.passed() {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        tracing::error!(program = %self.name, pid = child.id(), "a killed program does not end; it hangs in the kernel");
        let reaper = std::thread::Builder::new().name(format!("reap {}", child.id()));
        if let Err(error) = reaper.spawn(move || child.wait()) {
            tracing::error!(program = %self.name, %error, "no thread to wait for it: it will stay as a zombie");
        }
    }

    /// Where it is. `Precondition` when it is not installed.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        std::env::split_paths(&search_path()).map(|directory| directory.join(&self.name)).find(|path| path.is_file()).ok_or_else(
            || Error::precondition(format!("{} is not installed on this node; install the package that has it", self.name)),
        )
    }
}

/// Collects the child's words until it ends; false when the deadline comes first.
fn until_end(child: &Child, reader: &mut PipeReader, output: &mut Vec<u8>, deadline: Deadline) -> io::Result<bool> {
    let Some(pid) = group(child) else { return Ok(true) };
    let ended = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let mut open = true;
    loop {
        let left = deadline.remaining();
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
        let mut polled = vec![PollFd::new(&ended, PollFlags::IN)];
        if open {
            polled.push(PollFd::new(&*reader, PollFlags::IN));
        }
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let has_ended = polled[0].revents().contains(PollFlags::IN);
        open = open && !drain(reader, output)?;
        if has_ended {
            return Ok(true);
        }
        if deadline.passed() {
            return Ok(false);
        }
    }
}

/// Takes what is in the pipe without waiting, keeping the end of it; true when nothing will ever come again.
fn drain(reader: &mut PipeReader, output: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; OUTPUT_MAX];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(length) => {
                output.extend_from_slice(&buffer[..length]);
                output.drain(..output.len().saturating_sub(OUTPUT_MAX));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The child's number, which is its group's too.
fn group(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn search_path() -> OsString {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let usual = DIRECTORIES.iter().map(PathBuf::from);
    let directories = std::env::split_paths(&own).filter(|directory| directory.is_absolute()).chain(usual);
    std::env::join_paths(directories).unwrap_or(own)
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".into(),
    }
}

/// One line of what a program said.
fn words(output: &[u8]) -> String {
    String::from_utf8_lossy(output).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a program as the end of a message.
pub(crate) fn quoted(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hawser_volume::Kind;

    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("sh").argument("-c").argument(script)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn what_a_program_says_and_how_it_ends_is_kept() {
        let outcome = shell("echo out; echo err >&2; exit 3").run(soon()).unwrap();
        assert_eq!((outcome.code, outcome.output.as_str()), (Some(3), "out err"));
        assert_eq!(shell("kill -9 $$").run(soon()).unwrap().status, "signal 9");
        let long = shell("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done").run(soon()).unwrap();
        assert!(long.output.len() <= OUTPUT_MAX && long.output.ends_with("line 19999"));
    }

    #[test]
    fn the_environment_is_clean_and_there_is_no_input() {
        let outcome = shell("cat; env | sort").variable("GIVEN", "1").run(soon()).unwrap();
        let names: Vec<&str> = outcome.output.split(' ').filter_map(|pair| pair.split('=').next()).collect();
        for name in &names {
            assert!(["GIVEN", "LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name), "{names:?}");
        }
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_with_its_children() {
        let began = Instant::now();
        let error = shell("echo $$; sleep 1000 & wait").run(Deadline::after(Duration::from_millis(300))).unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        assert!(began.elapsed() < Duration::from_secs(10));
        let shell: i32 = error.to_string().rsplit(' ').next().unwrap().parse().unwrap();
        let group = Pid::from_raw(shell).unwrap();
        let gone = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            rustix::process::test_kill_process_group(group).is_err()
        });
        assert!(gone, "the group is still there");
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_open_keeps_nobody_waiting() {
        let began = Instant::now();
        let outcome = shell("sleep 5 & echo done").run(soon()).unwrap();
        assert_eq!(outcome.output, "done");
        assert!(began.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Program::new("mkfs.nonesuch").run(soon()).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition);
        assert!(error.to_string().contains("mkfs.nonesuch"));
    }
}
