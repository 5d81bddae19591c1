//! What the program says to a command line or a configuration of an example, without doing anything.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hawser_tests::Workspace;
use hawser_tests::binary::hawser;

use crate::chart;

/// Has the program read `arguments`. With `--help` at their end it shows its help instead of working, unless it stumbles before.
pub fn arguments(arguments: &[String]) -> Result<(), String> {
    words(Command::new(hawser()).args(arguments).arg("--help").output().unwrap())
}

/// Has the program read a configuration.
pub fn configuration(text: &str) -> Result<(), String> {
    let workspace = Workspace::new();
    let file = workspace.path().join("hawser.yaml");
    fs::write(&file, text).unwrap();
    words(Command::new(hawser()).args(["config", "check"]).arg(file).output().unwrap())
}

fn words(output: Output) -> Result<(), String> {
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// What the other tests rest on: that a mistake is seen.
#[test]
fn a_wrong_word_anywhere_is_not_accepted() {
    let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
    arguments(&line("serve node --config x.yaml --node-id n")).unwrap();
    for wrong in [
        "serve nod --config x.yaml",
        "serve node --confg x.yaml",
        "serve node --config x.yaml --readonly",
        "serve node --log-format xml",
        "serve node x.yaml",
        "bridge all",
        "config chek x.yaml",
    ] {
        assert!(arguments(&line(wrong)).is_err(), "{wrong}");
    }
    configuration("backends:\n  a:\n    type: ebs\n").unwrap();
    assert!(configuration("backends:\n  a:\n    type: ebs\n    regon: x\n").is_err());
}

#[test]
fn the_configuration_is_in_order() {
    configuration(&fs::read_to_string(chart("examples/hawser.yaml")).unwrap()).unwrap();
}

/// Every file of `charts/examples` is in the table of the README, and every file of the table exists.
#[test]
fn the_table_names_every_file() {
    let readme = fs::read_to_string(chart("README.md")).unwrap();
    let named: Vec<&str> =
        readme.split("](").skip(1).filter_map(|rest| rest.split_once([')', '#'])).map(|(path, _)| path).collect();
    for path in named.iter().filter(|path| !path.starts_with("http")) {
        chart(path);
    }
    let directory = chart("examples");
    for entry in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
        let path = Path::new("examples").join(entry.file_name().unwrap());
        let is_named = named.iter().any(|named| Path::new(named).starts_with(&path));
        assert!(is_named, "{} is not in charts/README.md", path.display());
    }
}
