//! What a task wants of one volume: the one form that every door hands to the lifecycle.
//!
//! A door (Docker volume plugin, dvdcli, `volume/csi` isolator, resource provider) only translates. What comes out is checked and
//! complete: the lifecycle asks no file and no map of options again, and keeps the claim in its ledger as it is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hawser_proto::csi;
use hawser_volume::id::STRING_MAX;
use hawser_volume::{Access, BackendName, Bytes, Error, ObjectName, Result};
use serde::{Deserialize, Serialize};

use crate::declaration::Declaration;
use crate::name::NameTemplate;
use crate::policy::{Create, Retain, Takeover};

/// The parameter of CreateVolume that chooses a backend of Hawser.
pub(crate) const BACKEND: &str = "backend";

/// One volume, as one task declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeClaim {
    /// Which volume.
    pub volume: ClaimedVolume,
    /// On which backend of Hawser. Default: the driver's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
    /// As a filesystem or a device, and shared how.
    pub access: Access,
    /// Whether this task only reads.
    #[serde(default)]
    pub read_only: bool,
    /// When the volume may be taken from another node. Default: as the bridge is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover: Option<Takeover>,
    /// Where all this was said.
    pub declared: Declaration,
}

/// The two ways to say which volume is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimedVolume {
    /// By a name: found, or made under it.
    Named(NamedVolume),
    /// By the id that CSI gave it ("static provisioning"): it must exist.
    Existing(ExistingVolume),
}

/// A volume that is found or made by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedVolume {
    /// The name, or the pattern of it.
    pub name: NameTemplate,
    /// Whether it is made when there is none.
    #[serde(default)]
    pub create: Create,
    /// Its exact size. Without one nothing can be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// What a new volume begins with. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ContentSource>,
    /// The parameters of CreateVolume (docs/parameters.md), without `backend`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Whether it outlives its task.
    #[serde(default)]
    pub retain: Retain,
}

/// A volume that exists and is named by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExistingVolume {
    /// The id, of any CSI driver.
    pub id: ForeignId,
    /// What CreateVolume returned with the id, as the declaration repeats it; the bridge's own keys are taken out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
}

/// What a new volume is a copy of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContentSource {
    /// The snapshot with this id.
    SnapshotId(ForeignId),
    /// The snapshot that was made under this name; its id must be looked up first.
    SnapshotName(ObjectName),
    /// The volume with this id.
    VolumeId(ForeignId),
    /// The volume that was made under this name; its id must be looked up first.
    VolumeName(ObjectName),
}

/// An id that some CSI driver gave: 1 to 128 bytes without control characters. Hawser's own are [`hawser_volume::VolumeId`]s.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ForeignId(String);

impl VolumeClaim {
    /// The named volume, unless the claim is for one that exists.
    pub fn named(&self) -> Option<&NamedVolume> {
        match &self.volume {
            ClaimedVolume::Named(named) => Some(named),
            ClaimedVolume::Existing(_) => None,
        }
    }

    /// The pattern of its name, when the name is not the same for every task.
    pub fn pattern(&self) -> Option<&NameTemplate> {
        self.named().map(|named| &named.name).filter(|name| name.fixed().is_none())
    }

    /// The same claim for the volume that its pattern comes to.
    #[must_use]
    pub fn of(&self, name: &ObjectName) -> Self {
        let mut claim = self.clone();
        if let ClaimedVolume::Named(named) = &mut claim.volume {
            named.name = name.into();
        }
        claim
    }

    /// Whether the volume may be made and everything is said that is needed for it.
    pub fn can_be_made(&self) -> bool {
        self.named().is_some_and(|named| named.create == Create::IfAbsent && named.size.is_some())
    }

    /// Whether the volume goes when its task does. Only one that this claim could make is ever deleted.
    pub fn is_scratch(&self) -> bool {
        self.can_be_made() && self.named().is_some_and(|named| named.retain == Retain::DeleteWithTask)
    }

    /// How the volume is used, as CSI says it.
    pub fn capability(&self) -> csi::VolumeCapability {
        (&self.access).into()
    }

