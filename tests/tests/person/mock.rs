//! A driver that others wrote: the mock of Kubernetes' tests, which keeps volumes in memory and mounts nothing.

use std::path::PathBuf;
use std::process::Command;

use hawser_tests::Workspace;
use hawser_tests::binary::tool;
use hawser_tests::daemon::Daemon;
use hawser_tests::poll::until;

use crate::hand::Hand;

/// The driver, as long as it lives.
pub struct Mock {
    pub daemon: Daemon,
    pub hand: Hand,
    pub workspace: Workspace,
}

impl Mock {
    pub fn start() -> Self {
        let workspace = Workspace::new();
        let socket: PathBuf = workspace.path().join("mock.sock");
        let mut command = Command::new(tool("csi-mock"));
        command.arg(&socket).arg("mock.example");
        let mut daemon = Daemon::spawn(command, &workspace.path().join("mock.log"));
        until("the driver's socket", || {
            assert!(!daemon.has_ended(), "{}", daemon.tail());
            socket.exists().then_some(())
        });
        let hand = Hand::at(&socket, workspace.path());
        Self { daemon, hand, workspace }
    }
}

#[test]
fn every_verb_works_with_a_driver_that_others_wrote() {
    let mock = Mock::start();
    let hand = &mock.hand;
    let id = hand.does(&["volume", "create", "pgdata", "--size", "1GiB", "--parameter", "a=b"]);
    // Of every volume it says that its only node has it.
    hand.is_refused(&["volume", "rm", "pgdata"], 3, &["nothing is deleted", "is attached to mock.example"]);
    hand.is_refused(&["volume", "attach", "pgdata", "--node", "n2"], 3, &["is attached to mock.example", "docs/takeover.md"]);
    let path = mock.workspace.path().join("data");
    let path = path.to_str().unwrap();
    hand.does(&["volume", "mount", "pgdata", path]);
    hand.does(&["volume", "mount", "pgdata", path]);
    hand.is_refused(&["volume", "detach", "pgdata"], 3, &["hawser volume unmount"]);
    let why = hand.does(&["why", "pgdata"]);
    for words in ["attached to mock.example (this node)", "does not tell what it does", "hawser volume unmount"] {
        assert!(why.contains(words), "no {words:?} in {why}");
    }
    let unmounted = hand.does(&["volume", "unmount", path]);
    assert!(unmounted.contains("left, as it was before"), "{unmounted}");
    hand.does(&["volume", "detach", "pgdata"]);
    hand.does(&["volume", "expand", "pgdata", "2GiB"]);
    let snapshot = hand.does(&["volume", "snapshot", "pgdata", "before"]);
    assert!(hand.does(&["snapshot", "ls", "-q"]).lines().any(|line| line == snapshot));
    hand.does(&["volume", "clone", &id, "copy"]);
    hand.does(&["snapshot", "rm", &snapshot]);
    // Each step in the one order, and back.
    let said = mock.daemon.said();
    let mut rest = said.as_str();
    for call in [
        "CreateVolume",
        "ControllerPublishVolume",
        "NodeStageVolume",
        "NodePublishVolume",
        "NodeUnpublishVolume",
        "NodeUnstageVolume",
        "ControllerUnpublishVolume",
        "ControllerExpandVolume",
        "CreateSnapshot",
        "CreateVolume",
        "DeleteSnapshot",
    ] {
        let at = rest.find(&format!("/{call} ")).unwrap_or_else(|| panic!("no {call} in its place:\n{said}"));
        rest = &rest[at + 1..];
    }
    assert!(!said.contains("/DeleteVolume "), "{said}");
}
