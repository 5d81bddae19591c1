//! A Prometheus reads two bridges at work, and every panel of the dashboard has something to show.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use hawser_tests::Workspace;
use hawser_tests::bridge::Agents;
use hawser_tests::daemon::Daemon;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::mounts_below;
use hawser_tests::poll::until_async;
use hawser_tests::told::Told;
use serde_json::{Value, json};

use crate::rules::{expressions, monitoring};

const SMALL: &[&str] = &["size=64MiB", "newfstype=ext4"];

/// What Grafana puts in, for a Prometheus that looks every half second.
const INTERVAL: &str = "5s";

struct Prometheus {
    daemon: Daemon,
    address: String,
    client: reqwest::Client,
}

impl Prometheus {
    fn start(workspace: &Workspace, targets: &[&str]) -> Self {
        let config = json!({
            "global": { "scrape_interval": "500ms", "evaluation_interval": "500ms" },
            "rule_files": [monitoring().join("alerts.yaml")],
            "scrape_configs": [{ "job_name": "hawser", "static_configs": [{ "targets": targets }] }],
        });
        let file = workspace.path().join("prometheus.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        // Free for long enough.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={address}"));
        command.arg(format!("--storage.tsdb.path={}", workspace.directory("prometheus").display()));
        let daemon = Daemon::spawn(command, &workspace.path().join("prometheus.log"));
        Self { daemon, address, client: reqwest::Client::new() }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("http://{}/api/v1/{path}", self.address), query).unwrap();
        let answer = self.client.get(url).send().await.ok()?;
        let answer: Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
        Some(answer).filter(|answer| answer["status"] == "success").map(|mut answer| answer["data"].take())
    }

    /// The values that an expression has now, those that are numbers.
    async fn values(&self, expression: &str) -> Vec<f64> {
        let data = self.get("query", &[("query", expression)]).await.unwrap_or_else(|| panic!("refused: {expression}"));
        let of = |series: &Value| series["value"][1].as_str().unwrap().parse::<f64>().unwrap();
        data["result"].as_array().unwrap().iter().map(of).filter(|value| !value.is_nan()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_has_something_to_show_of_bridges_at_work() {
    let ground = Footing::of(Ground::Xfs);
    let workspace = Workspace::new();
    let mut agents = Agents::new(
        ground.path(),
        &[
            "http-endpoint: 127.0.0.1:0",
            "mesos-master: http://127.0.0.1:1",
            "wait-for-holder: 1s",
            "reconcile-every: 1s",
            "grace: 1s",
        ],
    );
    agents.add_backend_that_is_away("away");
    // Nobody serves NFS here.
    agents.add_backend("quiet", &["type: nfs", "server: 127.0.0.1", "path: /nowhere"]);
    agents.start("agent-1").await;
    agents.start("agent-2").await;
    let (one, two) = (agents.agent("agent-1"), agents.agent("agent-2"));
    let told = ["agent-1", "agent-2"].map(|agent| Told::of(|| agents.said(agent)));
    let prometheus = Prometheus::start(&workspace, &told.each_ref().map(|told| told.address()));
    until_async("both bridges in Prometheus", async || {
        let up = prometheus.get("query", &[("query", "count(hawser_build_info) == 2")]).await?;
        (!up["result"].as_array()?.is_empty()).then_some(())
    })
    .await;

    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(monitoring().join("dashboard.json")).unwrap()).unwrap();
    let panels: Vec<String> = expressions(&dashboard)
        .into_iter()
        .map(|panel| {
            panel.replace("$__rate_interval", INTERVAL).replace("$job", ".*").replace("$instance", ".*").replace("$backend", ".*")
        })
        .collect();
    one.mount("data", SMALL).await.unwrap();
    // Once more and once more, until everything was seen at work.
    let mut dark: BTreeSet<&String> = panels.iter().collect();
    for round in 0.. {
        let refused = two.mount("data", SMALL).await.unwrap_err();
        assert!(refused.contains("held"), "{refused}");
        let name = format!("scratch-{round}");
        one.mount(&name, SMALL).await.unwrap();
        one.unmount(&name).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for panel in dark.clone() {
            // A panel shows what was, too.
            if !prometheus.values(&format!("last_over_time(({panel})[1m:500ms])")).await.is_empty() {
                dark.remove(panel);
            }
        }
        if dark.is_empty() {
            break;
        }
        assert!(round < 20, "nothing to show after so many rounds: {dark:#?}\n{}", prometheus.daemon.said());
    }

    // What is wrong here is told, and of nothing else.
    let troubled = |data: &Value| -> BTreeSet<String> {
        let alerts = data["alerts"].as_array().unwrap().iter().map(|alert| &alert["labels"]);
        let troubled = alerts.filter(|labels| labels["alertname"] == "HawserBackendInTrouble");
        troubled.map(|labels| labels["backend"].as_str().unwrap().to_owned()).collect()
    };
    let expected: BTreeSet<String> = ["away", "quiet"].map(str::to_owned).into();
    until_async("the alerts", async || (troubled(&prometheus.get("alerts", &[]).await?) == expected).then_some(())).await;
    one.unmount("data").await.unwrap();
    until_async("the release", async || mounts_below(agents.workspace().path()).is_empty().then_some(())).await;
    agents.finish();
}
