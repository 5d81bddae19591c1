//! The command line beside `serve`: checking a configuration, the demo, completion.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};

use hawser_tests::Workspace;
use hawser_tests::binary::hawser;
use hawser_tests::kernel::{loops_below, mounts_below};
use hawser_tests::poll::{PATIENCE, until};
use hawser_tests::process::Process;
use rustix::process::{Pid, Signal, kill_process};

fn check(workspace: &Workspace, text: &str) -> Output {
    let file = workspace.path().join("hawser.yaml");
    fs::write(&file, text).unwrap();
    Command::new(hawser()).args(["config", "check"]).arg(file).output().unwrap()
}

#[test]
fn a_configuration_in_order_is_called_so() {
    let workspace = Workspace::new();
    for text in [
        "",
        "backends:\n  local:\n    type: local\n    root: /srv\n",
        "driver:\n  name: my.driver.example\n  csi-spec-level: \"1.13\"\n  default-backend: b\n  socket-group: root\n\
         backends:\n  a:\n    type: local\n    root: /srv/a\n    kind: directory\n  b:\n    root: /srv/b\n    capacity: 10GiB\n    \
         overcommit: 1.5\n    max-volumes-per-node: 3\n    type: local\n",
    ] {
        let output = check(&workspace, text);
        assert!(output.status.success(), "{text:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn every_mistake_is_named_with_its_file_line_and_key() {
    let workspace = Workspace::new();
    let table: [(&str, &str, &[&str]); 10] = [
        ("driver:\n  nam: x\n", ":2", &["nam"]),
        ("drivers: {}\n", ":1", &["drivers"]),
        ("backends:\n  a:\n    root: /x\n", ":3", &["type"]),
        ("backends:\n  a:\n    type: lokal\n", "", &["lokal", "local"]),
        ("backends:\n  a:\n    type: local\n    rot: /x\n", ":4", &["rot", "root"]),
        ("backends:\n  a:\n    type: local\n    root: relative\n", ":4", &["backends.a.root", "absolute"]),
        ("backends:\n  a:\n    type: local\n    capacity: ten\n", ":4", &["ten"]),
        ("backends:\n  a:\n    type: local\n    overcommit: 0.5\n", ":4", &["overcommit"]),
        ("driver:\n  default-backend: b\n", ":2", &["default-backend"]),
        ("a: [\n", "", &[]),
    ];
    for (text, line, words) in table {
        let output = check(&workspace, text);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text:?} was called in order");
        assert!(said.contains(&format!("hawser.yaml{line}")), "{text:?}: no place in {said:?}");
        for word in words {
            assert!(said.contains(word), "{text:?}: no {word:?} in {said:?}");
        }
    }
    // All mistakes of one file at once.
    let output = check(&workspace, "backends:\n  a:\n    type: local\n    root: x\n    overcommit: 0.5\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("hawser.yaml:4") && said.contains("hawser.yaml:5"), "{said}");
    let output = Command::new(hawser()).args(["config", "check", "/never/made.yaml"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("/never/made.yaml"));
}

#[test]
fn the_configuration_in_force_is_shown_as_a_file_in_order() {
    let workspace = Workspace::new();
    let shown = Command::new(hawser()).args(["config", "show"]).env_remove("HAWSER_CONFIG").output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    for part in ["csi.hawser.dev", "backends:", "type: local", "/var/lib/hawser/local"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(check(&workspace, &text).status.success());
}

#[test]
fn completion_and_help_are_printed() {
    let output = Command::new(hawser()).args(["completion", "bash"]).output().unwrap();
    let script = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && script.contains("_hawser") && script.contains("serve") && script.contains("--endpoint"));
    let bash = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
    let output = Command::new(hawser()).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for command in ["serve", "config", "demo", "mesos", "completion"] {
        assert!(help.contains(command), "no {command} in {help}");
    }
    let output = Command::new(hawser()).arg("serv").output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("serve"));
}

#[test]
fn a_plan_answers_with_its_exit_code_and_names_every_mistake_with_its_line() {
    let workspace = Workspace::new();
    let file = workspace.path().join("app.json");
    let plan = |text: &str, arguments: &[&str]| {
        fs::write(&file, text).unwrap();
        let output = Command::new(hawser())
            .args(["mesos", "plan"])
            .args(arguments)
            .stdin(fs::File::open(&file).unwrap())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let good = r#"{"id": "/a", "cmd": "x", "env": {"DVDI_VOLUME_NAME": "pgdata", "DVDI_VOLUME_OPTS": "size=10"}}"#;
    let path = file.to_str().unwrap();
    for arguments in [[path], ["-"]] {
        let (code, out, err) = plan(good, &arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        for part in ["pgdata", "exactly 10GiB", "CreateVolume", "NodePublishVolume", "ControllerUnpublishVolume"] {
            assert!(out.contains(part), "no {part:?} in {out}");
        }
    }
    let bad = good.replace("\"env\"", "\n\"env\"").replace("size=10", "sise=10");
    let (code, out, err) = plan(&bad, &[path]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains(&format!("{path}:2: mistake: $.env.DVDI_VOLUME_OPTS: ")) && err.contains("did you mean size?"), "{err}");
    let (code, out, err) = plan(&bad, &["--output", "json", "-"]);
    assert_eq!((code, err.as_str()), (Some(2), ""));
    assert!(out.contains(r#""path": "$.env.DVDI_VOLUME_OPTS""#) && out.contains(r#""line": 2"#), "{out}");
    let (code, _, err) = plan("", &["/never/made.json"]);
    assert!(code == Some(64) && err.contains("/never/made.json"), "{code:?} {err}");
}

fn demo(workspace: &Workspace) -> Child {
    let mut demo = Command::new(hawser());
    demo.arg("demo").env("TMPDIR", workspace.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    demo.spawn().unwrap()
}

fn assert_nothing_left(workspace: &Workspace, when: &str) {
    let entries: Vec<_> = fs::read_dir(workspace.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let (mounts, loops) = (mounts_below(workspace.path()), loops_below(workspace.path()));
    assert!(entries.is_empty() && mounts.is_empty() && loops.is_empty(), "{when}: {entries:?} {mounts:?} {loops:?}");
}

#[test]
fn the_demo_shows_the_main_job_and_leaves_nothing() {
    let workspace = Workspace::new();
    let output = demo(&workspace).wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    for call in [
        "CreateVolume",
        "ControllerPublishVolume",
        "NodeStageVolume",
        "NodePublishVolume",
        "CreateSnapshot",
        "node-a",
        "node-b",
        "DeleteVolume",
    ] {
        assert!(out.contains(call), "the demo does not show {call}: {out}");
    }
    assert!(err.is_empty(), "{err}");
    assert_nothing_left(&workspace, "after the demo");
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing() {
    let workspace = Workspace::new();
    let mut interrupted = 0;
    for lines in 0..20 {
        let mut child = demo(&workspace);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..lines {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
        }
        if lines == 0 {
            until("the demo's directory", || fs::read_dir(workspace.path()).unwrap().next()).unwrap();
        }
        let _ = kill_process(Pid::from_child(&child), Signal::INT);
        let (mut rest, mut said) = (String::new(), String::new());
        out.read_to_string(&mut rest).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), None, "after {lines} lines the demo was ended by the signal instead of ending by itself");
        interrupted += usize::from(!status.success());
        assert_nothing_left(&workspace, &format!("interrupted after {lines} lines ({status}: {said})"));
    }
    assert!(interrupted >= 5, "only {interrupted} of 20 demos were interrupted before their end");
}

/// Each agent would offer all volumes of a storage system that agents share, to frameworks that may delete them.
#[test]
fn files_for_mesos_own_provider_are_not_written_where_it_would_offer_what_others_have() {
    let workspace = Workspace::new();
    let write = |text: &str| {
        let file = workspace.path().join("hawser.yaml");
        fs::write(&file, text).unwrap();
        Command::new(hawser()).args(["mesos", "config", "write", "--for", "provider", "--config"]).arg(&file).output().unwrap()
    };
    let shared = "backends:\n  nas:\n    type: nfs\n    server: nas.example\n    path: /srv\n";
    let refused = write(shared);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("driver.list-volumes") && said.contains("nas"), "{said}");
    for text in [&format!("driver:\n  list-volumes: none\n{shared}"), "backends:\n  here:\n    type: local\n    root: /srv\n"] {
        let written = write(text);
        assert!(written.status.success(), "{text}: {}", String::from_utf8_lossy(&written.stderr));
    }
}

/// What a service manager waits for (sd_notify(3)): not the start of the process, but that it serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_is_told_when_it_serves_and_when_it_stops() {
    for role in ["serve", "bridge"] {
        let workspace = Workspace::new();
        let place = workspace.path();
        let config = format!(
            "backends:\n  local:\n    type: local\n    root: {0}/volumes\ndriver:\n  endpoint: unix://{0}/csi.sock\nbridge:\n  state: {0}/state\n  \
             mounts: {0}/mounts\n  docker-socket: {0}/docker.sock\n  isolator-socket: {0}/isolator.sock\n",
            place.display()
        );
        fs::write(place.join("config.yaml"), config).unwrap();
        let manager = UnixDatagram::bind(place.join("notify")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let hears = || {
            let mut text = [0; 256];
            let length = manager.recv(&mut text).unwrap_or_else(|error| panic!("{role} says nothing: {error}"));
            String::from_utf8_lossy(&text[..length]).trim().to_owned()
        };
        let mut command = Command::new(hawser());
        command
            .args([role, "--node-id", "node", "--config"])
            .arg(place.join("config.yaml"))
            .env("NOTIFY_SOCKET", place.join("notify"));
        let socket = place.join(if role == "serve" { "csi.sock" } else { "isolator.sock" });
        let mut process = Process::spawn(command, &socket, &place.join("log"));
        assert_eq!(hears(), "READY=1", "{role}");
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok(), "{role} is not there though it said so");
        process.wait_until_it_answers().await;
        assert!(process.terminate().success(), "{}", process.tail());
        assert_eq!(hears(), "STOPPING=1", "{role}");
        manager.set_nonblocking(true).unwrap();
        assert!(manager.recv(&mut [0; 256]).is_err(), "{role} says more than once how far it is");
    }
}
