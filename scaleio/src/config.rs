//! The configuration of a ScaleIO backend.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hawser_volume::error::shown;
use hawser_volume::{Error, NodeId, Result};
use reqwest::Url;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::here::ScaleIoNodeConfig;
use crate::name;
use crate::sdc;

/// How much space a volume takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provisioning {
    /// What is written.
    #[default]
    #[serde(alias = "ThinProvisioned")]
    Thin,
    /// All of it.
    #[serde(alias = "ThickProvisioned")]
    Thick,
}

impl Provisioning {
    /// The array's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Provisioning::Thin => "ThinProvisioned",
            Provisioning::Thick => "ThickProvisioned",
        }
    }
}

impl fmt::Display for Provisioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the id of a node is to the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeIds {
    /// The name of its SDC.
    #[default]
    SdcName,
    /// The GUID of its SDC.
    SdcGuid,
}

/// `type: scaleio`: volumes of ScaleIO and PowerFlex systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ScaleIoConfig {
    /// The systems, the one for volumes whose parameters name none first. Only the controller needs them.
    pub systems: Vec<SystemConfig>,
    /// `thin` (default) or `thick`, unless a volume's parameters say so.
    pub provisioning: Provisioning,
    /// Whether volumes are made in pools that do not write zeros first, where a new volume shows what was there before. Default: no.
    pub unpadded_pools: bool,
    /// What stands before the names of volumes on the array, so that several clusters can share one: at most 16 of `[A-Za-z0-9._-]`.
    /// Default: nothing.
    pub name_prefix: String,
    /// What the id of a node is to the array: `sdc-name` (default) or `sdc-guid`.
    pub node_ids: NodeIds,
    /// The GUIDs of the SDCs of nodes by their ids, where the array cannot know them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<NodeId, String>,
    /// How many seconds a gateway may take for one answer, 1 to 300. Default: 10.
    pub answer_within_seconds: u64,
    /// How many volumes a node may have at one time. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_volumes_per_node: Option<u32>,
    /// The SDC of the node. Only nodes need it.
    pub node: ScaleIoNodeConfig,
}

impl Default for ScaleIoConfig {
    fn default() -> Self {
        Self {
            systems: Vec::new(),
            provisioning: Provisioning::default(),
            unpadded_pools: false,
            name_prefix: String::new(),
            node_ids: NodeIds::default(),
            nodes: BTreeMap::new(),
            answer_within_seconds: 10,
            max_volumes_per_node: None,
            node: ScaleIoNodeConfig::default(),
        }
    }
}

/// One system, behind one gateway or several.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SystemConfig {
    /// The addresses of its gateways, `https://host[:port]`; the next is asked when one is silent.
    pub gateways: Vec<String>,
    /// The id or name of the system. Default: the only one that the gateway has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Who logs in.
    pub user: String,
    /// The file with the password. White space around it is no part of it.
    pub password_file: PathBuf,
    /// A PEM file with the certificates of the authorities that are trusted, and no others. Default: those of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 of the gateways' own certificates, in hexadecimal; no other is believed, and no authority is needed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificate_sha256: Vec<String>,
    /// Believe anyone, and give them the password. Default: no.
    pub insecure: bool,
    /// The id or name of the protection domain of volumes whose parameters name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protection_domain: Option<String>,
    /// The id or name of the storage pool of volumes whose parameters name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_pool: Option<String>,
}

/// Whom to believe that it is a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Whom the machine's authorities say.
    System,
    /// Whom these authorities say.
    Authorities(PathBuf),
    /// Who has one of these certificates.
    Pinned(Vec<[u8; 32]>),
    /// Anyone.
    Anyone,
}

impl ScaleIoConfig {
    /// How long a gateway may take for one answer.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.answer_within_seconds)
    }

    /// What is wrong with the values, by key.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        for (number, system) in self.systems.iter().enumerate() {
            mistakes.extend(system.mistakes().into_iter().map(|text| ("systems", format!("the one at {}: {text}", number + 1))));
        }
        if !name::is_prefix(&self.name_prefix) {
            mistakes.push(("name-prefix", format!("{} must be at most 16 of [A-Za-z0-9._-]", shown(&self.name_prefix))));
        }
        for (node, guid) in &self.nodes {
            if !sdc::is_guid(guid) {
                mistakes.push(("nodes", format!("{node}: {} is not the GUID of an SDC", shown(guid))));
            }
        }
        if !(1..=300).contains(&self.answer_within_seconds) {
            mistakes.push(("answer-within-seconds", format!("{} must be between 1 and 300", self.answer_within_seconds)));
        }
        if self.max_volumes_per_node == Some(0) {
            mistakes.push(("max-volumes-per-node", "must be more than zero; leave it out for no limit".to_owned()));
        }
        mistakes.extend(self.node.mistakes().into_iter().map(|text| ("node", text)));
        mistakes
    }
}

