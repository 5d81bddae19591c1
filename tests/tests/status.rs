//! What a process knows of its own work: the service `hawser.v1.Status`, and the page that shows it, in a browser.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hawser_proto::csi;
use hawser_proto::hawser::object::Kind;
use hawser_proto::hawser::status_client::StatusClient;
use hawser_proto::hawser::{GetStatusRequest, GetStatusResponse};
use hawser_tests::binary::{hawser, tool, workspace_root};
use hawser_tests::client::{create_request, exactly, map};
use hawser_tests::frozen::{Frozen, until_hanging};
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::plugin::NODE_A;
use hawser_tests::poll::{until, until_async};
use hawser_tests::process::Process;
use hawser_tests::{Client, MIB, Usage, Workspace};
use tonic::Code;

const SMALL: i64 = 16 * MIB;

/// A process with two backends: `fast`, and `archive`, which can be made to stand still.
struct Served {
    process: Process,
    url: String,
    client: Client,
    workspace: Workspace,
    archive: Footing,
    _fast: Footing,
}

impl Served {
    /// `kind` is what the volumes of `fast` are made of.
    async fn start(kind: &str) -> Self {
        let (workspace, fast, archive) = (Workspace::new(), Footing::of(Ground::Ext4), Footing::of(Ground::Xfs));
        let path = |name: &str| -> PathBuf { workspace.path().join(name) };
        let backend = |name: &str, kind: &str, root: &Path| {
            let root = root.join(name);
            format!("  {name}:\n    type: local\n    kind: {kind}\n    root: {}\n    overcommit: 1000.0\n", root.display())
        };
        let text = format!(
            "driver:\n  default-backend: fast\nbackends:\n{}{}",
            backend("fast", kind, fast.path()),
            backend("archive", "image", archive.path())
        );
        fs::write(path("config.yaml"), text).unwrap();
        let (socket, log) = (path("csi.sock"), path("log"));
        let mut command = Command::new(hawser());
        command
            .args(["serve", "all", "--node-id", NODE_A, "--http-endpoint", "127.0.0.1:0", "--config"])
            .arg(path("config.yaml"));
        command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
        let mut process = Process::spawn(command, &socket, &log);
        process.wait_until_it_answers().await;
        let said = process.said();
        let address = said.lines().find_map(|line| line.split_once("serving HTTP address=")).unwrap().1.trim().to_owned();
        let client = Client::new(&socket, NODE_A, workspace.path());
        Self { process, url: format!("http://{address}/"), client, workspace, archive, _fast: fast }
    }

    async fn status(&self, object: &str) -> GetStatusResponse {
        let request = GetStatusRequest { object: object.to_owned() };
        StatusClient::new(self.client.channel()).get_status(request).await.unwrap().into_inner()
    }

    fn end(mut self) {
        assert!(self.process.terminate().success(), "{}", self.process.tail());
        assert!(self.workspace.path().exists());
    }
}

fn in_archive(name: &str) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest { parameters: map([("backend", "archive")]), ..create_request(name, SMALL, &Usage::mount()) }
}

