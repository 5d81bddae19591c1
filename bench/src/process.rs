//! Memory and system calls of the driver's process.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use hawser_volume::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

/// A process that is watched during a run.
#[derive(Debug)]
pub(crate) struct Watch {
    pid: u32,
    idle_kib: u64,
    trace: Option<(Child, NamedTempFile)>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Seen {
    /// Resident memory before the run, in KiB.
    pub(crate) idle_kib: u64,
    /// Its largest value during the run, in KiB.
    pub(crate) peak_kib: u64,
    /// System calls by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) syscalls: BTreeMap<String, u64>,
}

/// Reads a line `name: 123 kB` of /proc/PID/status.
fn status_kib(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|e| Error::invalid(format!("--pid: read {path}")).caused_by(e))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Error::invalid(format!("--pid: {path} has no {name}; the process has no memory of its own")))
}

impl Watch {
    /// Begins. The peak is counted anew from here.
    pub(crate) fn begin(pid: u32, syscalls: bool) -> Result<Self> {
        let reset = format!("/proc/{pid}/clear_refs");
        // 5 resets the peak (proc_pid_clear_refs(5)).
        fs::write(&reset, "5").map_err(|e| Error::invalid(format!("--pid: write {reset}")).caused_by(e))?;
        let idle_kib = status_kib(pid, "VmRSS")?;
        let trace = if syscalls { Some(begin_trace(pid)?) } else { None };
        Ok(Self { pid, idle_kib, trace })
    }

    /// Ends, and says what was seen.
    pub(crate) async fn end(self) -> Result<Seen> {
        let syscalls = match self.trace {
            Some((child, file)) => end_trace(child, &file).await?,
            None => BTreeMap::new(),
        };
        Ok(Seen { idle_kib: self.idle_kib, peak_kib: status_kib(self.pid, "VmHWM")?, syscalls })
    }
}

fn begin_trace(pid: u32) -> Result<(Child, NamedTempFile)> {
    let file = NamedTempFile::new().map_err(|e| Error::unavailable("make a temporary file").caused_by(e))?;
    let child = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-p"])
        .arg(pid.to_string())
        .arg("-o")
        .arg(file.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Error::precondition("--syscalls needs strace").caused_by(e))?;
    Ok((child, file))
}

async fn end_trace(mut child: Child, file: &NamedTempFile) -> Result<BTreeMap<String, u64>> {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // strace writes its summary when it is interrupted.
        kill(Pid::from_raw(pid), Signal::SIGINT).map_err(|e| Error::internal("interrupt strace").caused_by(e))?;
    }
    child.wait().await.map_err(|e| Error::internal("wait for strace").caused_by(e))?;
    let text = fs::read_to_string(file.path()).map_err(|e| Error::internal("read the output of strace").caused_by(e))?;
    Ok(parse_summary(&text))
}

/// Reads the table that `strace -c -U calls,name` writes.
fn parse_summary(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let calls = words.next()?.parse().ok()?;
            let name = words.next()?;
            (name != "total").then(|| (name.to_owned(), calls))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_strace_is_read() {
        let text = "    calls syscall\n--------- ----------------\n       12 futex\n        3 read\n--------- ----------------\n       15 total\n";
        assert_eq!(parse_summary(text), BTreeMap::from([("futex".to_owned(), 12), ("read".to_owned(), 3)]));
    }

    #[test]
    fn a_process_has_memory_and_a_missing_one_has_none() {
        assert!(status_kib(std::process::id(), "VmRSS").unwrap() > 0);
        assert!(status_kib(u32::MAX, "VmRSS").is_err());
    }
}
