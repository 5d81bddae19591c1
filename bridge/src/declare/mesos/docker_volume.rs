//! `DOCKER_VOLUME`: a name for a Docker volume driver, with options.

use hawser_volume::AccessMode;

use super::container::{Container, Engine};
use super::member;
use crate::claim::VolumeClaim;
use crate::declare::docker::parameter_entries;
use crate::declare::draft::{Draft, driver_name};
use crate::declare::json::{Node, Object};
use crate::declare::options::{Carrier, VolumeOptions};
use crate::finding::Findings;

pub(super) fn read(mut draft: Draft, volume: &Object<'_>, container: &Container, findings: &mut Findings) -> Option<VolumeClaim> {
    volume.warn_of_others(&["driver", "name", "driver_options"], "Mesos", findings);
    let name = volume.required("name", findings).and_then(|node| Some((node.text(findings)?, node.place())));
    let driver = match volume.get("driver") {
        Some(node) => Some(driver_name(node.text(findings)?, &node.place(), findings)?),
        None => container.volume_driver.clone(),
    };
    let entries = member(volume, "driver_options", findings)
        .and_then(|options| options.required("parameter", findings)?.array(findings))
        .map(|list| parameter_entries(&list, findings))
        .unwrap_or_default();
    let mut options = VolumeOptions::read(&entries, Carrier::DockerDriver, findings);
    match (container.engine, driver) {
        (Engine::Mesos, None) => {
            // docker/volume/isolator.cpp, prepare.
            findings.mistake(
                &volume.node.place().member("driver"),
                "is required: the docker/volume isolator refuses a volume without it",
            );
            return None;
        }
        (Engine::Docker, None) => {
            findings.warn(&volume.node.place(), "has no driver, so Docker keeps it on the agent and Hawser never hears of it");
            return None;
        }
        (_, driver) => draft.driver = driver,
    }
    if let (Engine::Docker, Some(entry)) = (container.engine, entries.first()) {
        // src/docker/docker.cpp reads the name and the driver, and nothing else of a docker_volume.
        findings.warn(
            &entry.place,
            "has no effect in a container of type DOCKER: Docker hands no options on; use type MESOS, or make the volume before",
        );
        options = VolumeOptions::default();
    }
    let (name, place) = name?;
    draft.named((&name, &place), options, AccessMode::SingleNodeWriter, findings)
}

/// A relative host path in a Docker container with a volume driver is the name of a volume (src/docker/docker.cpp); anywhere else a
/// host path is one.
pub(super) fn by_host_path(
    mut draft: Draft,
    node: &Node<'_>,
    container: &Container,
    findings: &mut Findings,
) -> Option<VolumeClaim> {
    let path = node.text(findings)?;
    draft.driver = Some(container.volume_driver.clone()?);
    if path.starts_with('/') {
        return None;
    }
    draft.named((&path, &node.place()), VolumeOptions::default(), AccessMode::SingleNodeWriter, findings)
}
