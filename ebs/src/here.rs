//! Which instance this machine is, where it is, and how many volumes it can have: from its configuration and its metadata.

use hawser_volume::{Error, NodeId, Result};
use serde::{Deserialize, Serialize};

use crate::config::EbsConfig;
use crate::imds::{self, Imds, Metadata};
use crate::instance::is_instance_id;
use crate::limits::Places;
use crate::place::{Outpost, Place};

/// Most volumes that can be set aside: more than any instance can have.
const RESERVED_MAX: u32 = 1000;

/// `node:` of a backend of EBS: what the node would ask the instance metadata for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct EbsNodeConfig {
    /// The zone that this node is in. Default: what the metadata say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The resource name of the outpost that this node is on. Default: what the metadata say; none when `zone` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outpost: Option<String>,
    /// The type of the instance, for how many volumes it can have. Default: what the metadata say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// How many volumes the instance has besides those of this driver, the root volume among them. Default: those that the metadata
    /// list, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_volumes: Option<u32>,
    /// Where the metadata are asked. Default: `AWS_EC2_METADATA_SERVICE_ENDPOINT` of the environment, else `http://169.254.169.254`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

impl EbsNodeConfig {
    /// What is wrong with the values, by key.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if let Some(zone) = &self.zone
            && !(1..=63).contains(&zone.len()) | !zone.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            mistakes.push(("node.zone", format!("{zone:?} is not the name of a zone, such as eu-central-1a")));
        }
        if let Some(outpost) = &self.outpost
            && let Err(error) = outpost.parse::<Outpost>()
        {
            mistakes.push(("node.outpost", error.to_string()));
        }
        if let Some(name) = &self.instance_type
            && !name.contains('.')
        {
            mistakes.push(("node.instance-type", format!("{name:?} is not the name of a type, such as m7i.large")));
        }
        if self.reserved_volumes.is_some_and(|count| count > RESERVED_MAX) {
            mistakes.push(("node.reserved-volumes", format!("must be at most {RESERVED_MAX}")));
        }
        if let Some(address) = &self.metadata
            && let Err(error) = imds::check_address(address)
        {
            mistakes.push(("node.metadata", error.to_string()));
        }
        mistakes
    }
}

/// This machine, as EC2 knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// The instance's id, which is the id of the CSI node.
    pub instance: String,
    /// Where it is.
    pub place: Place,
    /// How many volumes of this driver it can have.
    pub max_volumes: u32,
}

impl Here {
    /// Finds it out. `node` is the id of the node, where it is set. Blocks, for some seconds when the metadata are silent.
    ///
    /// The metadata are asked only for what the configuration leaves out: the id, or the zone. Errors as of [`Imds::ask`], with the keys
    /// to set instead; `Invalid` when `node` is no instance's id, `Precondition` when it is that of another instance.
    pub fn find(config: &EbsConfig, node: Option<&NodeId>) -> Result<Self> {
        let given = node.map(NodeId::to_string);
        if let Some(id) = &given
            && !is_instance_id(id)
        {
            return Err(Error::invalid(format!(
                "the node's id is {id}; with a backend of EBS it must be the instance's id (i-…): set driver.node-id to that, or leave it out"
            )));
        }
        let metadata = match (&given, &config.node.zone) {
            (Some(_), Some(_)) => None,
            _ => Some(
                ask(config.node.metadata.clone())
                    .map_err(|error| Error::new(error.kind(), format!("{}; {}", error.chain(), mend())))?,
            ),
        };
        Self::from_parts(config, given, metadata)
    }

    fn from_parts(config: &EbsConfig, given: Option<String>, metadata: Option<Metadata>) -> Result<Self> {
        let node = &config.node;
        let told = metadata.as_ref();
        if let (Some(given), Some(told)) = (&given, told)
            && *given != told.instance
        {
            return Err(Error::precondition(format!(
                "the node's id is {given}, and the metadata say that this is {}; correct driver.node-id or leave it out",
                told.instance
            )));
        }
        let missing = |what: &str| Error::internal(format!("nothing says {what} of this instance"));
        let instance = given.or_else(|| Some(told?.instance.clone())).ok_or_else(|| missing("the id"))?;
        let zone = node.zone.clone().or_else(|| Some(told?.zone.clone())).ok_or_else(|| missing("the zone"))?;
        let told_outpost = told.filter(|_| node.zone.is_none()).and_then(|told| told.outpost.clone());
        let outpost = node.outpost.clone().or(told_outpost).map(|text| text.parse()).transpose()?;
        let instance_type = node.instance_type.as_deref().or(told.map(|told| told.instance_type.as_str())).unwrap_or_default();
        let reserved = node.reserved_volumes.unwrap_or_else(|| told.map_or(1, |told| told.volumes.max(1)));
        let interfaces = told.map_or(1, |told| told.interfaces);
        let max_volumes = config.max_volumes_per_node.unwrap_or_else(|| Places::of(instance_type).left(interfaces, reserved));
        Ok(Self { instance, place: Place { zone, outpost }, max_volumes })
    }
}