impl SystemConfig {
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.gateways.is_empty() {
            mistakes.push("gateways must have at least one address".to_owned());
        }
        mistakes.extend(self.addresses().err().map(|error| error.to_string()));
        mistakes.extend(self.digests().err().map(|error| error.to_string()));
        if self.user.is_empty() {
            mistakes.push("user is required".to_owned());
        }
        if !self.password_file.is_absolute() {
            mistakes.push(format!("password-file {:?} must be an absolute path", self.password_file));
        }
        let ways = [self.ca_file.is_some(), !self.certificate_sha256.is_empty(), self.insecure];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            mistakes.push("ca-file, certificate-sha256 and insecure exclude each other".to_owned());
        }
        if self.protection_domain.is_some() && self.storage_pool.is_none() {
            mistakes.push("protection-domain says nothing without storage-pool".to_owned());
        }
        mistakes
    }

    /// The addresses of the gateways. `Invalid` for one that is not https, or has a password in it.
    pub(crate) fn addresses(&self) -> Result<Vec<Url>> {
        // What stands before an @ may be a password, so it is not repeated.
        let wrong = |why: &str| Error::invalid(format!("gateways: one {why}; write it as https://host[:port]"));
        let read = |text: &String| {
            let url: Url = text.trim().parse().map_err(|_| wrong("is not an address"))?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(wrong("has a user or password in it"));
            }
            // REX-Ray wants the address with `/api` at its end.
            let path = url.path().trim_end_matches('/');
            if url.scheme() != "https" || !url.has_host() || !matches!(path, "" | "/api") || url.query().is_some() {
                return Err(wrong("is not https, or has a path"));
            }
            url.join("/").map_err(|_| wrong("is not an address"))
        };
        self.gateways.iter().map(read).collect()
    }

    /// The password. `Invalid` when it cannot be read, or is empty.
    pub(crate) fn password(&self) -> Result<SecretString> {
        let wrong =
            || Error::invalid(format!("password-file: {} must be a file with the password", self.password_file.display()));
        let text = std::fs::read_to_string(&self.password_file).map_err(|error| wrong().caused_by(error))?;
        let password = text.trim();
        if password.is_empty() { Err(wrong()) } else { Ok(password.into()) }
    }

    /// Whom to believe.
    pub(crate) fn trust(&self) -> Result<Trust> {
        Ok(match (&self.ca_file, self.digests()?, self.insecure) {
            (_, _, true) => Trust::Anyone,
            (Some(path), _, _) => Trust::Authorities(path.clone()),
            (None, digests, _) if !digests.is_empty() => Trust::Pinned(digests),
            _ => Trust::System,
        })
    }

    fn digests(&self) -> Result<Vec<[u8; 32]>> {
        let read = |text: &String| {
            let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
            let wrong = || Error::invalid(format!("certificate-sha256: {} must be 64 hexadecimal digits", shown(text)));
            let bytes: Option<Vec<u8>> = (0..32).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()).collect();
            bytes.filter(|_| digits.len() == 64).and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
        };
        self.certificate_sha256.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> SystemConfig {
        SystemConfig {
            gateways: vec!["https://a.example".to_owned(), "https://10.0.0.1:8443/api/".to_owned()],
            user: "hawser".to_owned(),
            password_file: "/etc/hawser/password".into(),
            certificate_sha256: vec![format!("AB:{}", "0".repeat(62))],
            ..SystemConfig::default()
        }
    }

    #[test]
    fn what_is_right_is_read() {
        let config = ScaleIoConfig { systems: vec![right()], ..ScaleIoConfig::default() };
        assert_eq!(config.mistakes(), []);
        assert_eq!(right().addresses().unwrap()[1].as_str(), "https://10.0.0.1:8443/");
        let Trust::Pinned(digests) = right().trust().unwrap() else { panic!() };
        assert_eq!((digests[0][0], digests[0][1]), (0xab, 0));
    }

    #[test]
    fn every_mistake_is_named_and_no_password_is_repeated() {
        for gateway in ["http://a", "a", "https://", "https://a/b", "https://u:secret@a", "ftp://a", "https://a/?x=1"] {
            let system = SystemConfig { gateways: vec![gateway.to_owned()], ..right() };
            let text = system.addresses().unwrap_err().to_string();
            assert!(!text.contains("secret"), "{text}");
        }
        let wrong = SystemConfig {
            gateways: vec![],
            user: String::new(),
            password_file: "x".into(),
            insecure: true,
            ca_file: Some("/x".into()),
            certificate_sha256: vec!["é".to_owned()],
            protection_domain: Some("pd".to_owned()),
            ..right()
        };
        assert_eq!(wrong.mistakes().len(), 6, "{:?}", wrong.mistakes());
        let config = ScaleIoConfig {
            name_prefix: "ü".to_owned(),
            answer_within_seconds: 0,
            max_volumes_per_node: Some(0),
            nodes: BTreeMap::from([("a".parse().unwrap(), "x".to_owned())]),
            node: ScaleIoNodeConfig { guid: Some("x".to_owned()), guid_file: Some("x".into()), drv_cfg: Some("x".into()) },
            ..ScaleIoConfig::default()
        };
        assert_eq!(config.mistakes().len(), 8, "{:?}", config.mistakes());
    }
}
