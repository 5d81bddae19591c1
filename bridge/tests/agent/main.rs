//! The files and flags of a Mesos agent: good ones, bad ones, hostile ones, and those that are written for a bridge.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod flags;
mod hostile;
mod plugins;
mod profiles;
mod providers;
mod written;

use std::fs;
use std::path::{Path, PathBuf};

use hawser_bridge::agent::{self, Report, Sources};
use serde_json::Value;
use tempfile::TempDir;

/// A directory with files, by name and text.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn check(sources: Sources) -> Report {
    agent::check(&sources).unwrap()
}

/// The report on CSI plugins of these files.
fn plugins(files: &[(&str, &str)]) -> Report {
    let directory = directory(files);
    check(Sources { csi_plugins: Some(directory.path().to_owned()), ..Sources::default() })
}

/// The report on providers of these files.
fn providers(files: &[(&str, &str)]) -> Report {
    let directory = directory(files);
    check(Sources { providers: Some(directory.path().to_owned()), ..Sources::default() })
}

/// The report on profiles of this file.
fn profiles(text: &str) -> Report {
    let directory = directory(&[("profiles.json", text)]);
    check(Sources { profiles: Some(directory.path().join("profiles.json")), ..Sources::default() })
}

/// Whether the report has a mistake, or a warning, at `path` that says `text`.
#[track_caller]
fn assert_told(report: &Report, kind: &str, path: &str, text: &str) {
    let told = report.to_string();
    let there = told.lines().any(|line| line.contains(&format!("{kind}: {path}: ")) && line.contains(text));
    assert!(there, "no {kind} at {path} with {text:?} in\n{told}");
}

#[track_caller]
fn assert_in_order(report: &Report) {
    assert_eq!((report.mistakes(), report.warnings()), (0, 0), "{report}");
    assert!(report.files().count() > 0, "nothing was read");
}

/// The value with another one put in at an RFC 6901 pointer; `null` takes the member away.
fn with(value: &Value, pointer: &str, other: &Value) -> String {
    let mut value = value.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
        Value::Object(map) if other.is_null() => drop(map.remove(key)),
        Value::Object(map) => drop(map.insert(key.to_owned(), other.clone())),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = other.clone(),
        _ => panic!("{pointer} has no parent"),
    }
    serde_json::to_string_pretty(&value).unwrap()
}

/// Each case is a change of `good`, and the mistake that it must give: its path and a part of its text.
fn expect(good: &Value, cases: &[(&str, Value, &str, &str)], report: impl Fn(&str) -> Report) {
    assert_eq!(report(&good.to_string()).mistakes(), 0, "{}", report(&good.to_string()));
    for (pointer, other, path, text) in cases {
        assert_told(&report(&with(good, pointer, other)), "mistake", path, text);
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
