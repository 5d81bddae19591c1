//! `ContainerInfo`.

use std::collections::BTreeSet;

use hawser_volume::error::shown;

use super::member;
use super::volume;
use crate::claim::{ClaimedVolume, VolumeClaim};
use crate::declare::Reading;
use crate::declare::docker;
use crate::declare::draft::driver_name;
use crate::declare::json::Object;
use crate::finding::{Findings, Place};

/// Which containerizer runs the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Mesos,
    Docker,
}

/// What a volume must know of its container.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub engine: Engine,
    /// `docker.volume_driver`, which Mesos calls deprecated since 1.0 and still reads.
    pub volume_driver: Option<String>,
}

/// Reads a container with its volumes; gives the containerizer, if it is said.
pub(super) fn read(root: &Object<'_>, reading: &mut Reading) -> Option<Engine> {
    let earlier = reading.claims.len();
    let engine = root.required("type", &mut reading.findings).and_then(|node| {
        let text = node.text(&mut reading.findings)?;
        match text.as_str() {
            "MESOS" => Some(Engine::Mesos),
            "DOCKER" => Some(Engine::Docker),
            other => {
                reading
                    .findings
                    .mistake(&node.place(), format!("{} is no type of a container; it is MESOS or DOCKER", shown(other)));
                None
            }
        }
    });
    // Volumes of a container whose type is wrong are read as if it were MESOS, to tell their mistakes, too.
    let docker = member(root, "docker", &mut reading.findings).filter(|_| engine == Some(Engine::Docker));
    let volume_driver = docker.as_ref().and_then(|docker| docker.get("volume_driver")).and_then(|node| {
        let text = node.text(&mut reading.findings)?;
        driver_name(text, &node.place(), &mut reading.findings)
    });
    let container = Container { engine: engine.unwrap_or(Engine::Mesos), volume_driver };
    let volumes = root.get("volumes").and_then(|node| node.array(&mut reading.findings));
    for node in volumes.iter().flat_map(|list| list.iter()) {
        if let Some(object) = node.object(&mut reading.findings) {
            reading.claim(|findings| volume::read(&object, &container, findings));
        }
    }
    let parameters = docker.as_ref().and_then(|docker| docker.get("parameters"));
    if let Some(parameters) = parameters.and_then(|node| node.array(&mut reading.findings)) {
        docker::container_parameters(&parameters, container.volume_driver.as_deref(), reading);
    }
    let claims = reading.claims.get(earlier..).unwrap_or_default();
    match container.engine {
        Engine::Mesos => each_volume_once(claims, &mut reading.findings),
        Engine::Docker => one_driver(claims, &mut reading.findings),
    }
    engine
}

/// Both isolators refuse a container that names a volume twice (docker/volume/isolator.cpp and volume/csi/isolator.cpp, prepare).
fn each_volume_once(claims: &[VolumeClaim], findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for claim in claims {
        let name = match &claim.volume {
            ClaimedVolume::Named(named) => named.name.as_str(),
            ClaimedVolume::Existing(existing) => existing.id.as_str(),
        };
        if !seen.insert((claim.declared.form, claim.declared.driver.as_deref(), name)) {
            findings.mistake(
                &claim.declared.place,
                format!("is the volume {}, which this container has already; Mesos refuses it", shown(name)),
            );
        }
    }
}

/// `docker run` takes one `--volume-driver` (src/docker/docker.cpp, RunOptions::create).
fn one_driver(claims: &[VolumeClaim], findings: &mut Findings) {
    let mut drivers = claims.iter().filter_map(|claim| Some((claim.declared.driver.as_deref()?, &claim.declared.place)));
    let Some((first, _)) = drivers.next() else { return };
    let others: Vec<(&str, &Place)> = drivers.filter(|(driver, _)| *driver != first).collect();
    for (driver, place) in others {
        findings.mistake(
            place,
            format!(
                "has the driver {}, and another volume has {}; a Docker container has one driver",
                shown(driver),
                shown(first)
            ),
        );
    }
}