    /// The request that makes the volume under `name`, with `source` as its content; nothing when it cannot be made.
    ///
    /// The size is asked for exactly: `required_bytes` and `limit_bytes` are equal, as in what Mesos itself asks.
    pub fn create_request(
        &self,
        name: &ObjectName,
        source: Option<csi::VolumeContentSource>,
    ) -> Option<csi::CreateVolumeRequest> {
        let named = self.named().filter(|_| self.can_be_made())?;
        let bytes = named.size?.to_proto();
        let mut parameters = named.parameters.clone();
        if let Some(backend) = &self.backend {
            parameters.insert(BACKEND.to_owned(), backend.to_string());
        }
        Some(csi::CreateVolumeRequest {
            name: name.as_str().to_owned(),
            capacity_range: Some(csi::CapacityRange { required_bytes: bytes, limit_bytes: bytes }),
            volume_capabilities: vec![self.capability()],
            parameters,
            volume_content_source: source,
            ..Default::default()
        })
    }
}

impl ContentSource {
    /// As CSI says it; nothing when the id must be looked up first.
    pub fn to_proto(&self) -> Option<csi::VolumeContentSource> {
        use csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
        let kind = match self {
            ContentSource::SnapshotId(id) => Type::Snapshot(SnapshotSource { snapshot_id: id.to_string() }),
            ContentSource::VolumeId(id) => Type::Volume(VolumeSource { volume_id: id.to_string() }),
            ContentSource::SnapshotName(_) | ContentSource::VolumeName(_) => return None,
        };
        Some(csi::VolumeContentSource { r#type: Some(kind) })
    }
}

impl fmt::Display for ContentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContentSource::SnapshotId(id) => write!(f, "snapshot {id}"),
            ContentSource::SnapshotName(name) => write!(f, "the snapshot named {name}"),
            ContentSource::VolumeId(id) => write!(f, "volume {id}"),
            ContentSource::VolumeName(name) => write!(f, "the volume named {name}"),
        }
    }
}

