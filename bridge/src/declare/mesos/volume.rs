//! `Volume`: where it appears and what its source is.

use hawser_volume::error::shown;

use super::container::{Container, Engine};
use super::{csi_volume, docker_volume, member};
use crate::claim::VolumeClaim;
use crate::declaration::Form;
use crate::declare::Reading;
use crate::declare::draft::{Draft, container_path};
use crate::declare::json::{Node, Object};
use crate::finding::Findings;

/// `Volume.Source.Type`; volumes of the others are nobody's business here.
const SOURCES: [&str; 5] = ["DOCKER_VOLUME", "CSI_VOLUME", "HOST_PATH", "SANDBOX_PATH", "SECRET"];

/// A volume without its container, as `mesos-execute --volumes` takes it.
pub(super) fn alone(root: &Object<'_>, reading: &mut Reading) {
    let container = Container { engine: Engine::Mesos, volume_driver: None };
    reading.claim(|findings| read(root, &container, findings));
}

pub(super) fn read(root: &Object<'_>, container: &Container, findings: &mut Findings) -> Option<VolumeClaim> {
    root.warn_of_others(&["container_path", "mode", "host_path", "image", "source"], "Mesos", findings);
    let path = root.required("container_path", findings);
    let path = path.and_then(|node| container_path(node.text(findings)?, &node.place(), findings));
    let read_only = root.required("mode", findings).and_then(|node| mode(node, findings));
    // src/common/validation.cpp, validateVolume.
    if ["host_path", "image", "source"].iter().filter(|key| root.has(key)).count() != 1 {
        findings.mistake(&root.node.place(), "must have exactly one of source, host_path and image; Mesos refuses anything else");
        return None;
    }
    let draft = |form| Draft { container_path: path.clone(), read_only, ..Draft::new(form, root.node.place()) };
    if let Some(node) = root.get("host_path") {
        return docker_volume::by_host_path(draft(Form::MesosDockerVolume), node, container, findings);
    }
    let source = member(root, "source", findings)?;
    source.warn_of_others(&["type", "docker_volume", "csi_volume", "host_path", "sandbox_path", "secret"], "Mesos", findings);
    let kind = source.required("type", findings).and_then(|node| Some((node.text(findings)?, node.place())));
    let (kind, place) = kind?;
    let inner = |key: &str, findings: &mut Findings| source.required(key, findings).and_then(|node| node.object(findings));
    match kind.as_str() {
        "DOCKER_VOLUME" => {
            docker_volume::read(draft(Form::MesosDockerVolume), &inner("docker_volume", findings)?, container, findings)
        }
        "CSI_VOLUME" => csi_volume::read(draft(Form::MesosCsiVolume), &inner("csi_volume", findings)?, container, findings),
        other if SOURCES.contains(&other) => None,
        other => {
            findings.mistake(&place, format!("{} is no source of a volume; it is one of {}", shown(other), SOURCES.join(", ")));
            None
        }
    }
}

fn mode(node: &Node<'_>, findings: &mut Findings) -> Option<bool> {
    match node.text(findings)?.as_str() {
        "RW" => Some(false),
        "RO" => Some(true),
        other => {
            findings.mistake(&node.place(), format!("{} is no mode; it is RW or RO", shown(other)));
            None
        }
    }
}
