//! The configuration of an EBS backend.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hawser_volume::{Bytes, Error, Result, bytes};
use reqsign_core::Env;
use serde::{Deserialize, Serialize};

use crate::client::ClientOptions;
use crate::endpoint::{self, Region};
use crate::here::EbsNodeConfig;
use crate::label;

/// `type: ebs`: volumes of Amazon EBS in one account and region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct EbsConfig {
    /// The region. Default: `AWS_REGION` or `AWS_DEFAULT_REGION` of the environment. Only the controller needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Whose volumes these are: a word that is written on each, and part of what a name means. Two clusters that share an account
    /// and have the same word share their volumes. Default: `default`.
    pub cluster: String,
    /// Another address than the region's own, such as a VPC endpoint. Default: `AWS_ENDPOINT_URL_EC2` or `AWS_ENDPOINT_URL` of the
    /// environment, else the region's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Only FIPS 140 validated cryptography on AWS' side. Default: no.
    pub fips: bool,
    /// IPv6 too. Default: no.
    pub dual_stack: bool,
    /// The profile of the shared configuration that has the credentials. Default: the first source that is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// A PEM file with certificates of authorities that are trusted besides those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How much of the account's usual request rates is used: less than 1 for an account that others share, more for one with higher
    /// limits; 0.01 to 100. Default: 1.
    pub request_rate: f64,
    /// The zone of volumes for which no topology is asked. Default: one of the region's zones, by the volume's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether new volumes are encrypted unless their parameters say so. Default: what the account has set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// The key with which volumes are encrypted unless their parameters say so. Default: the account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Tags of every volume and snapshot, besides Hawser's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What all volumes of this cluster may have together, as GetCapacity shows it; nothing is refused by it. Default: not known.
    #[serde(with = "bytes::text_option", skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Bytes>,
    /// How many seconds EC2 may take to list what it has made. What is not listed after that is taken for gone. 1 to 600. Default: 30.
    pub listed_within_seconds: u64,
    /// How many milliseconds a change of a volume waits for another one to be made together with it, as EC2 allows one in six hours;
    /// at most 10000. Default: 0, which takes along what is asked for at the same time.
    pub modify_window_milliseconds: u64,
    /// How many volumes a node may have at one time. Default: what the instance can have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_volumes_per_node: Option<u32>,
    /// What the node would ask the instance metadata for.
    pub node: EbsNodeConfig,
}

impl Default for EbsConfig {
    fn default() -> Self {
        Self {
            region: None,
            cluster: "default".to_owned(),
            endpoint: None,
            fips: false,
            dual_stack: false,
            profile: None,
            ca_file: None,
            request_rate: 1.0,
            zone: None,
            encrypted: None,
            kms_key: None,
            tags: BTreeMap::new(),
            capacity: None,
            listed_within_seconds: 30,
            modify_window_milliseconds: 0,
            max_volumes_per_node: None,
            node: EbsNodeConfig::default(),
        }
    }
}

impl EbsConfig {
    /// How EC2 is reached, with what `env` says where the file says nothing. `Invalid` without a region.
    pub fn client(&self, env: &impl Env) -> Result<ClientOptions> {
        let set = |names: &[&str]| names.iter().find_map(|name| env.var(name).filter(|value| !value.is_empty()));
        let region = match &self.region {
            Some(region) => region.clone(),
            None => set(&["AWS_REGION", "AWS_DEFAULT_REGION"])
                .ok_or_else(|| Error::invalid("region: set it here, or AWS_REGION in the environment"))?
                .parse()?,
        };
        let endpoint = self.endpoint.clone().or_else(|| set(&["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"]));
        Ok(ClientOptions {
            region,
            endpoint: endpoint.map(|text| endpoint::override_of(&text)).transpose()?,
            fips: self.fips,
            dual_stack: self.dual_stack,
            profile: self.profile.clone(),
            ca_file: self.ca_file.clone(),
            rate: self.request_rate,
        })
    }

    /// What is wrong with the values, by key.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if self.cluster.is_empty() || self.cluster.len() > 63 || !word(&self.cluster) {
            mistakes.push(("cluster", format!("{:?} must be 1 to 63 characters of [A-Za-z0-9._-]", self.cluster)));
        }
        if let Some(endpoint) = &self.endpoint
            && let Err(error) = endpoint::override_of(endpoint)
        {
            mistakes.push(("endpoint", error.to_string()));
        }
        if !(0.01..=100.0).contains(&self.request_rate) {
            mistakes.push(("request-rate", format!("{} must be between 0.01 and 100", self.request_rate)));
        }
        if self.kms_key.is_some() && self.encrypted == Some(false) {
            mistakes.push(("kms-key", "needs encrypted: true".to_owned()));
        }
        for (key, value) in &self.tags {
            if let Err(error) = label::check(key, value) {
                mistakes.push(("tags", error.to_string()));
            }
        }
        if !(1..=600).contains(&self.listed_within_seconds) {
            mistakes.push(("listed-within-seconds", format!("{} must be between 1 and 600", self.listed_within_seconds)));
        }
        if self.modify_window_milliseconds > 10_000 {
            mistakes.push(("modify-window-milliseconds", format!("{} must be at most 10000", self.modify_window_milliseconds)));
        }
        if self.max_volumes_per_node == Some(0) {
            mistakes
                .push(("max-volumes-per-node", "must be more than zero; leave it out for what the instance can have".to_owned()));
        }
        mistakes.extend(self.node.mistakes());
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use reqsign_core::StaticEnv;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> StaticEnv {
        StaticEnv { home_dir: None, envs: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect() }
    }

    #[test]
    fn every_mistake_is_named() {
        let wrong = EbsConfig {
            cluster: "a/b".to_owned(),
            endpoint: Some("ftp://x".to_owned()),
            request_rate: 0.0,
            encrypted: Some(false),
            kms_key: Some("k".to_owned()),
            tags: BTreeMap::from([("aws:x".to_owned(), String::new())]),
            listed_within_seconds: 0,
            modify_window_milliseconds: 10_001,
            max_volumes_per_node: Some(0),
            ..EbsConfig::default()
        };
        assert_eq!(wrong.mistakes().len(), 8, "{:?}", wrong.mistakes());
        assert_eq!(EbsConfig::default().mistakes(), []);
    }

    #[test]
    fn what_the_file_does_not_say_the_environment_does() {
        let config = EbsConfig::default();
        assert!(config.client(&env(&[])).is_err());
        let around = env(&[("AWS_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:1")]);
        let options = config.client(&around).unwrap();
        assert_eq!((options.region.as_str(), options.endpoint.unwrap().port()), ("eu-west-1", Some(1)));
        let config = EbsConfig { region: Some("us-east-1".parse().unwrap()), ..EbsConfig::default() };
        assert_eq!(config.client(&around).unwrap().region.as_str(), "us-east-1");
    }
}
