//! Every metric of the documentation is touched, with the labels that it says, and is in the form that Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use hawser_tests::Workspace;
use hawser_tests::bridge::Agents;
use hawser_tests::client::{create_request, exactly};
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, Trick, ZONES};
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::poll::until_async;
use hawser_tests::told::{Sample, Told, documented};
use hawser_tests::usage::Usage;

const SMALL: &[&str] = &["size=64MiB", "newfstype=ext4"];

/// What was seen, by metric.
type Seen = BTreeMap<String, BTreeSet<String>>;

fn see(seen: &mut Seen, samples: &[Sample]) {
    for sample in samples {
        let (name, labels) = sample.metric();
        if let Some(before) = seen.insert(name.clone(), labels.clone()) {
            assert_eq!(before, labels, "{name} has other labels from time to time");
        }
    }
}

/// Two agents that want one volume.
async fn bridges(seen: &mut Seen) {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(
        ground.path(),
        &["http-endpoint: 127.0.0.1:0", "mesos-master: http://127.0.0.1:1", "wait-for-holder: 2s", "reconcile-every: 1s"],
    );
    agents.start("agent-1").await;
    agents.start("agent-2").await;
    let (one, two) = (agents.agent("agent-1"), agents.agent("agent-2"));
    one.mount("data", SMALL).await.unwrap();
    let other = Told::of(|| agents.said("agent-2"));
    let (refused, ()) = tokio::join!(two.mount("data", SMALL), async {
        // While it waits for its holder.
        until_async("a call in the bridge's queue", async || {
            let running = other.sum("hawser_queue_calls", &[("queue", "bridge"), ("state", "running")]).await?;
            see(seen, &other.samples().await);
            (running >= 1.0).then_some(())
        })
        .await;
    });
    assert!(refused.unwrap_err().contains("held"));
    assert!(other.sum("hawser_bridge_takeovers_total", &[("outcome", "refused")]).await.unwrap() >= 1.0);
    assert_eq!(other.sum("hawser_bridge_takeovers_total", &[("outcome", "done")]).await, Some(0.0));

    // What is mounted is counted at the start, and what is held.
    agents.start("agent-1").await;
    let told = Told::of(|| agents.said("agent-1"));
    until_async("what is mounted", async || told.sum("hawser_node_volumes", &[("backend", "local")]).await.filter(|n| *n == 1.0))
        .await;
    assert!(told.sum("hawser_node_mounts", &[]).await.unwrap() >= 1.0);
    assert_eq!(told.sum("hawser_bridge_held_volumes", &[]).await, Some(1.0));
    assert_eq!(told.sum("hawser_bridge_uses", &[("door", "docker")]).await, Some(1.0));
    until_async("what is free", async || told.sum("hawser_capacity_available_bytes", &[]).await.filter(|bytes| *bytes > 0.0))
        .await;
    assert_eq!(told.sum("hawser_volumes", &[("backend", "local")]).await, Some(1.0));
    one.unmount("data").await.unwrap();
    let published = [("service", "csi.v1.Node"), ("method", "NodeUnpublishVolume"), ("code", "OK")];
    assert_eq!(told.sum("hawser_rpc_duration_seconds_count", &published).await, Some(1.0));
    see(seen, &told.samples().await);
    agents.finish();
}

