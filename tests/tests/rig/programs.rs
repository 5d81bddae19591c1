//! Programs in a node: as if they ran here.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use hawser_tests::daemon::Daemon;
use hawser_tests::poll::until;
use hawser_tests::rig::{Node, Rig};
use rustix::process::Signal;

/// How many processes of a node have `word` as their first.
fn running(node: &Node, word: &str) -> usize {
    node.shell(&format!("grep -lsx {word} /proc/[0-9]*/comm | wc -l")).parse().unwrap()
}

#[test]
fn a_program_in_a_node_is_like_one_here() {
    let rig = Rig::start();
    let node = rig.node("n1");
    assert_eq!(node.shell("hostname; echo $$ > /run/pid; uname -m"), "n1\nx86_64");
    let output = node.run(["sh", "-c", "echo said; echo complained >&2; exit 42"]);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.status.code()), ("said", "complained", Some(42)));
    let missing = node.run(["/no/such/program"]);
    assert_eq!(missing.status.code(), Some(125));
    assert!(missing.stderr.contains("/no/such/program"), "{missing:?}");
    // Environment, working directory, input of any bytes and length.
    let mut command = node.command("sh");
    command.args(["-c", "pwd; echo $WORD; sha256sum"]).env("WORD", "a word").current_dir(rig.shared());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    fs::write(rig.shared().join("bytes"), &bytes).unwrap();
    let sum = hawser_tests::kernel::run("sha256sum", &[rig.shared().join("bytes").to_str().unwrap()]);
    let expected = format!("{}\na word\n{}  -\n", rig.shared().display(), sum.split(' ').next().unwrap());
    assert_eq!(said, expected);
    // Much output.
    assert_eq!(node.run(["seq", "200000"]).well().lines().count(), 200_000);
    // One that goes on in the background holds the output open and does not keep the others waiting.
    assert_eq!(node.shell("sleep 1000 & echo begun"), "begun");
    assert_eq!(running(&node, "sleep"), 1);
    let ended = node.run(["sh", "-c", "kill -SEGV $$"]);
    assert_eq!(ended.status.signal(), Some(Signal::SEGV.as_raw()));
}

#[test]
fn who_stops_the_stand_in_stops_the_program() {
    let rig = Rig::start();
    let node = rig.node("n1");
    let mut command = node.command("sh");
    command.args(["-c", "trap 'echo terminated; exit 7' TERM; echo trapped; while :; do sleep 0.05; done"]);
    let mut daemon = Daemon::spawn(command, &rig.shared().join("log"));
    until("the trap", || daemon.said().contains("trapped").then_some(()));
    assert_eq!(daemon.terminate().code(), Some(7));
    assert_eq!(daemon.said(), "trapped\nterminated\n");
    for _ in 0..5 {
        let mut command = node.command("perl");
        command.args(["-e", "$0 = 'victim'; $SIG{TERM} = 'IGNORE'; $| = 1; print 'here'; sleep 1000"]);
        let mut daemon = Daemon::spawn(command, &rig.shared().join("victim"));
        until("the program", || daemon.said().contains("here").then_some(()));
        assert_eq!(running(&node, "victim"), 1);
        daemon.kill();
        // The next program begins when that one is dead.
        assert_eq!(running(&node, "victim"), 0);
        fs::remove_file(rig.shared().join("victim")).unwrap();
    }
}

#[test]
fn a_node_dies_freezes_and_comes_back() {
    let rig = Rig::start();
    let [n1, n2] = rig.nodes(["n1", "n2"]);
    n1.shell("echo kept > /run/memory");
    let mut sleep = n1.command("sleep");
    sleep.arg("1000");
    let mut busy = Daemon::spawn(sleep, &rig.shared().join("busy"));
    n1.freeze();
    let mut hangs = n1.command("true");
    let mut hangs = hangs.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(hangs.try_wait().unwrap(), None, "a frozen node answers");
    n2.shell("true");
    n1.thaw();
    assert!(hangs.wait().unwrap().success());
    assert_eq!(n1.shell("cat /run/memory"), "kept");
    n1.kill();
    assert_eq!(busy.wait().code(), Some(125));
    assert!(busy.said().contains("the node is off"), "{}", busy.said());
    n2.shell("true");
    n1.boot();
    assert!(!n1.run(["cat", "/run/memory"]).status.success(), "the memory outlived the power");
    // Frozen nodes can be killed, and a node ends in good order.
    n1.freeze();
    n1.kill();
    let last = rig.shared().join("last");
    n2.shell(&format!("(trap 'echo farewell > {}; exit' TERM; while :; do sleep 0.1; done) > /dev/null 2>&1 &", last.display()));
    n2.shut_down();
    assert!(!n2.is_on());
    assert_eq!(fs::read_to_string(last).unwrap(), "farewell\n");
    n2.boot();
    n2.shell("true");
}
