//! What a StorageClass, a profile or a task wishes of a volume, under the names of aws-ebs-csi-driver and of REX-Ray.

use std::collections::BTreeMap;

use hawser_ebs::{EbsConfig, Outpost, label};
use hawser_volume::{Access, Error, Result, parameters};
use serde::Deserialize;
use serde::de::Error as _;

use super::kind::VolumeType;
use super::template::{self, Fields};

/// Parameters that begin with this are tags.
const TAG: &str = "tagspecification";

/// Parameters that begin with this take tags off.
const TAG_DELETION: &str = "tagdeletion";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Parameters {
    #[serde(rename = "type", alias = "volumeType")]
    kind: Option<VolumeType>,
    iops: Option<u32>,
    #[serde(rename = "iopsPerGB")]
    iops_per_gib: Option<u32>,
    #[serde(rename = "allowAutoIOPSPerGBIncrease")]
    raise: bool,
    #[serde(rename = "allowAutoIOPSIncreaseOnModify")]
    keep: bool,
    throughput: Option<u32>,
    encrypted: Option<bool>,
    #[serde(alias = "encryptionKey")]
    kms_key_id: Option<String>,
    volume_initialization_rate: Option<u32>,
    #[serde(alias = "zone")]
    availability_zone: Option<String>,
    #[serde(deserialize_with = "outpost")]
    outpost_arn: Option<Outpost>,
    /// Without effect: every io2 is of that kind now.
    #[serde(rename = "blockExpress")]
    _block_express: bool,
    block_attach_until_initialized: bool,
    ext4_encryption_support: bool,
}

fn outpost<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Outpost>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

/// The wishes for a new volume, checked as far as they can be without its size.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    /// The type; nothing was said: gp3, or for a copy what the source is.
    pub(super) kind: Option<VolumeType>,
    iops: Option<u32>,
    iops_per_gib: Option<u32>,
    raise: bool,
    keep: bool,
    pub(super) throughput: Option<u32>,
    pub(super) encrypted: Option<bool>,
    pub(super) key: Option<String>,
    pub(super) initialization_rate: Option<u32>,
    pub(super) zone: Option<String>,
    pub(super) outpost: Option<Outpost>,
    /// For several instances at once.
    pub(super) shared: bool,
    /// The user's tags, those of the configuration among them.
    pub(super) tags: BTreeMap<String, String>,
    /// All that a volume of this name must have been asked for with, but for its type.
    pub(super) asked: String,
}

impl Wishes {
    /// Reads `map`; what it does not say the configuration does.
    pub(super) fn read(map: &BTreeMap<String, String>, accesses: &[Access], fields: &Fields, config: &EbsConfig) -> Result<Self> {
        let (tags, rest) = split(map, TAG);
        let mut read: Parameters = parameters::read("parameters", &rest)?;
        let shared = shared(accesses)?;
        check(&read, shared)?;
        let mut all = config.tags.clone();
        all.extend(template::tags(tags.iter(), fields)?);
        let encrypted = read.encrypted.or(read.kms_key_id.is_some().then_some(true)).or(config.encrypted);
        let key = read.kms_key_id.clone().or_else(|| config.kms_key.clone()).filter(|_| encrypted != Some(false));
        // Which type it is to be when none is said depends on what it is made from.
        let kind = read.kind.take();
        Ok(Self {
            asked: format!("{read:?} {shared}"),
            kind,
            iops: read.iops,
            iops_per_gib: read.iops_per_gib,
            raise: read.raise,
            keep: read.keep,
            throughput: read.throughput,
            encrypted: encrypted.or(key.is_some().then_some(true)),
            key,
            initialization_rate: read.volume_initialization_rate,
            zone: read.availability_zone,
            outpost: read.outpost_arn,
            shared,
            tags: all,
        })
    }

    /// Operations a second for a volume of `size` GiB.
    pub(super) fn operations(&self, kind: VolumeType, size: u32) -> Result<Option<u32>> {
        let wanted = match (self.iops, self.iops_per_gib) {
            (None, None) => return Ok(None),
            (Some(iops), _) => iops,
            (None, Some(each)) => each.saturating_mul(size),
        };
        let fit = kind.fit_operations(wanted, size, self.raise);
        fit.map(Some).ok_or_else(|| {
            Error::invalid(format!(
                "parameters: {wanted} operations a second are too few for {kind}, which has at least {}; raise \"iops\" or \
                 \"iopsPerGB\", or set \"allowAutoIOPSPerGBIncrease\"",
                kind.least_operations()
            ))
        })
    }

