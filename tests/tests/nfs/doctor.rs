//! What `hawser doctor` tells of an export: a real one, and one that is wrong in one way.

use std::time::{Duration, Instant};

use hawser_tests::binary::hawser;
use hawser_tests::client::text;
use hawser_tests::output::Output;
use hawser_tests::{MIB, Usage};
use serde_json::Value;

use crate::trouble::Trouble;
use crate::world::{BACKEND, Machine, World};

/// The findings for the configuration that the machine's plugin has, after `change`.
async fn examined(machine: &Machine, change: impl Fn(String) -> String) -> Vec<Value> {
    let base = machine.node.directory();
    let config = base.join("doctor.yaml");
    std::fs::write(&config, change(std::fs::read_to_string(base.join("config.yaml")).unwrap())).unwrap();
    let mut command = machine.node.command(hawser());
    command.args(["doctor", "--output", "json", "--backend", BACKEND, "--config"]).arg(&config);
    let output = Output::of(command).await;
    let reports: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    reports[0]["checks"].as_array().unwrap().clone()
}

fn assert_told(checks: &[Value], step: &str, result: &str, parts: &[&str]) {
    let is_it = |check: &Value| {
        let words = check.to_string();
        check["step"] == step && check["result"] == result && parts.iter().all(|part| words.contains(part))
    };
    assert!(checks.iter().any(is_it), "{result} {step} {parts:?}: {checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_export_is_told_with_its_remedy() {
    let world = World::new(["n1"], "").await;
    let machine = &world.nodes[0];
    let found = examined(machine, |config| config).await;
    assert!(found.iter().all(|check| check["result"] == "well"), "{found:#?}");
    assert_told(&found, "the export", "well", &["NFS 4.2"]);

    let (client, usage) = (machine.plugin.client(), Usage::mount());
    let volume = client.create("v", 64 * MIB, &usage).await;
    let found = examined(machine, |config| config).await;
    assert!(found.iter().all(|check| check["result"] == "well"), "{found:#?}");
    assert_told(&found, "the records", "well", &["of 1 volumes"]);
    let tree = text(&world.server.tree("data"));
    world.server.node().shell(&format!("for f in {tree}/.hawser/volumes/*/record.*; do cp -a $f /run/; echo no > $f; done"));
    assert_told(&examined(machine, |config| config).await, "the records", "wrong", &["run a version that understands it"]);
    world.server.node().shell(&format!("for f in {tree}/.hawser/volumes/*/record.*; do cat /run/${{f##*/}} > $f; done"));

    let nowhere = examined(machine, |config| config.replace("path: ", "path: /nowhere")).await;
    assert_told(&nowhere, "the export", "wrong", &["correct `path`"]);
    let squashed = world.server.export("squashed", "rw,sync,root_squash,no_subtree_check");
    let found = examined(machine, |config| {
        let lines = config
            .lines()
            .map(|line| if line.trim().starts_with("path:") { format!("    path: {}", squashed.path) } else { line.into() });
        lines.collect::<Vec<String>>().join("\n")
    })
    .await;
    assert_told(&found, "writing", "wrong", &["does not let this machine's root write", "no_root_squash"]);
    Trouble::Frozen.begin(&world, machine);
    let began = Instant::now();
    let found = examined(machine, |config| config).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(found.iter().any(|check| check["result"] == "wrong"), "{found:#?}");
    Trouble::Frozen.end(&world, machine);
    client.delete(&volume.volume_id).await.unwrap();
}