/// What to do where there are no metadata.
fn mend() -> &'static str {
    "where there is no metadata service, set driver.node-id to the instance's id (i-…) and node.zone of this backend to its zone; in a \
     container it is silent unless its hop limit is 2 (aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)"
}

/// Asks on a thread of its own, so that it does not matter from where.
fn ask(address: Option<String>) -> Result<Metadata> {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::internal("start a runtime").caused_by(error))?;
        runtime.block_on(async { Imds::new(address.as_deref())?.ask().await })
    };
    std::thread::spawn(work).join().unwrap_or_else(|_| Err(Error::internal("asking the instance metadata panicked; see the log")))
}

#[cfg(test)]
mod tests {
    use hawser_volume::Kind;

    use super::*;

    const ID: &str = "i-0123456789abcdef0";

    fn metadata() -> Metadata {
        Metadata {
            instance: ID.to_owned(),
            instance_type: "c5d.large".to_owned(),
            zone: "eu-central-1b".to_owned(),
            region: "eu-central-1".to_owned(),
            outpost: None,
            interfaces: 3,
            volumes: 2,
        }
    }

    fn config(node: EbsNodeConfig) -> EbsConfig {
        EbsConfig { node, ..EbsConfig::default() }
    }

    #[test]
    fn what_the_configuration_says_counts() {
        let told = Here::from_parts(&EbsConfig::default(), None, Some(metadata())).unwrap();
        // 26 shared places, two more interfaces, two volumes.
        assert_eq!((told.instance.as_str(), told.place.zone.as_str(), told.max_volumes), (ID, "eu-central-1b", 22));
        let node = EbsNodeConfig {
            zone: Some("eu-central-1c".to_owned()),
            instance_type: Some("m7i.large".to_owned()),
            reserved_volumes: Some(4),
            ..EbsNodeConfig::default()
        };
        let set = Here::from_parts(&config(node.clone()), Some(ID.to_owned()), None).unwrap();
        assert_eq!((set.place.zone.as_str(), set.max_volumes), ("eu-central-1c", 28));
        let fixed = EbsConfig { max_volumes_per_node: Some(5), ..config(node) };
        assert_eq!(Here::from_parts(&fixed, None, Some(metadata())).unwrap().max_volumes, 5);
        let bare = config(EbsNodeConfig { zone: Some("a-1".to_owned()), ..EbsNodeConfig::default() });
        assert_eq!(Here::from_parts(&bare, Some(ID.to_owned()), None).unwrap().max_volumes, 26);
    }

    #[test]
    fn another_instance_is_not_this_one() {
        let other = Some("i-00000000000000001".to_owned());
        let error = Here::from_parts(&EbsConfig::default(), other, Some(metadata())).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition);
        assert!(error.to_string().contains("driver.node-id"), "{error}");
        let error = Here::find(&EbsConfig::default(), Some(&"agent-7".parse().unwrap())).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
    }

    #[test]
    fn without_metadata_it_is_said_what_to_set() {
        let nowhere = EbsNodeConfig { metadata: Some("http://127.0.0.1:1".to_owned()), ..EbsNodeConfig::default() };
        let error = Here::find(&config(nowhere.clone()), None).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        for word in ["driver.node-id", "node.zone", "hop-limit 2", "127.0.0.1:1"] {
            assert!(error.to_string().contains(word), "{error}");
        }
        // What is set is not asked for.
        let set = EbsNodeConfig { zone: Some("eu-central-1a".to_owned()), ..nowhere };
        assert_eq!(Here::find(&config(set), Some(&ID.parse().unwrap())).unwrap().place.zone, "eu-central-1a");
    }

    #[test]
    fn every_mistake_is_named() {
        let text = |text: &str| Some(text.to_owned());
        let wrong = EbsNodeConfig {
            zone: text("EU"),
            outpost: text("op-1"),
            instance_type: text("large"),
            reserved_volumes: Some(1001),
            metadata: text("https://x"),
        };
        assert_eq!(wrong.mistakes().len(), 5, "{:?}", wrong.mistakes());
        assert_eq!(EbsNodeConfig::default().mistakes(), []);
    }
}
