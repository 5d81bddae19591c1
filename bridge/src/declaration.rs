//! Where a claim comes from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::finding::Place;

/// Where and how a claim was declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// In which form.
    pub form: Form,
    /// Where.
    pub place: Place,
    /// The Docker volume driver or CSI plugin that the task named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Where the task sees the volume: absolute, or relative to its sandbox. Nothing when the door is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
}

/// The forms in which tasks declare volumes; docs/declarations.md has an example of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `external` with provider `dvdi` in a Marathon app.
    MarathonDvdi,
    /// `external` with provider `csi` in a Marathon app.
    MarathonCsi,
    /// A Mesos `Volume` of type `DOCKER_VOLUME`.
    MesosDockerVolume,
    /// A Mesos `Volume` of type `CSI_VOLUME`.
    MesosCsiVolume,
    /// The environment variables of mesos-module-dvdi.
    DvdiEnvironment,
    /// `volume-driver` and `volume` among the parameters of a Docker container.
    DockerParameters,
    /// A name and options: the Docker volume plugin's Create, `docker volume create`, `dvdcli mount`.
    DockerOptions,
    /// A volume id and a volume context, as NodeStageVolume and NodePublishVolume bring them.
    NodeRequest,
    /// A disk of a resource provider, as Mesos says that it is used.
    Disk,
}

impl Form {
    /// Whether Mesos itself calls the node service: `volume/csi` does, everything else goes through a Docker volume driver.
    pub fn through_isolator(self) -> bool {
        matches!(self, Form::MarathonCsi | Form::MesosCsiVolume | Form::NodeRequest)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::MarathonDvdi => "Marathon dvdi",
            Form::MarathonCsi => "Marathon csi",
            Form::MesosDockerVolume => "Mesos DOCKER_VOLUME",
            Form::MesosCsiVolume => "Mesos CSI_VOLUME",
            Form::DvdiEnvironment => "DVDI_VOLUME environment",
            Form::DockerParameters => "Docker parameters",
            Form::DockerOptions => "Docker options",
            Form::NodeRequest => "CSI node request",
            Form::Disk => "disk of a resource provider",
        })
    }
}
