//! The socket: who can reach it, what other people's clients see on it, and how it comes and goes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hawser_proto::csi;
use hawser_tests::binary::{hawser, tool};
use hawser_tests::client::create_request;
use hawser_tests::frozen::{Frozen, until_hanging};
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::http2::{self, Outcome};
use hawser_tests::notice::notice;
use hawser_tests::plugin::NODE_A;
use hawser_tests::poll::until;
use hawser_tests::process::Process;
use hawser_tests::settings::Kind;
use hawser_tests::{Client, MIB, Plugin, Settings, Usage, Workspace};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn plugin(ground: &Footing) -> Plugin {
    Plugin::start(ground.path(), Settings::new(Kind::Image), Usage::mount()).await
}

fn succeeded(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    out.into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_needs_no_protos() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let socket = plugin.socket(NODE_A);
    let grpcurl = |arguments: &[&str]| {
        let (flags, verbs): (Vec<&str>, Vec<&str>) =
            arguments.iter().partition(|argument| argument.starts_with('-') || argument.starts_with('{'));
        let output =
            Command::new(tool("grpcurl")).args(["-plaintext", "-unix"]).args(flags).arg(&socket).args(verbs).output().unwrap();
        succeeded(&output)
    };
    let services = grpcurl(&["list"]);
    for service in
        ["csi.v1.Identity", "csi.v1.Controller", "csi.v1.GroupController", "csi.v1.Node", "hawser.v1.Hosts", "hawser.v1.Status"]
    {
        assert!(services.lines().any(|line| line == service), "{service} is not listed: {services}");
    }
    let node = grpcurl(&["describe", "csi.v1.Node"]);
    for method in ["NodeStageVolume", "NodeGetVolumeStats", "NodeGetVolumeHealth"] {
        assert!(node.contains(&format!("rpc {method}")), "{method} is not described: {node}");
    }
    let request = json!({
        "name": "by-grpcurl",
        "capacity_range": {"required_bytes": 16 * MIB},
        "volume_capabilities": [{"mount": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}],
    });
    let made: Value = serde_json::from_str(&grpcurl(&["-d", &request.to_string(), "csi.v1.Controller/CreateVolume"])).unwrap();
    let id = made["volume"]["volumeId"].as_str().unwrap();
    assert_eq!(made["volume"]["capacityBytes"], (16 * MIB).to_string());
    let listed: Value = serde_json::from_str(&grpcurl(&["csi.v1.Controller/ListVolumes"])).unwrap();
    assert_eq!(listed["entries"][0]["volume"]["volumeId"], id);
    plugin.a().delete(id).await.unwrap();
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buf_curl_needs_no_protos() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let buf = |url: &str, arguments: &[&str]| {
        let mut buf = Command::new(tool("buf"));
        buf.args(["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--unix-socket"]).arg(plugin.socket(NODE_A));
        succeeded(&buf.args(arguments).arg(format!("http://localhost{url}")).output().unwrap())
    };
    let methods = buf("", &["--list-methods"]);
    for method in
        ["csi.v1.Controller/CreateVolume", "csi.v1.Node/NodeStageVolume", "csi.v1.GroupController/CreateVolumeGroupSnapshot"]
    {
        assert!(methods.lines().any(|line| line.trim() == method), "{method} is not listed: {methods}");
    }
    let request = json!({
        "name": "by-buf",
        "capacityRange": {"requiredBytes": 16 * MIB},
        "volumeCapabilities": [{"mount": {}, "accessMode": {"mode": "SINGLE_NODE_WRITER"}}],
    });
    let made: Value = serde_json::from_str(&buf("/csi.v1.Controller/CreateVolume", &["--data", &request.to_string()])).unwrap();
    let id = made["volume"]["volumeId"].as_str().unwrap();
    let listed: Value = serde_json::from_str(&buf("/csi.v1.Controller/ListVolumes", &["--data", "{}"])).unwrap();
    assert_eq!(listed["entries"][0]["volume"]["volumeId"], id);
    plugin.a().delete(id).await.unwrap();
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_answered_for_every_service() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let mut health = HealthClient::new(plugin.a().channel());
    for service in ["", "csi.v1.Identity", "csi.v1.Controller", "csi.v1.Node"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "csi.v1.Elsewhere".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    plugin.finish().await;
}

/// Old gRPC libraries send the path of the socket as `:authority`. The HTTP library below refuses what is not a host; every CO of
/// today sends `localhost`. The table says what is so, and fails when it is so no more, in either direction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_name_a_host_are_served() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let table = [
        (Some("localhost"), true),
        (Some("csi.sock"), true),
        (Some("localhost:0"), true),
        (None, true),
        (Some(""), false),
        (Some("/csi/csi.sock"), false),
        (Some("%2Fcsi%2Fcsi.sock"), false),
        (Some("unix:///csi/csi.sock"), false),
        (Some("unix:/csi/csi.sock"), false),
    ];
    let mut wrong = Vec::new();
    for (authority, expected) in table {
        let outcome = http2::call(&plugin.socket(NODE_A), authority, "/csi.v1.Identity/GetPluginInfo").unwrap();
        let served = matches!(&outcome, Outcome::Served(message) if message.windows(14).any(|part| part == b"csi.hawser.dev"));
        notice(&format!("authority {authority:?}: {}", if served { "served" } else { "refused" }));
        if served != expected {
            wrong.push((authority, outcome));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_for_its_owner() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let metadata = fs::metadata(plugin.socket(NODE_A)).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o600, 0));
    plugin.finish().await;
    // And for a group, when the configuration names one.
    let process = start_with(&plugin, "driver:\n  socket-group: \"4242\"\n").await;
    let metadata = fs::metadata(process.socket()).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.gid()), (0o660, 4242));
}

