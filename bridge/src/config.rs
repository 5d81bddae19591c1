//! `bridge:` in the configuration file.

use std::path::PathBuf;
use std::time::Duration;

use hawser_volume::{Error, HttpEndpoint, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::mesos::agent::AGENT_PATIENCE;
use crate::mesos::{Agent, Credential, Endpoint, Http, HttpOptions, Masters};
use crate::policy::Takeover;
use crate::provider::config::ProviderConfig;

/// Where the agent of this machine listens, unless it was told otherwise (`--port`).
const LOCAL_AGENT: &str = "http://127.0.0.1:5051";

/// How the bridge of this agent works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BridgeConfig {
    /// The CSI driver, anybody's: `unix:///path/csi.sock`. Default: Hawser's own, in the same process, with the backends of this
    /// file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The Controller service of that driver, where another process serves it. Default: `driver`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// The directory of what must survive a restart. Not to be shared between agents. Default: `/var/lib/hawser/bridge`.
    pub state: PathBuf,
    /// The directory below which volumes are mounted for doors that name no path. Containers must see its mounts. Default:
    /// `/var/lib/hawser/mounts`.
    pub mounts: PathBuf,
    /// Where the Docker volume plugin listens; the file's name is the name of the volume driver. Default:
    /// `/run/docker/plugins/hawser.sock`.
    pub docker_socket: PathBuf,
    /// Where the CSI endpoint for Mesos' `volume/csi` isolator listens. Default: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolator_socket: Option<PathBuf>,
    /// Where to serve metrics and health over HTTP: `127.0.0.1:9810`, `[::]:9810`, or `:9810` for every address. Default: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_endpoint: Option<HttpEndpoint>,
    /// The directory in each volume that tasks are shown: `data` for volumes that REX-Ray made. Default: the volume itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_path: Option<PathBuf>,
    /// When a volume may be taken from another node, where its declaration does not say: `never`, `backend-dead`, `agent-gone`, or
    /// `unreachable-after-10m`. Default: `agent-gone`.
    pub takeover: Takeover,
    /// The Mesos master, or the list of them: `http://master:5050`. Without one no volume is taken from another node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesos_master: Option<Masters>,
    /// The Mesos agent of this machine, which is asked what its containers use. Default: `http://127.0.0.1:5051`, without the
    /// credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesos_agent: Option<Endpoint>,
    /// A file with the bridge's credential for Mesos, `{"principal": "…", "secret": "…"}`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesos_credential: Option<PathBuf>,
    /// A PEM file with certificates of authorities that are trusted for Mesos besides those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesos_ca: Option<PathBuf>,
    /// What the agent offers to frameworks as disks. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderConfig>,
    /// How long a volume that another node has is waited for before it is refused: a task's end is reported before its volumes are
    /// unmounted. Default: `30s`.
    pub wait_for_holder: Interval,
    /// How long a volume that nobody uses stays attached: time for a caller that gave up to come back. Default: `5m`.
    pub grace: Interval,
    /// How often what this node holds is compared with what the driver says. Default: `1m`.
    pub reconcile_every: Interval,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            driver: None,
            controller: None,
            state: "/var/lib/hawser/bridge".into(),
            mounts: "/var/lib/hawser/mounts".into(),
            docker_socket: "/run/docker/plugins/hawser.sock".into(),
            isolator_socket: None,
            http_endpoint: None,
            root_path: None,
            takeover: Takeover::AgentGone,
            mesos_master: None,
            mesos_agent: None,
            mesos_credential: None,
            mesos_ca: None,
            provider: None,
            wait_for_holder: Interval(Duration::from_secs(30)),
            grace: Interval(Duration::from_secs(300)),
            reconcile_every: Interval(Duration::from_secs(60)),
        }
    }
}