/// A controller whose requests fail, and one whose calls are slow.
async fn controllers(seen: &mut Seen) -> String {
    let workspace = Workspace::new();
    let ec2 = Ec2::start(Ec2Settings { attach: Duration::from_secs(2), ..Ec2Settings::default() }).await;
    let instance = ec2.world().instance(ZONES[0]);
    // Nobody serves NFS there: what is told of it needs nobody.
    let more = "    zone: us-east-1a\n  quiet:\n    type: nfs\n    server: 127.0.0.1\n    path: /nowhere\n\
                driver:\n  default-backend: ebs\n";
    let environment =
        [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("HAWSER_HTTP_ENDPOINT", "127.0.0.1:0")];
    let controller = Controller::start_with(&ec2, workspace.path(), "c", more, &environment).await;
    let told = Told::of(|| controller.said());
    ec2.trick("CreateVolume", Trick::Throttle);
    let (client, usage) = (controller.client(&instance), Usage::mount());
    let volume = client.create("data", 1 << 30, &usage).await;
    let wire = |outcome| [("backend", "ebs"), ("action", "CreateVolume"), ("outcome", outcome)];
    assert_eq!(told.sum("hawser_wire_requests_total", &wire("throttled")).await, Some(1.0));
    assert_eq!(told.sum("hawser_wire_requests_total", &wire("ok")).await, Some(1.0));
    assert_eq!(told.sum("hawser_wire_repeats_total", &[("action", "CreateVolume")]).await, Some(1.0));
    let call = |outcome| [("backend", "ebs"), ("side", "controller"), ("operation", "create"), ("outcome", outcome)];
    assert_eq!(told.sum("hawser_backend_call_duration_seconds_count", &call("ok")).await, Some(1.0));

    // The same name for another volume.
    let mut other = create_request("data", 1 << 30, &usage);
    other.capacity_range = Some(exactly(2 << 30));
    client.try_create(other).await.unwrap_err();
    assert_eq!(told.sum("hawser_backend_call_duration_seconds_count", &call("already_exists")).await, Some(1.0));
    let refused = [("method", "CreateVolume"), ("code", "AlreadyExists")];
    assert_eq!(told.sum("hawser_rpc_duration_seconds_count", &refused).await, Some(1.0));

    let (attached, ()) = tokio::join!(client.attach(&volume, &usage), async {
        until_async("an attach under way", async || {
            let samples = told.samples().await;
            let attach = [("backend", "ebs"), ("operation", "attach")];
            see(seen, &samples);
            samples.iter().any(|sample| sample.is("hawser_backend_calls_running", &attach)).then_some(())
        })
        .await;
    });
    attached.unwrap();
    assert_eq!(told.sum("hawser_backend_calls_running", &[("operation", "attach")]).await, None);
    assert_eq!(told.sum("hawser_nfs_silent_seconds", &[("backend", "quiet")]).await.map(|time| time >= 0.0), Some(true));

    // Whoever starts now counts what there is; this EC2 lists it at once.
    let second = Controller::start_with(&ec2, workspace.path(), "d", more, &environment).await;
    let counted = Told::of(|| second.said());
    until_async("a count", async || counted.sum("hawser_volumes", &[("backend", "ebs")]).await.filter(|number| *number == 1.0))
        .await;
    assert_eq!(counted.sum("hawser_volumes_attached", &[("backend", "ebs")]).await, Some(1.0));
    assert_eq!(counted.sum("hawser_volumes_in_trouble", &[("backend", "ebs")]).await, Some(0.0));
    see(seen, &counted.samples().await);
    assert_eq!(told.content_type("/metrics").await, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    told.get("/metrics").await.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_touched_and_documented() {
    let mut seen = Seen::new();
    bridges(&mut seen).await;
    let page = controllers(&mut seen).await;
    assert_eq!(seen, documented());
    for text in ["volume-", "vol-", "i-0", "AKID", "secret"] {
        assert!(!page.contains(text), "{text} is on the page:\n{page}");
    }
    promtool(&page);
}

/// promtool reads the older text format, in which a counter's family has the suffix and there are no units. So it is given that; what
/// it looks at, names, units, help and types, is the same.
fn promtool(page: &str) {
    let mut counters = BTreeSet::new();
    let mut old = String::new();
    for line in page.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "UNIT", ..] | ["#", "EOF"] => {}
            ["#", "TYPE", name, "counter"] => {
                counters.insert(name.to_owned());
                old.push_str(&format!("# TYPE {name}_total counter\n"));
            }
            ["#", "TYPE", name, "info"] => old.push_str(&format!("# TYPE {name}_info gauge\n")),
            ["#", "HELP", name, help] => {
                let kind = page.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")));
                let suffix = match kind {
                    Some("counter") => "_total",
                    Some("info") => "_info",
                    _ => "",
                };
                old.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            _ => old.push_str(&format!("{line}\n")),
        }
    }
    assert!(counters.len() >= 2, "{counters:?}");
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(old.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{old}");
}
