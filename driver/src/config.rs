//! The configuration file: which backends there are, and how the driver presents itself.
//!
//! One YAML file. Unknown keys are refused; every mistake names the file, the line, the key and what would be accepted. With
//! no file there is one local backend.

mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use hawser_bridge::config::BridgeConfig;
use hawser_ebs::EbsConfig;
use hawser_nfs::NfsConfig;
use hawser_pool::LocalConfig;
use hawser_scaleio::ScaleIoConfig;
use hawser_volume::{BackendName, Error, HttpEndpoint, Listing, NodeId, Result, SpecLevel};
use serde::{Deserialize, Serialize};

pub use read::parse;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// How the driver presents itself.
    pub driver: DriverConfig,
    /// The storage systems, by a name of your choice. The name is the first part of every volume id, so it must stay.
    pub backends: BTreeMap<BackendName, BackendConfig>,
    /// How the Mesos bridge of this agent works.
    pub bridge: BridgeConfig,
}

/// `driver:`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DriverConfig {
    /// The plugin's name, as COs refer to it. Default: `csi.hawser.dev`.
    pub name: PluginName,
    /// Where to listen: `unix:///path/csi.sock` or a path. Default: the environment variable `CSI_ENDPOINT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Where to serve metrics and health over HTTP: `127.0.0.1:9810`, `[::]:9810`, or `:9810` for every address. Default: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_endpoint: Option<HttpEndpoint>,
    /// The group, by name or number, that may use the socket beside its owner. Default: nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_group: Option<String>,
    /// The id of this node. Default: the host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The backend for volumes whose parameters name none. Default: the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_backend: Option<BackendName>,
    /// `1.12` (default) or `1.13`: which optional RPCs are advertised. With 1.13 the health RPCs replace VolumeCondition.
    pub csi_spec_level: SpecLevel,
    /// `all` (default) or `none`: whether LIST_VOLUMES is advertised. With `none` Mesos' own storage provider offers no volume but those that
    /// it made, which it must not where agents share the storage.
    pub list_volumes: Listing,
}

/// One entry of `backends:`; its key `type` says which.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum BackendConfig {
    /// `type: ebs`.
    Ebs(EbsConfig),
    /// `type: local`.
    Local(LocalConfig),
    /// `type: nfs`.
    Nfs(NfsConfig),
    /// `type: scaleio`.
    ScaleIo(ScaleIoConfig),
}

impl BackendConfig {
    /// Whether the drivers of several machines reach the same volumes.
    pub fn is_shared(&self) -> bool {
        !matches!(self, BackendConfig::Local(_))
    }

    /// The types that there are.
    pub const TYPES: [&'static str; 4] = ["ebs", "local", "nfs", "scaleio"];

    fn mistakes(&self) -> Vec<(&'static str, String)> {
        match self {
            BackendConfig::Ebs(ebs) => ebs.mistakes(),
            BackendConfig::Local(local) => local.mistakes(),
            BackendConfig::Nfs(nfs) => nfs.mistakes(),
            BackendConfig::ScaleIo(scaleio) => scaleio.mistakes(),
        }
    }
}

/// The name of a CSI plugin: domain notation, at most 63 characters, beginning and ending with a letter.
///
/// The spec lets it end with a digit, too; csi-sanity does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginName(String);

impl PluginName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for PluginName {
    fn default() -> Self {
        Self("csi.hawser.dev".to_owned())
    }
}

impl TryFrom<String> for PluginName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
        let inner = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        if text.len() <= 63 && letter(text.chars().next()) && letter(text.chars().last()) && inner {
            Ok(Self(text))
        } else {
            Err(Error::invalid(format!(
                "{text:?} is not a plugin name: 1 to 63 characters of [A-Za-z0-9._-], beginning and ending with a letter"
            )))
        }
    }
}

impl From<PluginName> for String {
    fn from(name: PluginName) -> Self {
        name.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Config {
    /// What a newcomer gets: one local backend.
    fn default() -> Self {
        let local = "local".parse().expect("a name of five letters is valid");
        Self {
            driver: DriverConfig::default(),
            backends: BTreeMap::from([(local, BackendConfig::Local(LocalConfig::default()))]),
            bridge: BridgeConfig::default(),
        }
    }
}

impl Config {
    /// Reads `file`, or gives the default when there is none.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::invalid(format!("read the configuration {}", file.display())).caused_by(error))?;
        parse(&text, &file.display().to_string())
    }

    /// Reads `file` as [`Config::load`] does, and gives what is allowed and somebody may regret, each with its line.
    pub fn check(file: &Path) -> Result<Vec<String>> {
        let config = Self::load(Some(file))?;
        if !config.has_bridge() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let name = file.display().to_string();
        let warnings = config.bridge.warnings().into_iter().map(|(key, warning)| (format!("bridge.{key}"), warning));
        Ok(warnings.map(|(key, warning)| format!("{}: warning: {key}: {warning}", read::place_of(&text, &name, &key))).collect())
    }

    /// Whether the section `bridge` says anything.
    pub fn has_bridge(&self) -> bool {
        self.bridge != BridgeConfig::default()
    }

    /// The file that says the same.
    pub fn to_yaml(&self) -> Result<String> {
        serde_saphyr::to_string(self).map_err(|error| Error::internal("write the configuration as YAML").caused_by(error))
    }

    /// What is wrong although every value is well formed.
    fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        if self.backends.is_empty() {
            mistakes
                .push(("backends".to_owned(), "must have at least one backend; leave the key out for a local one".to_owned()));
        }
        if let Some(name) = &self.driver.default_backend
            && !self.backends.contains_key(name)
        {
            mistakes.push(("driver.default-backend".to_owned(), format!("{name} is not one of the backends")));
        }
        mistakes.extend(self.bridge.mistakes().into_iter().map(|(key, text)| (format!("bridge.{key}"), text)));
        for (name, backend) in &self.backends {
            mistakes.extend(backend.mistakes().into_iter().map(|(key, text)| (format!("backends.{name}.{key}"), text)));
        }
        mistakes
    }
}
