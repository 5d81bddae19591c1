//! The rules and the dashboard: in order, and about metrics and labels that exist.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use hawser_tests::Workspace;
use hawser_tests::binary::workspace_root;
use hawser_tests::told::documented;
use serde_json::{Value, json};

/// Labels that Prometheus gives.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];

pub(crate) fn monitoring() -> PathBuf {
    workspace_root().join("charts/hawser/monitoring")
}

fn promtool(words: &[&str]) {
    let output = Command::new("promtool").args(words).current_dir(monitoring()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {}: {said}", words.join(" "));
}

fn rules() -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(monitoring().join("alerts.yaml")).unwrap()).unwrap()
}

fn words(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value.as_str().filter(|_| name == key) {
                    Some(text) => found.push(text.to_owned()),
                    None => words(value, key, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| words(value, key, found)),
        _ => {}
    }
}

pub(crate) fn expressions(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    words(value, "expr", &mut found);
    found
}

/// The metrics and the labels that an expression names.
fn named(expression: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut metrics, mut labels) = (BTreeSet::new(), BTreeSet::new());
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| is_word(c) || c == '"') {
        rest = &rest[at..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = text.split_once('"').unwrap().1;
            continue;
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if word.starts_with("hawser_") || word.starts_with("process_") {
            metrics.insert(word.to_owned());
        } else if after.trim_start().starts_with(['=', '!']) && !after.trim_start().starts_with("==") {
            labels.insert(word.to_owned());
        } else if ["by", "on", "without", "ignoring"].contains(&word) {
            let list = after.trim_start().strip_prefix('(').unwrap().split_once(')').unwrap();
            labels.extend(list.0.split(',').map(|label| label.trim().to_owned()));
            rest = list.1;
        }
    }
    (metrics, labels)
}

fn assert_exists(expression: &str) {
    let documented = documented();
    let (metrics, labels) = named(expression);
    assert!(!metrics.is_empty(), "{expression:?} names no metric");
    let mut known: BTreeSet<&str> = OF_PROMETHEUS.into();
    for metric in &metrics {
        let bare = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| metric.strip_suffix(suffix)).unwrap_or(metric);
        let of = documented.get(bare).unwrap_or_else(|| panic!("{expression:?}: there is no metric {metric}"));
        known.extend(of.iter().map(String::as_str));
        known.extend(metric.ends_with("_bucket").then_some("le"));
    }
    let unknown: Vec<_> = labels.iter().filter(|label| !known.contains(label.as_str())).collect();
    assert!(unknown.is_empty(), "{expression:?}: {metrics:?} have no labels {unknown:?}");
}

#[test]
fn what_an_expression_names_is_found() {
    let (metrics, labels) =
        named(r#"sum by (a, le) (rate(hawser_x_total{b="hawser_no", c!~"d=\d"}[5m])) / on (e) process_y == 1"#);
    assert_eq!(metrics, ["hawser_x_total", "process_y"].map(str::to_owned).into());
    assert_eq!(labels, ["a", "b", "c", "e", "le"].map(str::to_owned).into());
}

#[test]
fn the_alerts_are_in_order_and_each_fires_and_does_not() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts-test.yaml"]);
    let (rules, tests) = (rules(), std::fs::read_to_string(monitoring().join("alerts-test.yaml")).unwrap());
    let mut alerts = Vec::new();
    words(&rules, "alert", &mut alerts);
    assert!(alerts.len() > 10);
    for alert in alerts {
        for case in ["fires", "stays quiet"] {
            assert!(tests.contains(&format!("name: {alert} {case}\n")), "no series shows that {alert} {case}");
        }
    }
}

#[test]
fn rules_and_dashboard_name_what_exists() {
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(monitoring().join("dashboard.json")).unwrap()).unwrap();
    let shown = expressions(&dashboard);
    assert!(shown.len() > 30, "{}", shown.len());
    for expression in shown.iter().chain(&expressions(&rules())) {
        assert_exists(expression);
    }
    let mut queries = Vec::new();
    words(&dashboard["templating"], "query", &mut queries);
    for query in queries.iter().filter(|query| query.contains("label_values")) {
        let (metric, label) = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap().rsplit_once(',').unwrap();
        assert_exists(&format!("sum by ({}) ({metric})", label.trim()));
    }
    // What Grafana puts in is put in here, and promtool reads each as a rule.
    let rules: Vec<Value> = shown
        .iter()
        .enumerate()
        .map(|(number, expression)| json!({ "record": format!("panel:{number}"), "expr": expression.replace("$__rate_interval", "5m") }))
        .collect();
    let workspace = Workspace::new();
    let file = workspace.path().join("panels.yaml");
    std::fs::write(&file, json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

/// What a dashboard does not show, nobody looks at.
#[test]
fn the_dashboard_shows_every_metric() {
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(monitoring().join("dashboard.json")).unwrap()).unwrap();
    let shown: BTreeSet<String> = expressions(&dashboard).iter().flat_map(|expression| named(expression).0).collect();
    let missing: Vec<String> =
        documented().into_keys().filter(|metric| !shown.iter().any(|shown| shown.starts_with(metric.as_str()))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
