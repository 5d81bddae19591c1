//! Every configuration, every set of values and every document of Kubernetes in the documentation is in order.

use std::fs;
use std::process::Command;

use hawser_tests::Workspace;
use hawser_tests::binary::{hawser, workspace_root};
use hawser_tests::helm::{Request, oracle, render, validate};
use serde_json::Value;

use crate::blocks::pages;

/// YAML as JSON, by the parser that Helm's Python packages bring.
fn json(yaml: &str) -> Value {
    let program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.argv[1]), sys.stdout)";
    let output = Command::new(oracle("venv/bin/python")).args(["-c", program, yaml]).output().unwrap();
    assert!(output.status.success(), "{yaml}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check(configuration: &str) -> Result<(), String> {
    let workspace = Workspace::new();
    let file = workspace.path().join("hawser.yaml");
    fs::write(&file, configuration).unwrap();
    let output = Command::new(hawser()).args(["config", "check"]).arg(&file).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn what_is_to_be_copied_works() {
    let (mut configurations, mut values, mut documents) = (0, 0, 0);
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "yaml") {
            let place = format!("{}:{}", page.path.display(), block.line);
            let keys = json(&block.text);
            if keys.get("apiVersion").is_some() {
                documents += 1;
                assert_eq!(validate(&block.text), [""; 0], "{place}");
            } else if block.text.starts_with("# values.yaml") {
                values += 1;
                let rendering = render(&[Request { name: place.clone(), values: keys, oldest: None }]).renderings.remove(0);
                assert_eq!((rendering.refused, rendering.faults), (None, vec![]), "{place}");
            } else {
                configurations += 1;
                assert_eq!(check(&block.text), Ok(()), "{place}");
            }
        }
    }
    assert!(configurations >= 2 && values >= 2 && documents >= 2, "{configurations} {values} {documents}");
}

/// The documentation says which files are examples; they are there, and the other way round.
#[test]
fn every_example_is_in_the_table() {
    let table = fs::read_to_string(workspace_root().join("charts/README.md")).unwrap();
    for entry in fs::read_dir(workspace_root().join("charts/examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(table.contains(&format!("examples/{name}")), "charts/README.md does not tell of examples/{name}");
    }
}
