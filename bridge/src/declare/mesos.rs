//! Mesos' own messages, in the JSON of the v1 API: tasks, executors, containers and volumes, alone or within the calls that carry
//! them (`include/mesos/v1/*.proto` of Mesos 1.12).
//!
//! Mesos' JSON parser drops fields that it does not know without a word (stout, protobuf.hpp), so a misspelt one is warned of where
//! it would have declared something.

mod container;
mod csi_volume;
mod docker_volume;
mod volume;

use super::Reading;
use super::environment::{self, Variable};
use super::json::{Node, Object};
use crate::finding::Findings;

use container::Engine;

/// Calls in calls, at most: ACCEPT holds operations, an operation holds tasks.
const DEPTH_MAX: usize = 8;

/// What a field of a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// A message that holds others by fields of this table.
    Inner,
    /// `TaskInfo`, or `Task`, which the operator API writes and which has a container, but no command.
    Task,
    /// `TaskGroupInfo`.
    TaskGroup,
    /// `ExecutorInfo`.
    Executor,
}

/// The calls of the scheduler, operator and agent APIs that hold what declares volumes.
const CARRIERS: [(&str, Holds); 16] = [
    ("accept", Holds::Inner),
    ("operations", Holds::Inner),
    ("launch", Holds::Inner),
    ("launch_group", Holds::Inner),
    ("launch_container", Holds::Task),
    ("launch_nested_container", Holds::Task),
    ("get_state", Holds::Inner),
    ("get_tasks", Holds::Inner),
    ("get_executors", Holds::Inner),
    ("executors", Holds::Inner),
    ("task_infos", Holds::Task),
    ("pending_tasks", Holds::Task),
    ("unreachable_tasks", Holds::Task),
    ("task_group", Holds::TaskGroup),
    ("executor", Holds::Executor),
    ("executor_info", Holds::Executor),
];

/// Whether `root` is one of Mesos' messages.
pub(super) fn is_message(root: &Object<'_>) -> bool {
    let fields = ["task_id", "executor_id", "container_path", "source", "environment", "tasks", "volumes"];
    fields.iter().any(|field| root.has(field)) || CARRIERS.iter().any(|(field, _)| root.has(field))
}

/// Reads a message of any kind.
pub(super) fn read(root: &Object<'_>, reading: &mut Reading) {
    if root.has("container_path") || root.has("source") {
        volume::alone(root, reading);
    } else if root.has("executor_id") && !root.has("task_id") {
        executor(root, reading);
    } else if root.has("tasks") && !root.has("get_tasks") {
        task_group(root, reading);
    } else if root.has("volumes") {
        container::read(root, reading);
    } else if root.has("environment") {
        environment(Some(root), None, reading);
    } else if CARRIERS.iter().any(|(field, _)| *field != "executor" && root.has(field)) {
        carrier(root, 0, reading);
    } else {
        task(root, reading);
    }
}

fn carrier(root: &Object<'_>, depth: usize, reading: &mut Reading) {
    if depth >= DEPTH_MAX {
        reading.findings.mistake(&root.node.place(), "is a call in too many others; no more are read");
        return;
    }
    for (field, holds) in CARRIERS {
        for object in root.get(field).map(|node| one_or_many(node, &mut reading.findings)).unwrap_or_default() {
            match holds {
                Holds::Inner => carrier(&object, depth + 1, reading),
                Holds::Task => task(&object, reading),
                Holds::TaskGroup => task_group(&object, reading),
                Holds::Executor => executor(&object, reading),
            }
        }
    }
    // In a list of tasks of the operator API each has an id of its own; a TaskGroupInfo has been recognised before.
    if depth > 0 && root.has("tasks") {
        for object in root.get("tasks").map(|node| one_or_many(node, &mut reading.findings)).unwrap_or_default() {
            task(&object, reading);
        }
    }
}

fn one_or_many<'d>(node: &Node<'d>, findings: &mut Findings) -> Vec<Object<'d>> {
    if node.is_array() {
        let list = node.array(findings);
        return list.iter().flat_map(|list| list.iter()).filter_map(|node| node.object(findings)).collect();
    }
    node.object(findings).into_iter().collect()
}

fn member<'d>(root: &Object<'d>, key: &str, findings: &mut Findings) -> Option<Object<'d>> {
    root.get(key).and_then(|node| node.object(findings))
}

fn task(root: &Object<'_>, reading: &mut Reading) {
    let engine = member(root, "container", &mut reading.findings).and_then(|container| container::read(&container, reading));
    environment(member(root, "command", &mut reading.findings).as_ref(), engine, reading);
    if let Some(own) = member(root, "executor", &mut reading.findings) {
        executor(&own, reading);
    }
}

fn executor(root: &Object<'_>, reading: &mut Reading) {
    let engine = member(root, "container", &mut reading.findings).and_then(|container| container::read(&container, reading));
    environment(member(root, "command", &mut reading.findings).as_ref(), engine, reading);
}

/// The tasks of a group run in containers within their executor's. mesos-module-dvdi reads an executor's environment only.
fn task_group(root: &Object<'_>, reading: &mut Reading) {
    let Some(tasks) = root.get("tasks").and_then(|node| node.array(&mut reading.findings)) else { return };
    for node in tasks.iter() {
        let Some(task) = node.object(&mut reading.findings) else { continue };
        if let Some(container) = member(&task, "container", &mut reading.findings) {
            container::read(&container, reading);
        }
        let command = member(&task, "command", &mut reading.findings);
        if let Some(variable) = variables(command.as_ref(), &mut reading.findings).first() {
            reading.findings.mistake(
                &variable.place,
                "has no effect in a task of a group: mesos-module-dvdi reads the executor's environment only",
            );
        }
    }
}

fn environment(command: Option<&Object<'_>>, engine: Option<Engine>, reading: &mut Reading) {
    let variables = variables(command, &mut reading.findings);
    if let (Some(Engine::Docker), Some(first)) = (engine, variables.first()) {
        reading.findings.mistake(
            &first.place,
            "has no effect in a Docker container: mesos-module-dvdi is part of the Mesos containerizer; use type MESOS",
        );
        return;
    }
    environment::read(variables, reading);
}

/// The variables of mesos-module-dvdi in a `CommandInfo`.
fn variables(command: Option<&Object<'_>>, findings: &mut Findings) -> Vec<Variable> {
    let Some(environment) = command.and_then(|command| member(command, "environment", findings)) else { return Vec::new() };
    let Some(list) = environment.get("variables").and_then(|node| node.array(findings)) else { return Vec::new() };
    let mut variables = Vec::new();
    for node in list.iter() {
        let Some(variable) = node.object(findings) else { continue };
        let Some(name) = variable.required("name", findings).and_then(|node| node.text(findings)) else { continue };
        if !name.starts_with("DVDI_VOLUME_") {
            continue;
        }
        let value = match variable.get("value") {
            Some(value) => value.text(findings).map(Some),
            None if variable.has("secret") => Some(None),
            None => {
                findings.mistake(&node.place().member("value"), "is required");
                None
            }
        };
        variables.extend(value.map(|value| Variable { name, value, place: node.place() }));
    }
    variables
}
