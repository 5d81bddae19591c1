//! Files as users and frameworks write them: good ones, bad ones, hostile ones.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod examples;
mod hostile;
mod marathon;
mod mesos;

use hawser_bridge::Finding;
use hawser_bridge::declare::{self, Reading};
use serde_json::Value;

/// The reading of a value.
fn read(value: &Value) -> Reading {
    declare::file(&serde_json::to_string_pretty(value).unwrap())
}

/// The value with another one put in at an RFC 6901 pointer; `null` takes the member away.
fn with(value: &Value, pointer: &str, other: Value) -> Value {
    let mut value = value.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    let key = key.replace("~1", "/").replace("~0", "~");
    match parent {
        Value::Object(map) if other.is_null() => drop(map.remove(&key)),
        Value::Object(map) => drop(map.insert(key, other)),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = other,
        _ => panic!("{pointer} has no parent"),
    }
    value
}

/// Each case is a change of `good`, the path of the finding that it must give, and a part of its text.
fn expect(good: &Value, cases: &[(&str, Value, &str, &str)], found: impl Fn(&Reading) -> &Vec<Finding>) {
    for (pointer, other, path, text) in cases {
        let reading = read(&with(good, pointer, other.clone()));
        let list = found(&reading);
        assert!(
            list.iter().any(|finding| finding.place.path == *path && finding.text.contains(text)),
            "{pointer} = {other}: no {path:?} with {text:?} in {list:#?}"
        );
    }
}

fn mistakes(reading: &Reading) -> &Vec<Finding> {
    &reading.findings.mistakes
}

fn warnings(reading: &Reading) -> &Vec<Finding> {
    &reading.findings.warnings
}