    /// What is written on the volume so that its operations grow with it.
    pub(super) fn proportion(&self) -> Option<(String, String)> {
        let each = self.iops_per_gib.filter(|_| self.keep)?;
        Some((label::IOPS_PER_GIB.to_owned(), each.to_string()))
    }
}

/// Whether several instances shall have the volume at once.
fn shared(accesses: &[Access]) -> Result<bool> {
    let mut many = accesses.iter().filter(|access| !access.mode.is_single_node()).peekable();
    let shared = many.peek().is_some();
    match many.find(|access| !access.is_block()) {
        Some(access) => Err(Error::invalid(format!(
            "volume_capability: {} is possible for raw block only, as filesystems are not made for several nodes; use block access or \
             a single-node mode",
            access.mode
        ))),
        None => Ok(shared),
    }
}

fn check(read: &Parameters, shared: bool) -> Result<()> {
    let wrong = |text: String| Err(Error::invalid(format!("parameters: {text}")));
    let kind = read.kind.unwrap_or_default();
    if read.iops.is_some() && read.iops_per_gib.is_some() {
        return wrong("\"iops\" and \"iopsPerGB\" contradict each other; give one of them".to_owned());
    }
    if (read.iops.is_some() || read.iops_per_gib.is_some()) && !kind.has_operations() {
        return wrong(format!(
            "{kind} has no operations to choose; leave \"iops\" and \"iopsPerGB\" out, or use gp3, io1 or io2"
        ));
    }
    // A copy may get its operations from its source, so only what is said outright is required.
    if read.kind.is_some_and(VolumeType::is_shareable) && read.iops.is_none() && read.iops_per_gib.is_none() {
        return wrong(format!("{kind} needs \"iops\" or \"iopsPerGB\""));
    }
    if read.throughput.is_some() && kind != VolumeType::Gp3 {
        return wrong(format!("{kind} has no throughput to choose; leave \"throughput\" out, or use gp3"));
    }
    if read.kms_key_id.is_some() && read.encrypted == Some(false) {
        return wrong("\"kmsKeyId\" needs \"encrypted\" to be true".to_owned());
    }
    if shared && !kind.is_shareable() {
        return wrong(format!("{kind} cannot be given to several nodes at once; use io1 or io2"));
    }
    if read.block_attach_until_initialized {
        return wrong(
            "\"blockAttachUntilInitialized\" is not done here; use \"volumeInitializationRate\" or fast restores".to_owned(),
        );
    }
    if read.ext4_encryption_support {
        return wrong("\"ext4EncryptionSupport\" is not made here; use \"encrypted\" for the volume as a whole".to_owned());
    }
    Ok(())
}

/// The entries whose keys begin with `prefix`, and the others.
pub(super) fn split(map: &BTreeMap<String, String>, prefix: &str) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    map.clone().into_iter().partition(|(key, _)| key.to_ascii_lowercase().starts_with(prefix))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MutableParameters {
    #[serde(rename = "type", alias = "volumeType")]
    kind: Option<VolumeType>,
    iops: Option<u32>,
    #[serde(rename = "iopsPerGB")]
    iops_per_gib: Option<u32>,
    #[serde(rename = "allowAutoIOPSIncreaseOnModify")]
    keep: Option<bool>,
    throughput: Option<u32>,
}

/// What shall be changed of a volume (VolumeAttributesClass).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) kind: Option<VolumeType>,
    pub(super) iops: Option<u32>,
    pub(super) iops_per_gib: Option<u32>,
    pub(super) keep: Option<bool>,
    pub(super) throughput: Option<u32>,
    /// Tags to be written, as they came.
    tags: BTreeMap<String, String>,
    /// Keys of tags to be taken off.
    pub(super) gone: Vec<String>,
}

impl Properties {
    /// Reads `map`.
    pub(super) fn read(map: &BTreeMap<String, String>) -> Result<Self> {
        let (tags, rest) = split(map, TAG);
        let (gone, rest) = split(&rest, TAG_DELETION);
        let read: MutableParameters = parameters::read("mutable_parameters", &rest)?;
        if read.iops.is_some() && read.iops_per_gib.is_some() {
            return Err(Error::invalid("mutable_parameters: \"iops\" and \"iopsPerGB\" contradict each other; give one of them"));
        }
        for key in gone.values() {
            label::check(key, "").map_err(|error| error.while_doing("mutable_parameters"))?;
        }
        let gone = gone.into_values().collect();
        let MutableParameters { kind, iops, iops_per_gib, keep, throughput } = read;
        Ok(Self { kind, iops, iops_per_gib, keep, throughput, tags, gone })
    }