/// Starts a process on the plugin's root with more text at the start of its configuration.
async fn start_with(plugin: &Plugin, text: &str) -> Process {
    let config = plugin.workspace().join("more.yaml");
    let backends = Settings::new(Kind::Image).yaml(plugin.root());
    let backends = &backends[backends.find("backends:").unwrap()..];
    fs::write(&config, format!("{text}{backends}")).unwrap();
    let place = |name: &str| plugin.workspace().join(name);
    Process::start(&config, "node-more", &place("more.sock"), &place("more.log"), "info").await
}

fn serve(plugin: &Plugin, socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(hawser());
    command
        .arg("serve")
        .args(arguments)
        .args(["--node-id", "node-c", "--config"])
        .arg(plugin.config())
        .arg("--endpoint")
        .arg(socket);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    // A live one.
    let live = plugin.socket(NODE_A);
    let output = serve(&plugin, &live, &[]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(live.to_str().unwrap()));
    plugin.a().identity().probe(csi::ProbeRequest {}).await.unwrap();
    // Somebody's file.
    let file = plugin.workspace().join("file");
    fs::write(&file, "somebody's").unwrap();
    let output = serve(&plugin, &file, &[]).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's");
    // One that a dead process left.
    let stale = plugin.workspace().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let mut process = Process::spawn(serve(&plugin, &stale, &[]), &stale, &plugin.workspace().join("stale.log"));
    process.wait_until_it_answers().await;
    assert!(process.terminate().success());
    assert!(!stale.exists());
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_comes_from_the_environment_or_is_asked_for() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let command = || {
        let mut command = Command::new(hawser());
        command.args(["serve", "--node-id", "node-c", "--config"]).arg(plugin.config()).env_remove("CSI_ENDPOINT");
        command
    };
    let output = command().output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("CSI_ENDPOINT"));
    for wrong in ["tcp://127.0.0.1:1", "", "unix://"] {
        let output = command().env("CSI_ENDPOINT", wrong).output().unwrap();
        assert!(!output.status.success(), "{wrong:?} was accepted");
    }
    let socket = plugin.workspace().join("made/for/it/csi.sock");
    let mut with = command();
    with.env("CSI_ENDPOINT", format!("unix://{}", socket.display()));
    let mut process = Process::spawn(with, &socket, &plugin.workspace().join("endpoint.log"));
    process.wait_until_it_answers().await;
    assert!(process.terminate().success());
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_of_a_plugin_serves_its_half() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    for (mode, controller, node) in [("controller", true, false), ("node", false, true)] {
        let socket = plugin.workspace().join("half.sock");
        let mut process = Process::spawn(serve(&plugin, &socket, &[mode]), &socket, &plugin.workspace().join("half.log"));
        process.wait_until_it_answers().await;
        let client = Client::new(&socket, "node-c", plugin.workspace());
        let code = |result: Result<(), tonic::Status>| result.err().map_or(Code::Ok, |status| status.code());
        let expected = |serves: bool| if serves { Code::Ok } else { Code::Unimplemented };
        let answer = client.controller().list_volumes(csi::ListVolumesRequest::default()).await.map(drop);
        assert_eq!(code(answer), expected(controller), "{mode}");
        let answer = client.node().node_get_info(csi::NodeGetInfoRequest {}).await.map(drop);
        assert_eq!(code(answer), expected(node), "{mode}");
        let capabilities =
            client.identity().get_plugin_capabilities(csi::GetPluginCapabilitiesRequest {}).await.unwrap().into_inner();
        let has = capabilities.capabilities.iter().any(|capability| {
            use csi::plugin_capability::{Type, service};
            matches!(&capability.r#type, Some(Type::Service(service)) if service.r#type() == service::Type::ControllerService)
        });
        assert_eq!(has, controller, "{mode}");
        assert!(process.terminate().success());
    }
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_is_to_list_nothing_does_not_say_that_it_can() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let lists = async |client: &Client| {
        let request = csi::ControllerGetCapabilitiesRequest {};
        let answer = client.controller().controller_get_capabilities(request).await.unwrap().into_inner();
        let text = format!("{answer:?}");
        assert!(text.contains("CreateDeleteVolume"), "{text}");
        text.contains("ListVolumes")
    };
    assert!(lists(&plugin.a()).await);
    assert!(!lists(&plugin.reconfigure(|settings| settings.listing = "none").await).await);
    plugin.finish().await;
}

