//! Helm and the schemas of Kubernetes: the chart rendered, and documents validated.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::binary::{tool, workspace_root};

/// One use of the chart.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// What the report calls it.
    pub name: String,
    /// The values, instead of the chart's own.
    pub values: Value,
    /// The oldest release of Kubernetes that has what is asked for, if the chart's is too old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<&'static str>,
}

/// What came out.
#[derive(Debug, Deserialize)]
pub struct Rendering {
    /// The request's name.
    pub name: String,
    /// Why Helm rendered nothing, in its own words.
    #[serde(default)]
    pub refused: Option<String>,
    /// The documents, in no particular order.
    #[serde(default)]
    pub documents: Vec<Value>,
    /// What the schemas find in them.
    #[serde(default)]
    pub faults: Vec<String>,
}

/// What Helm says of all requests.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// What Helm's linter finds in the chart.
    pub lint: Vec<Value>,
    /// The renderings, in the order of the requests.
    pub renderings: Vec<Rendering>,
}

impl Rendering {
    /// The containers, each with the kind of what starts it.
    pub fn containers(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.documents.iter().flat_map(|document| {
            let containers = document["spec"]["template"]["spec"]["containers"].as_array();
            containers.into_iter().flatten().map(|container| (document["kind"].as_str().unwrap(), container))
        })
    }

    /// The documents of a kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.documents.iter().filter(|document| document["kind"] == kind).collect()
    }
}

/// The arguments of a container.
pub fn arguments(container: &Value) -> Vec<&str> {
    container["args"].as_array().into_iter().flatten().map(|argument| argument.as_str().unwrap()).collect()
}

/// Where the programs and packages are that check the chart.
pub fn oracle(name: &str) -> PathBuf {
    tool("charts").join(name)
}

/// Renders the chart.
pub fn render(requests: &[Request]) -> Report {
    ask(&serde_json::to_value(requests).unwrap())
}

/// What the schemas find in documents of Kubernetes, which are YAML.
pub fn validate(documents: &str) -> Vec<String> {
    let request = serde_json::json!([{ "name": "documents", "documents": documents }]);
    ask(&request).renderings.remove(0).faults
}

fn ask(requests: &Value) -> Report {
    let mut helm = Command::new(oracle("venv/bin/python"))
        .arg(workspace_root().join("tests/charts/render.py"))
        .arg(workspace_root().join("charts/hawser"))
        .arg(oracle("modules.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    helm.stdin.take().unwrap().write_all(&serde_json::to_vec(requests).unwrap()).unwrap();
    let output = helm.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}