    /// The tags to be written.
    pub(super) fn tags(&self, fields: &Fields) -> Result<BTreeMap<String, String>> {
        template::tags(self.tags.iter(), fields)
    }
}

#[cfg(test)]
mod tests {
    use hawser_volume::{AccessKind, AccessMode, MountAccess};

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Wishes> {
        Wishes::read(&map(pairs), &[], &Fields::new(), &EbsConfig::default())
    }

    /// What the examples of aws-ebs-csi-driver's StorageClasses and of REX-Ray's options say.
    #[test]
    fn parameters_of_other_drivers_are_read_under_their_names() {
        let wishes = read(&[
            ("type", "io2"),
            ("iopsPerGB", "50"),
            ("allowautoiopspergbincrease", "true"),
            ("encrypted", "true"),
            ("kmskeyid", "arn:aws:kms:us-east-1:1:key/a"),
            ("blockExpress", "true"),
            ("volumeInitializationRate", "100"),
            ("tagSpecification_1", "team=db"),
        ])
        .unwrap();
        assert_eq!((wishes.kind, wishes.encrypted, wishes.initialization_rate), (Some(VolumeType::Io2), Some(true), Some(100)));
        assert_eq!(wishes.operations(VolumeType::Io2, 10).unwrap(), Some(500));
        assert_eq!(wishes.tags["team"], "db");
        let rexray = read(&[("volumeType", "io1"), ("iops", "150"), ("encryptionKey", "k"), ("availabilityZone", "eu-west-1a")]);
        let rexray = rexray.unwrap();
        assert_eq!(
            (rexray.encrypted, rexray.key.as_deref(), rexray.zone.as_deref()),
            (Some(true), Some("k"), Some("eu-west-1a"))
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_word() {
        for (pairs, word) in [
            (&[("type", "gp4")][..], "gp4"),
            (&[("type", "io1")], "iops"),
            (&[("type", "gp2"), ("iops", "100")], "gp2"),
            (&[("type", "st1"), ("throughput", "100")], "throughput"),
            (&[("iops", "100"), ("iopsPerGB", "1")], "contradict"),
            (&[("encrypted", "false"), ("kmsKeyId", "k")], "encrypted"),
            (&[("blockAttachUntilInitialized", "true")], "blockAttachUntilInitialized"),
            (&[("ext4EncryptionSupport", "true")], "ext4EncryptionSupport"),
            (&[("outpostArn", "op-1")], "outpost"),
            (&[("flavour", "x")], "flavour"),
        ] {
            let error = read(pairs).unwrap_err().to_string();
            assert!(error.contains(word), "{pairs:?}: {error}");
        }
        let error = read(&[("type", "io1"), ("iops", "50")]).unwrap().operations(VolumeType::Io1, 4).unwrap_err();
        assert!(error.to_string().contains("allowAutoIOPSPerGBIncrease"), "{error}");
    }

    #[test]
    fn several_nodes_at_once_need_raw_block_on_a_type_that_has_it() {
        let access = |kind| [Access { mode: AccessMode::MultiNodeMultiWriter, kind }];
        let io2 = map(&[("type", "io2"), ("iops", "100")]);
        let read = |map: &BTreeMap<String, String>, kind| Wishes::read(map, &access(kind), &Fields::new(), &EbsConfig::default());
        assert!(read(&io2, AccessKind::Block).unwrap().shared);
        assert!(read(&io2, AccessKind::Mount(MountAccess::default())).is_err());
        assert!(read(&map(&[]), AccessKind::Block).unwrap_err().to_string().contains("io1 or io2"));
    }

    #[test]
    fn what_is_asked_is_compared_without_tags_and_without_the_configuration() {
        let one = read(&[("type", "gp3"), ("tagSpecification_1", "a=b")]).unwrap();
        let config = EbsConfig { encrypted: Some(true), ..EbsConfig::default() };
        let same = Wishes::read(&map(&[("TYPE", "gp3")]), &[], &Fields::new(), &config).unwrap();
        assert_eq!(one.asked, same.asked);
        assert_ne!(one.asked, read(&[("type", "gp3"), ("encrypted", "true")]).unwrap().asked);
    }
}
