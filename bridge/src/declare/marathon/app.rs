//! One Marathon app: its external volumes, its environment, the parameters of its Docker container.

use super::absolute;
use super::external::{self, Engine};
use super::rules::{self, AppVolumes, Volume};
use crate::declare::Reading;
use crate::declare::docker;
use crate::declare::environment::{self, Variable};
use crate::declare::json::{Node, Object};
use crate::declare::nearest::nearest;
use crate::finding::Findings;

/// What a volume of an app can be (volumes.raml, AppVolume): the field that says it.
const KINDS: [&str; 4] = ["external", "persistent", "hostPath", "secret"];

pub(super) fn read(root: &Object<'_>, base: &str, reading: &mut Reading) -> AppVolumes {
    let earlier = reading.claims.len();
    let id = root.required("id", &mut reading.findings).and_then(|node| node.text(&mut reading.findings)).unwrap_or_default();
    let container = root.get("container").and_then(|node| node.object(&mut reading.findings));
    let engine = container.as_ref().map_or(Engine::Mesos, |container| engine(container, &mut reading.findings));
    let mut app = AppVolumes { id: absolute(&id, base), volumes: Vec::new(), resident: false };
    if let Some(container) = &container {
        for node in
            container.get("volumes").and_then(|node| node.array(&mut reading.findings)).iter().flat_map(|list| list.iter())
        {
            read_volume(&node, engine, &mut app, reading);
        }
        docker_parameters(container, engine, reading);
    }
    read_environment(root, engine, reading);
    let claims = reading.claims.get(earlier..).unwrap_or_default();
    rules::one_app(root, &app, claims, &mut reading.findings);
    app
}

/// The container's type. Marathon's default is DOCKER (appContainer.raml), also for a container without an image, which it then
/// refuses; without a container at all the task is a plain command of Mesos.
fn engine(container: &Object<'_>, findings: &mut Findings) -> Engine {
    let Some(node) = container.get("type") else { return Engine::Docker { said: false } };
    match node.text(findings).as_deref() {
        Some("MESOS") => Engine::Mesos,
        Some("DOCKER") => Engine::Docker { said: true },
        Some(_) => {
            findings.mistake(&node.place(), "must be MESOS or DOCKER");
            Engine::Mesos
        }
        None => Engine::Mesos,
    }
}

fn read_volume(node: &Node<'_>, engine: Engine, app: &mut AppVolumes, reading: &mut Reading) {
    let Some(volume) = node.object(&mut reading.findings) else { return };
    app.resident |= volume.has("persistent");
    if volume.has("external") {
        let mut told = None;
        reading.claim(|findings| external::read(&volume, engine, &mut told, findings));
        app.volumes.extend(told.map(|name: Volume| name));
    } else if !KINDS.iter().any(|kind| volume.has(kind)) {
        let near = volume.members().find_map(|(key, _)| nearest(key, KINDS).map(|kind| format!("; did you mean {kind}?")));
        let text = format!("has none of {}, so Marathon refuses it{}", KINDS.join(", "), near.unwrap_or_default());
        reading.findings.mistake(&node.place(), text);
    }
}

/// `container.docker.parameters`, which Marathon hands to Docker as they are.
fn docker_parameters(container: &Object<'_>, engine: Engine, reading: &mut Reading) {
    let Some(docker) = container.get("docker").and_then(|node| node.object(&mut reading.findings)) else { return };
    let Some(parameters) = docker.get("parameters").and_then(|node| node.array(&mut reading.findings)) else { return };
    if matches!(engine, Engine::Docker { .. }) {
        docker::container_parameters(&parameters, None, reading);
    }
}

/// `env`: texts, or `{"secret": …}`. The module reads the environment of the executor, which is the command's own.
fn read_environment(root: &Object<'_>, engine: Engine, reading: &mut Reading) {
    let Some(env) = root.get("env").and_then(|node| node.object(&mut reading.findings)) else { return };
    let ours = env.members().filter(|(name, _)| name.starts_with("DVDI_VOLUME_"));
    let mut variables = Vec::new();
    for (name, node) in ours {
        let value = if node.is_object() { Some(None) } else { node.text(&mut reading.findings).map(Some) };
        variables.extend(value.map(|value| Variable { name: name.to_owned(), value, place: node.place() }));
    }
    if let (Engine::Docker { .. }, Some(first)) = (engine, variables.first()) {
        reading.findings.mistake(
            &first.place,
            "has no effect in a Docker container: mesos-module-dvdi is part of the Mesos containerizer; use type MESOS",
        );
        return;
    }
    environment::read(variables, reading);
}
