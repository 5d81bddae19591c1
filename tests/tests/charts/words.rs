//! Every flag and key that the chart uses exists in the program that it gives it to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use hawser_tests::Workspace;
use hawser_tests::binary::{hawser, workspace_root};
use hawser_tests::helm::{Request, arguments, oracle, render};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rendering::all;

/// Has the program read its command line without doing what it says: `--help` at its end is read when all before it was understood.
fn is_understood(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(hawser()).args(arguments).arg("--help").output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn the_program_understands_every_command_line() {
    let lines: BTreeSet<Vec<&str>> = all()
        .renderings
        .iter()
        .flat_map(|rendering| rendering.containers())
        .filter(|(_, container)| container["name"] == "hawser")
        .map(|(_, container)| arguments(container))
        .collect();
    assert!(lines.len() >= 6, "{lines:?}");
    for line in lines {
        assert_eq!(is_understood(&line), Ok(()), "{line:?}");
    }
}

#[test]
fn a_planted_wrong_flag_is_caught() {
    let values = json!({"backends": {"ebs": {"type": "ebs"}}, "node": {"extraArgs": ["--htttp-endpoint=:1"]}});
    let report = render(&[Request { name: "planted".into(), values, oldest: None }]);
    let (_, node) = report.renderings[0]
        .containers()
        .find(|(kind, container)| *kind == "DaemonSet" && container["name"] == "hawser")
        .unwrap();
    let refused = is_understood(&arguments(node)).unwrap_err();
    assert!(refused.contains("--htttp-endpoint"), "{refused}");
}

fn check(text: &str) -> Result<(), String> {
    let workspace = Workspace::new();
    let file = workspace.path().join("hawser.yaml");
    fs::write(&file, text).unwrap();
    let output = Command::new(hawser()).args(["config", "check"]).arg(&file).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_configuration_is_in_order() {
    let configurations: BTreeSet<&str> = all()
        .renderings
        .iter()
        .flat_map(|rendering| rendering.of_kind("ConfigMap"))
        .filter_map(|document| document["data"]["hawser.yaml"].as_str())
        .collect();
    assert!(configurations.len() >= 12, "{}", configurations.len());
    for configuration in configurations {
        assert_eq!(check(configuration), Ok(()), "{configuration}");
    }
}

/// The keys that the program knows at a place, in its own words about one that it does not know.
fn known(text: &str) -> BTreeSet<String> {
    let refused = check(text).unwrap_err();
    let (_, keys) = refused.split_once("expected one of ").unwrap_or_else(|| panic!("{refused}"));
    keys.trim().split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_schema_of_values_has_the_keys_of_the_configuration() {
    let text = fs::read_to_string(workspace_root().join("charts/hawser/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let keys = |place: &str| -> BTreeSet<String> {
        let properties = schema.pointer(place).unwrap_or_else(|| panic!("{place}"));
        properties.as_object().unwrap().keys().filter(|key| *key != "type").cloned().collect()
    };
    for name in ["ebs", "local", "nfs", "scaleio"] {
        let place = format!("/$defs/{name}/properties");
        assert_eq!(keys(&place), known(&format!("backends:\n  a:\n    type: {name}\n    what-is-this: 1\n")), "{name}");
    }
    let node = |name| known(&format!("backends:\n  a:\n    type: {name}\n    node:\n      what-is-this: 1\n"));
    assert_eq!(keys("/$defs/ebs/properties/node/properties"), node("ebs"));
    assert_eq!(keys("/$defs/scaleio/properties/node/properties"), node("scaleio"));
    assert_eq!(
        keys("/$defs/scaleio/properties/systems/items/properties"),
        known("backends:\n  a:\n    type: scaleio\n    systems:\n    - what-is-this: 1\n"),
    );
    // The chart itself says where the driver listens, and the pod which node it is; Mesos' storage provider is not here.
    let by_the_chart = ["endpoint", "http-endpoint", "list-volumes", "node-id", "socket-group"].map(str::to_owned);
    let driver = known("driver:\n  what-is-this: 1\n");
    assert_eq!(keys("/properties/driver/properties"), driver.difference(&by_the_chart.into()).cloned().collect());
}

#[derive(Debug, Deserialize)]
pub struct Sidecar {
    version: String,
    flags: BTreeSet<String>,
    pub rules: BTreeSet<(String, String, String)>,
}

/// What the sidecars' sources say, by their images.
pub fn sidecars() -> BTreeMap<String, Sidecar> {
    let output = Command::new(oracle("venv/bin/python"))
        .arg(workspace_root().join("tests/charts/sidecars.py"))
        .arg(oracle("modules.json"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_sidecars_have_every_flag_in_the_versions_that_are_started() {
    let sidecars = sidecars();
    let mut seen = BTreeSet::new();
    for (_, container) in all().renderings.iter().flat_map(|rendering| rendering.containers()) {
        let name = container["name"].as_str().unwrap();
        let Some(sidecar) = sidecars.get(name) else {
            // The sources of the registrar cannot be had as a module; its flags are those of its documentation.
            assert!(["hawser", "node-driver-registrar"].contains(&name), "{name}");
            continue;
        };
        let image = container["image"].as_str().unwrap();
        assert!(
            image.ends_with(&format!("/{name}:{}", sidecar.version)),
            "{image}: the flags are compared with {}",
            sidecar.version
        );
        for argument in arguments(container) {
            let flag = argument.trim_start_matches('-').split('=').next().unwrap();
            assert!(sidecar.flags.contains(flag), "{name} has no {argument}");
            seen.insert((name.to_owned(), flag.to_owned()));
        }
    }
    assert!(seen.len() > 40, "{seen:?}");
}