impl BridgeConfig {
    /// With which Mesos is asked.
    pub fn http(&self) -> Result<Http> {
        let options = HttpOptions {
            credential: self.mesos_credential.clone().map(Credential::Basic),
            ca_file: self.mesos_ca.clone(),
            ..HttpOptions::default()
        };
        Http::new(options).map_err(|error| error.while_doing("bridge.mesos-ca"))
    }

    /// The agent of this machine. It gets our credential only where somebody has configured it: anybody may listen on a port that no agent
    /// has taken.
    pub fn agent(&self, http: &Http) -> Result<Agent> {
        Ok(match self.mesos_agent.clone() {
            Some(address) => Agent::new(http.clone(), address, AGENT_PATIENCE),
            None => Agent::new(http.anonymous(), LOCAL_AGENT.parse()?, AGENT_PATIENCE),
        })
    }

    /// What is allowed and has not the effect that it seems to have: key and warning.
    pub fn warnings(&self) -> Vec<(String, String)> {
        let mut warnings = Vec::new();
        if self.mesos_master.is_none() && self.takeover != Takeover::Never {
            let text = format!(
                "{} has no effect without `mesos-master`: nobody could say that an agent lives, so no volume is taken from a dead node, \
                 as with `never`",
                self.takeover
            );
            warnings.push(("takeover".to_owned(), text));
        }
        warnings
    }

    /// What is wrong although every value is well formed: key and mistake.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        let mut wrong = |key: &str, text: String| mistakes.push((key.to_owned(), text));
        let sockets = self.isolator_socket.iter().map(|path| ("isolator-socket", path));
        let paths = [("state", &self.state), ("mounts", &self.mounts), ("docker-socket", &self.docker_socket)];
        for (key, path) in paths.into_iter().chain(sockets) {
            if !path.is_absolute() {
                wrong(key, format!("{} is not an absolute path", path.display()));
            }
        }
        if let Some(root) = &self.root_path
            && (root.is_absolute() || root.components().any(|part| !matches!(part, std::path::Component::Normal(_))))
        {
            wrong("root-path", format!("{} is not a relative path without `..`", root.display()));
        }
        if self.controller.is_some() && self.driver.is_none() {
            wrong("controller", "needs `driver`, the endpoint of the Node service".to_owned());
        }
        mistakes.extend(self.provider.iter().flat_map(ProviderConfig::mistakes));
        mistakes
    }
}

/// A time as people write it: `90s`, `5m`, `1h 30m`. At least a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl Interval {
    fn parse(text: &str) -> Result<Self> {
        match humantime::parse_duration(text) {
            Ok(time) if time >= Duration::from_secs(1) => Ok(Self(time)),
            _ => Err(Error::invalid(format!("{text:?} is no time of at least a second; write it as in 90s, 5m or 1h 30m"))),
        }
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        assert_eq!(Interval::parse("1h 30m").unwrap().0, Duration::from_secs(5400));
        for text in ["", "5", "0s", "10ms", "-1s", "soon"] {
            assert!(Interval::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_policy_that_nobody_could_judge_by_is_told() {
        let master = Some("http://m1:5050".parse().unwrap());
        for (takeover, mesos_master, wanted) in [
            (Takeover::AgentGone, None, 1),
            (Takeover::BackendDead, None, 1),
            (Takeover::Never, None, 0),
            (Takeover::BackendDead, master, 0),
        ] {
            let config = BridgeConfig { takeover, mesos_master, ..BridgeConfig::default() };
            assert_eq!(config.warnings().len(), wanted, "{config:?}");
        }
    }

    #[test]
    fn the_default_is_in_order_and_mistakes_name_their_keys() {
        assert!(BridgeConfig::default().mistakes().is_empty());
        let wrong = BridgeConfig {
            state: "here".into(),
            root_path: Some("../data".into()),
            controller: Some("/c.sock".to_owned()),
            ..BridgeConfig::default()
        };
        let keys: Vec<String> = wrong.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["state", "root-path", "controller"]);
    }
}
