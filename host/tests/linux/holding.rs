//! Locks between processes.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hawser_host::lock::FileLock;
use hawser_volume::{Deadline, Kind};

use crate::place::{Place, soon};

#[test]
fn a_lock_is_respected_by_other_processes_and_ends_with_them() {
    let place = Place::new();
    let path = place.path("lock");
    let mut other = hold(&path);
    assert!(FileLock::try_acquire(&path).unwrap().is_none());
    let error = FileLock::acquire(&path, Deadline::after(Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    other.kill().unwrap();
    other.wait().unwrap();
    let lock = FileLock::acquire(&path, soon()).unwrap();
    let refused = Command::new("flock").arg("-n").arg(&path).arg("true").status().expect("flock of util-linux is installed");
    assert!(!refused.success());
    drop(lock);
    assert!(Command::new("flock").arg("-n").arg(&path).arg("true").status().unwrap().success());
}

/// Another process that has the lock until it is killed.
fn hold(path: &std::path::Path) -> Child {
    let mut child = Command::new("flock")
        .arg("--no-fork")
        .arg(path)
        .args(["sh", "-c", "echo held; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock of util-linux is installed");
    let mut said = [0; 5];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut said).expect("the lock is taken");
    child
}
