//! What is left of a rig when a test fails in the middle of everything, and when it is killed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hawser_tests::binary::rig_run;
use hawser_tests::poll::until;
use hawser_tests::rig::{NfsServer, Rig};

/// The command lines of processes in which `directory` is named.
fn processes(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(directory.to_str().unwrap()) {
            found.push(format!("{}: {line}", entry.file_name().display()));
        }
    }
    found
}

#[test]
fn a_test_that_panics_leaves_nothing_of_its_rig() {
    let mut directory = PathBuf::new();
    let test = AssertUnwindSafe(|| {
        let rig = Rig::start();
        directory = rig.shared().parent().unwrap().to_owned();
        let [storage, n1, frozen] = rig.nodes(["storage", "n1", "frozen"]);
        let server = NfsServer::on(storage);
        let export = server.export("v1", "rw,no_root_squash");
        n1.shell(&format!("mount -t nfs4 {export} /mnt; sleep 1000 > /mnt/held 2>&1 &"));
        let _forward = n1.forward("/run/none".as_ref(), &rig.shared().join("socket"));
        let _child = n1.command("sleep").arg("1000").spawn().unwrap();
        frozen.freeze();
        assert!(processes(&directory).len() > 3);
        // A panic that says nothing, as nothing is wrong.
        resume_unwind(Box::new(()));
    });
    assert!(catch_unwind(test).is_err());
    assert!(!directory.exists(), "{} is left", directory.display());
    assert_eq!(processes(&directory), [] as [&str; 0]);
}

#[test]
fn what_a_killed_test_left_is_swept() {
    // A program that is not run by a test, so that it can be killed.
    let mut victim = Command::new(rig_run());
    victim.args(["sh", "-c", "echo $PWD; exec sleep 1000"]).stdout(Stdio::piped());
    let place = tempfile::tempdir().unwrap();
    let mut victim = victim.env("TMPDIR", place.path()).spawn().unwrap();
    let mut rig = None;
    until("the boot of a node", || {
        rig = fs::read_dir(place.path()).unwrap().flatten().map(|entry| entry.path()).next();
        rig.as_ref()?.join("shared/.suite.ready").exists().then_some(())
    });
    let rig = rig.unwrap();
    assert!(!processes(&rig).is_empty());
    victim.kill().unwrap();
    assert!(victim.wait().unwrap().signal().is_some());
    until("the end of the processes", || processes(&rig).is_empty().then_some(()));
    assert!(rig.exists(), "somebody else has swept it");
    let mut next = Command::new(rig_run());
    assert!(next.arg("true").env("TMPDIR", place.path()).status().unwrap().success());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