/// What runs when the plugin is told to stop is finished and answered; then it goes, and its socket with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_is_finished_before_the_end() {
    let ground = Footing::of(Ground::Xfs);
    let plugin = plugin(&ground).await;
    let mut process = plugin.take().await;
    let frozen = Frozen::new(ground.own().unwrap());
    let client = plugin.a();
    let call = tokio::spawn(async move { client.try_create(create_request("in-flight", 16 * MIB, &Usage::mount())).await });
    until_hanging(process.id(), 1);
    process.signal(Signal::TERM);
    until("the plugin to take note of the signal", || process.said().contains("SIGTERM").then_some(()));
    assert!(!call.is_finished());
    drop(frozen);
    let volume = call.await.unwrap().unwrap();
    assert!(process.wait().success(), "{}", process.tail());
    assert!(!process.socket().exists());
    let a = plugin.restart().await;
    a.delete(&volume.volume_id).await.unwrap();
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_at_any_moment_is_a_good_end() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    for (round, signal) in [Signal::TERM, Signal::INT].into_iter().cycle().take(10).enumerate() {
        let socket = plugin.workspace().join(format!("{round}.sock"));
        let mut process = Process::spawn(serve(&plugin, &socket, &[]), &socket, &plugin.workspace().join("signal.log"));
        // As soon as anybody can know of it.
        until("the socket", || socket.exists().then_some(()));
        process.signal(signal);
        let status = process.wait();
        assert!(status.success(), "round {round}, {signal:?}: {status}\n{}", process.tail());
        assert!(!socket.exists(), "round {round}: the socket is left");
    }
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_ends_the_process_at_once_and_says_why() {
    let ground = Footing::of(Ground::Ext4);
    let workspace = Workspace::within(ground.path());
    let config = workspace.path().join("config.yaml");
    let occupied = workspace.directory("home");
    fs::write(occupied.join("letter"), "private").unwrap();
    let root = |path: &Path| format!("backends:\n  local:\n    type: local\n    root: {}\n", path.display());
    for (text, word) in
        [("backends:\n  local:\n    type: lokal\n", "lokal"), (&*root(&occupied), "not empty"), ("a: [", "config.yaml")]
    {
        fs::write(&config, text).unwrap();
        let output = Command::new(hawser())
            .args(["serve", "--config", config.to_str().unwrap(), "--endpoint"])
            .arg(workspace.path().join("s.sock"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(word), "{text:?}: {said}");
        assert!(!workspace.path().join("s.sock").exists(), "{text:?} left a socket");
    }
    assert_eq!(fs::read_to_string(occupied.join("letter")).unwrap(), "private");
    assert_eq!(fs::metadata(occupied.join("letter")).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(&occupied).unwrap().count(), 1, "something was put into a directory that was refused");
}

/// Mesos makes a connection for each call; a plugin that is slow to accept them must not make callers fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_come_at_once_wait_in_line() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let process = plugin.process_id().await;
    kill_process(process, Signal::STOP).unwrap();
    // Not blocking, as asynchronous clients are: where a blocking connect would wait, this one fails.
    let waiting: Vec<_> = (0..1000)
        .map(|_| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            connect(&socket, &SocketAddrUnix::new(plugin.socket(NODE_A)).unwrap()).map(|()| socket)
        })
        .collect();
    kill_process(process, Signal::CONT).unwrap();
    let refused: Vec<_> = waiting.iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(refused.is_empty(), "{} of {} were refused: {:?}", refused.len(), waiting.len(), refused[0]);
    plugin.a().identity().probe(csi::ProbeRequest {}).await.unwrap();
    plugin.finish().await;
}

/// Whoever has connected and says nothing must not keep the plugin from stopping.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_does_not_keep_the_plugin_from_stopping() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let silent = UnixStream::connect(plugin.socket(NODE_A)).unwrap();
    plugin.a().identity().probe(csi::ProbeRequest {}).await.unwrap();
    let begun = Instant::now();
    plugin.finish().await;
    assert!(begun.elapsed() < Duration::from_secs(20), "stopping took {:?}", begun.elapsed());
    drop(silent);
}
