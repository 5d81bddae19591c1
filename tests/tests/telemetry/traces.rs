//! One trace from the door to the mount, as a collector gets it that is made of OpenTelemetry's own messages.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hawser_proto::csi;
use hawser_proto::csi::identity_client::IdentityClient;
use hawser_tests::Workspace;
use hawser_tests::binary::{tool, workspace_root};
use hawser_tests::bridge::Agents;
use hawser_tests::daemon::Daemon;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::poll::{PATIENCE, until};
use serde::Deserialize;
use tonic::Request;
use tonic::transport::Endpoint;

const SMALL: &[&str] = &["size=64MiB", "newfstype=ext4"];

/// A span, as the collector tells it.
#[derive(Debug, Clone, Deserialize)]
struct Span {
    service: String,
    name: String,
    kind: String,
    trace: String,
    id: String,
    parent: String,
    begun: u64,
    ended: u64,
    failed: bool,
    attributes: std::collections::BTreeMap<String, String>,
}

struct Collector {
    daemon: Daemon,
    port: u16,
}

impl Collector {
    fn start(place: &Path) -> Self {
        let mut command = Command::new(tool("otlp").join("venv/bin/python"));
        command.arg(workspace_root().join("tests/otlp/collector.py"));
        let daemon = Daemon::spawn(command, &place.join("collector.log"));
        #[derive(Deserialize)]
        struct Port {
            port: u16,
        }
        let port = until("a collector", || {
            let said = daemon.said();
            said.ends_with('\n').then(|| serde_json::from_str::<Port>(said.lines().next()?).ok()).flatten()
        });
        Self { daemon, port: port.port }
    }

    /// What it was sent so far.
    fn spans(&self) -> Vec<Span> {
        let said = self.daemon.said();
        // The last line may not be whole yet.
        let whole = &said[..said.rfind('\n').map_or(0, |end| end + 1)];
        whole.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The names of a span and all above it, from the top.
fn path<'s>(spans: &'s [Span], span: &'s Span) -> Vec<&'s str> {
    let mut names = vec![span.name.as_str()];
    let mut parent = span.parent.as_str();
    while !parent.is_empty() {
        let above = spans.iter().find(|span| span.id == parent).unwrap_or_else(|| panic!("no span {parent} above {names:?}"));
        names.insert(0, &above.name);
        parent = &above.parent;
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_goes_from_the_door_to_the_mount() {
    let (workspace, ground) = (Workspace::new(), Footing::of(Ground::Xfs));
    let collector = Collector::start(workspace.path());
    let mut agents = Agents::new(ground.path(), &[]);
    agents.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{}", collector.port));
    agents.set("OTEL_BSP_SCHEDULE_DELAY", "200");
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1");
    agent.mount("data", SMALL).await.unwrap();
    agent.mount("never-declared", &[]).await.unwrap_err();

    // As any CO may call, with a trace of its own.
    let socket = agents.workspace().path().join("agent-1/state/csi.sock");
    let channel = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap().connect().await.unwrap();
    let mut probe = Request::new(csi::ProbeRequest {});
    let (trace, above) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    probe.metadata_mut().insert("traceparent", format!("00-{trace}-{above}-01").parse().unwrap());
    IdentityClient::new(channel).probe(probe).await.unwrap();

    let spans = until("the spans", || {
        let spans = collector.spans();
        let has = |wanted: &dyn Fn(&Span) -> bool| spans.iter().any(wanted);
        // A call's own span ends when its answer is sent, so the one above it may be there before.
        let is_whole = |span: &Span| span.parent.is_empty() || span.parent == above || has(&|other| other.id == span.parent);
        let all = has(&|span| span.name == "VolumeDriver.Mount" && !span.failed)
            && has(&|span| span.name.starts_with("VolumeDriver.") && span.failed)
            && has(&|span| span.name == "csi.v1.Identity/Probe" && span.trace == trace)
            && spans.iter().all(is_whole);
        all.then_some(spans)
    });
    assert!(spans.iter().all(|span| span.service == "hawser" && span.begun <= span.ended), "{spans:#?}");
    let root = spans.iter().find(|span| span.name == "VolumeDriver.Mount" && !span.failed).unwrap();
    assert!(root.parent.is_empty() && root.kind == "SPAN_KIND_SERVER", "{root:?}");
    let ours: Vec<Span> = spans.iter().filter(|span| span.trace == root.trace).cloned().collect();
    let paths: Vec<Vec<&str>> = ours.iter().map(|span| path(&ours, span)).collect();
    for wanted in [
        &[
            "VolumeDriver.Mount",
            "ControllerPublishVolume",
            "csi.v1.Controller/ControllerPublishVolume",
            "rpc",
            "provisioner.attach",
        ][..],
        &["VolumeDriver.Mount", "NodeStageVolume", "csi.v1.Node/NodeStageVolume", "rpc", "attacher.attach"],
        &["VolumeDriver.Mount", "NodeStageVolume", "csi.v1.Node/NodeStageVolume", "rpc", "host.format"],
        &["VolumeDriver.Mount", "NodeStageVolume", "csi.v1.Node/NodeStageVolume", "rpc", "host.mount"],
        &["VolumeDriver.Mount", "NodePublishVolume", "csi.v1.Node/NodePublishVolume", "rpc", "host.bind"],
    ] {
        assert!(paths.iter().any(|path| path == wanted), "no {wanted:?} in {paths:#?}");
    }
    let staged = ours.iter().find(|span| span.name == "NodeStageVolume").unwrap();
    assert!(staged.kind == "SPAN_KIND_CLIENT" && staged.attributes["object"].starts_with("local:"), "{staged:?}");
    let attach = ours.iter().find(|span| span.name == "attacher.attach").unwrap();
    assert_eq!(attach.attributes["backend"], "local");
    let rpc = ours.iter().find(|span| span.id == attach.parent).unwrap();
    assert_eq!((rpc.name.as_str(), &rpc.attributes["volume_id"]), ("rpc", &staged.attributes["object"]));
    // The one that was refused is another one, and failed.
    let failed = spans.iter().find(|span| span.failed && span.name.starts_with("VolumeDriver.")).unwrap();
    assert_ne!(failed.trace, root.trace);
    // The CO's trace goes on here.
    let probed = spans.iter().find(|span| span.trace == trace && span.name != "rpc").unwrap();
    assert_eq!((probed.name.as_str(), probed.parent.as_str()), ("csi.v1.Identity/Probe", above));
    // Logs know nothing of it.
    let said = agents.said("agent-1");
    assert!(!said.contains("otel.") && !said.contains("called{") && !said.contains("served{"), "{said}");
    agent.unmount("data").await.unwrap();
    agents.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_keeps_nobody() {
    let ground = Footing::of(Ground::Xfs);
    // It is connected to, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut agents = Agents::new(ground.path(), &[]);
    agents.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", silent.local_addr().unwrap()));
    agents.set("OTEL_BSP_SCHEDULE_DELAY", "50");
    // More spans than have room, and a patience that would be seen in any call.
    agents.set("OTEL_BSP_MAX_QUEUE_SIZE", "4");
    agents.set("OTEL_EXPORTER_OTLP_TIMEOUT", "60000");
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1");
    let begun = Instant::now();
    for _ in 0..3 {
        agent.mount("data", SMALL).await.unwrap();
        agent.unmount("data").await.unwrap();
    }
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    let begun = Instant::now();
    agents.finish();
    assert!(begun.elapsed() < Duration::from_secs(30), "the end took {:?}", begun.elapsed());
}