impl ForeignId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ForeignId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > STRING_MAX || text.chars().any(char::is_control) {
            return Err(Error::invalid(format!(
                "{} is no id: an id has 1 to {STRING_MAX} bytes and no control characters",
                hawser_volume::error::shown(text)
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ForeignId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ForeignId> for String {
    fn from(id: ForeignId) -> Self {
        id.0
    }
}

impl fmt::Display for ForeignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hawser_volume::{AccessKind, AccessMode, Filesystem, MountAccess};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::declaration::Form;
    use crate::finding::Place;

    fn any_access() -> impl Strategy<Value = Access> {
        let mount = (
            option::of(prop::sample::select(Filesystem::ALL.to_vec())),
            prop::collection::vec("[a-z=0-9]{1,12}", 0..4),
            option::of(any::<u32>()),
        )
            .prop_map(|(filesystem, flags, group)| {
                AccessKind::Mount(MountAccess::new(filesystem, flags.iter().map(String::as_str), group).unwrap())
            });
        (prop_oneof![Just(AccessKind::Block), mount], prop::sample::select(AccessMode::ALL.to_vec()))
            .prop_map(|(kind, mode)| Access { kind, mode })
    }

    fn any_id() -> impl Strategy<Value = ForeignId> {
        "[ -~äß]{1,60}".prop_map(|text| text.parse().unwrap())
    }

    fn any_source() -> impl Strategy<Value = ContentSource> {
        prop_oneof![
            any_id().prop_map(ContentSource::SnapshotId),
            any_id().prop_map(ContentSource::VolumeId),
            "[ -~]{1,60}".prop_map(|name| ContentSource::SnapshotName(name.parse().unwrap())),
            "[ -~]{1,60}".prop_map(|name| ContentSource::VolumeName(name.parse().unwrap())),
        ]
    }

    fn any_map() -> impl Strategy<Value = BTreeMap<String, String>> {
        prop::collection::btree_map(any::<String>(), any::<String>(), 0..4)
    }

    fn any_volume() -> impl Strategy<Value = ClaimedVolume> {
        let named = (
            "[a-zäö {]{0,10}".prop_filter_map("a name", |text| {
                let text = if text.contains('{') { "{framework}{slot}".to_owned() } else { text };
                text.parse().ok()
            }),
            any::<bool>(),
            option::of((1u64..=i64::MAX as u64).prop_map(Bytes::new)),
            option::of(any_source()),
            any_map(),
            any::<bool>(),
        )
            .prop_map(|(name, absent, size, source, parameters, keep)| {
                let create = if absent { Create::IfAbsent } else { Create::Never };
                let retain = if keep { Retain::Keep } else { Retain::DeleteWithTask };
                ClaimedVolume::Named(NamedVolume { name, create, size, source, parameters, retain })
            });
        let existing = (any_id(), any_map()).prop_map(|(id, context)| ClaimedVolume::Existing(ExistingVolume { id, context }));
        prop_oneof![named, existing]
    }

    fn any_claim() -> impl Strategy<Value = VolumeClaim> {
        let takeover = prop_oneof![
            Just(Takeover::Never),
            Just(Takeover::AgentGone),
            Just(Takeover::BackendDead),
            (1u64..1 << 40).prop_map(|seconds| Takeover::UnreachableAfter(Duration::from_secs(seconds))),
        ];
        let form =
            prop::sample::select(vec![Form::MarathonDvdi, Form::MesosCsiVolume, Form::DvdiEnvironment, Form::DockerOptions]);
        let declared =
            (form, any::<String>(), option::of(any::<usize>()), option::of(any::<String>()), option::of(any::<String>()))
                .prop_map(|(form, path, line, driver, container_path)| Declaration {
                    form,
                    place: Place { path, line },
                    driver,
                    container_path,
                });
        (any_volume(), option::of("[a-z]{1,8}"), any_access(), any::<bool>(), option::of(takeover), declared).prop_map(
            |(volume, backend, access, read_only, takeover, declared)| VolumeClaim {
                volume,
                backend: backend.map(|name| name.parse().unwrap()),
                access,
                read_only,
                takeover,
                declared,
            },
        )
    }

    proptest! {
        #[test]
        fn a_claim_survives_the_ledger(claim in any_claim()) {
            let text = serde_json::to_string(&claim).unwrap();
            prop_assert_eq!(serde_json::from_str::<VolumeClaim>(&text).unwrap(), claim);
        }

        /// A field that this version does not know could be a policy of a newer one; it is refused, not dropped.
        #[test]
        fn a_claim_of_another_version_is_refused(claim in any_claim()) {
            let mut value = serde_json::to_value(&claim).unwrap();
            value["fence"] = true.into();
            prop_assert!(serde_json::from_value::<VolumeClaim>(value).is_err());
        }

        #[test]
        fn only_what_may_be_made_and_has_a_size_is_asked_for_and_exactly(claim in any_claim()) {
            let request = claim.create_request(&"n".parse().unwrap(), None);
            prop_assert_eq!(request.is_some(), claim.can_be_made());
            prop_assert!(claim.can_be_made() || !claim.is_scratch());
            if let Some(request) = request {
                let range = request.capacity_range.unwrap();
                prop_assert_eq!(range.required_bytes, range.limit_bytes);
                prop_assert_eq!(Some(Bytes::new(u64::try_from(range.limit_bytes).unwrap())), claim.named().unwrap().size);
                if let Some(backend) = &claim.backend {
                    prop_assert_eq!(request.parameters.get("backend").map(String::as_str), Some(backend.as_str()));
                }
            }
        }
    }

    /// The ledger of an installed bridge holds this text.
    #[test]
    fn the_text_of_a_claim_stays_as_it_is() {
        let text = r#"{"volume":{"named":{"name":"{framework}{slot}data","create":"if-absent","size":10737418240,"source":{"snapshot-id":"ebs:snap-1"},"parameters":{"type":"gp3"},"retain":"keep"}},"backend":"ebs","access":{"kind":{"mount":{"filesystem":"xfs","flags":["noatime"],"group":null}},"mode":"SINGLE_NODE_WRITER"},"read_only":false,"takeover":"unreachable-after-600s","declared":{"form":"marathon-dvdi","place":{"path":"$.container.volumes[0]","line":3},"driver":"hawser","container_path":"data"}}"#;
        let claim: VolumeClaim = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&claim).unwrap(), text);
        assert!(claim.can_be_made() && !claim.is_scratch());
    }
}