/// Which calls there are: method, whether it runs, callers, and behind which methods.
fn told(status: &GetStatusResponse) -> Vec<(String, bool, u32, Vec<String>)> {
    let method = |number: &u64| status.work.iter().find(|work| work.number == *number).unwrap().method.clone();
    let told = status
        .work
        .iter()
        .map(|work| (work.method.clone(), work.began.is_some(), work.callers, work.behind.iter().map(method).collect()));
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_waits_and_failed_is_told() {
    let served = Served::start("image").await;
    let (client, usage) = (&served.client, Usage::mount());
    let process = served.status("").await.process.unwrap();
    assert_eq!(
        (process.role.as_str(), process.node_id.as_str(), process.driver_name.as_str()),
        ("all", NODE_A, "csi.hawser.dev")
    );

    // Refused before it is put in line, refused by the backend, and then in order.
    let wrong = csi::CreateVolumeRequest { parameters: map([("wrong", "x")]), ..create_request("db", SMALL, &usage) };
    for _ in 0..2 {
        client.try_create(wrong.clone()).await.unwrap_err();
    }
    let told_of = served.status("db").await.failures;
    let failure = &told_of[0];
    assert_eq!((told_of.len(), failure.method.as_str(), failure.code.as_str()), (1, "CreateVolume", "INVALID_ARGUMENT"));
    assert_eq!((failure.times, failure.objects[0].kind(), failure.overcome_by.as_str()), (2, Kind::VolumeName, ""));
    assert!(failure.message.contains("wrong"), "{}", failure.message);
    let volume = client.create("db", SMALL, &usage).await;
    assert_eq!(served.status("db").await.failures[0].overcome_by, "CreateVolume");
    let id = volume.volume_id.as_str();
    client.attach(&volume, &usage).await.unwrap();
    assert_eq!(client.delete(id).await.unwrap_err().code(), Code::FailedPrecondition);
    // An error on the node, with mount flags, which nobody is to read here.
    let secret = Usage { flags: vec!["password=hunter2".to_owned()], ..Usage::mount() };
    client.stage(&volume, &map([]), &secret).await.unwrap_err();
    let failures = served.status(id).await.failures;
    let short: Vec<_> = failures.iter().map(|f| (f.method.as_str(), f.code.as_str(), f.objects[0].node_id.as_str())).collect();
    assert_eq!(short.last().unwrap(), &("DeleteVolume", "FAILED_PRECONDITION", ""));
    assert_eq!((short[0].0, short[0].2), ("NodeStageVolume", NODE_A));
    assert!(!format!("{failures:?}").contains("hunter2"));
    client.detach(id).await.unwrap();
    client.delete(id).await.unwrap();
    let standing = |failures: Vec<hawser_proto::hawser::Failure>| failures.iter().filter(|f| f.overcome_by.is_empty()).count();
    assert_eq!(standing(served.status(id).await.failures), 1, "the node was not told to unstage");

    // What hangs, what waits behind it, and that a caller which gives up is seen.
    let cold = client.try_create(in_archive("cold")).await.unwrap();
    let frozen = Frozen::new(served.archive.own().unwrap());
    let (deleter, expander) = (Client::new(served.process.socket(), NODE_A, served.workspace.path()), cold.volume_id.clone());
    let (one, other) = (cold.volume_id.clone(), deleter);
    let gives_up = tokio::spawn(async move { other.delete(&one).await });
    until_hanging(served.process.id(), 1);
    let expands = {
        let client = Client::new(served.process.socket(), NODE_A, served.workspace.path());
        tokio::spawn(async move { client.expand(&expander, exactly(2 * SMALL)).await })
    };
    until_async("two calls", async || (served.status(&cold.volume_id).await.work.len() == 2).then_some(())).await;
    let status = served.status("").await;
    let delete = "DeleteVolume".to_owned();
    assert_eq!(
        told(&status),
        [(delete.clone(), true, 1, vec![]), ("ControllerExpandVolume".to_owned(), false, 1, vec![delete.clone()])]
    );
    assert_eq!(served.status("another").await.work.len(), 0);
    gives_up.abort();
    let alone = until_async("nobody to wait", async || {
        let status = served.status("").await;
        (status.work[0].callers == 0).then_some(status)
    });
    assert_eq!(told(&alone.await)[0], (delete, true, 0, vec![]));
    drop(frozen);
    assert_eq!(expands.await.unwrap().unwrap_err().code(), Code::NotFound);
    until_async("an end", async || served.status("").await.work.is_empty().then_some(())).await;
    served.end();
}

/// The acts are in step with tests/page/look.py, which looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_it_in_a_browser() {
    // What is mounted is no device, which a neighbour's namespace could keep busy.
    let served = Served::start("directory").await;
    let (client, usage) = (&served.client, Usage::mount());
    client.create("<script>window.broken = 1</script>", SMALL, &usage).await;
    let orders = client.create("orders", SMALL, &usage).await;
    client.up(&orders, &usage).await;
    for _ in 0..2 {
        client.delete(&orders.volume_id).await.unwrap_err();
    }
    let evil = map([("fstype", "<img src=x onerror='window.broken = 2'>")]);
    client.try_create(csi::CreateVolumeRequest { parameters: evil, ..create_request("evil", SMALL, &usage) }).await.unwrap_err();
    let large = csi::CreateVolumeRequest { capacity_range: Some(exactly(2 * SMALL)), ..in_archive("cold") };
    let cold = client.try_create(large).await.unwrap().volume_id;
    // So that the page has them before the archive stands still.
    let listed = || reqwest::get(format!("{}status.json", served.url));
    until_async("the first listing", async || listed().await.ok()?.text().await.ok()?.contains(&cold).then_some(())).await;
    let frozen = Frozen::new(served.archive.own().unwrap());
    let again = || Client::new(served.process.socket(), NODE_A, served.workspace.path());
    let (one, other, third) = (again(), again(), again());
    let (deleted, expanded) = (cold.clone(), cold.clone());
    let late = tokio::spawn(async move { drop(one.try_create(in_archive("late")).await) });
    until_hanging(served.process.id(), 1);
    let delete = tokio::spawn(async move { drop(other.delete(&deleted).await) });
    until_hanging(served.process.id(), 2);
    let expand = tokio::spawn(async move { drop(third.expand(&expanded, exactly(4 * SMALL)).await) });

    let python = tool("page/venv/bin/python");
    let mut look = Command::new(python);
    look.arg(workspace_root().join("tests/page/look.py")).arg(&served.url).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut look = look.spawn().unwrap();
    let (mut answers, words) = (look.stdin.take().unwrap(), BufReader::new(look.stdout.take().unwrap()).lines());
    let mut process = Some(served);
    let mut frozen = Some(frozen);
    for word in words {
        let word = word.unwrap();
        match (word.as_str(), &process) {
            ("more", Some(served)) => drop(served.client.create("new", SMALL, &Usage::mount()).await),
            ("thaw", _) => drop(frozen.take()),
            ("end", _) => {
                let served = process.take().unwrap();
                served.client.down(&orders).await;
                served.end();
            }
            _ => panic!("the page's look says {word:?}"),
        }
        writeln!(answers, "{word}").unwrap();
    }
    let ended = until("the end of the look", || look.try_wait().unwrap());
    assert!(ended.success(), "tests/page/look.py: {ended}");
    // What became of these the page has shown; their callers may have given up before.
    for caller in [late, delete, expand] {
        caller.abort();
    }
}
