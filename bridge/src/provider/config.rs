//! `bridge.provider:` in the configuration file.

use std::collections::{BTreeMap, BTreeSet};

use hawser_proto::csi;
use hawser_proto::mesos::v1::resource::ReservationInfo;
use hawser_proto::mesos::v1::resource::reservation_info;
use hawser_volume::{Access, AccessKind, AccessMode, Bytes, Filesystem};
use serde::{Deserialize, Serialize};

pub use super::format::Format;

/// What the agent of this machine offers to frameworks as disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProviderConfig {
    /// The name of the provider, by which it is known again. Default: `hawser`.
    #[serde(default = "name")]
    pub name: String,
    /// The role that all of the space is reserved for, as long as nobody reserves it otherwise. Default: none; every framework is offered
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How the agent is spoken to: `protobuf` or `json`. Default: `protobuf`.
    #[serde(default)]
    pub format: Format,
    /// The space, by the names of the profiles that frameworks see.
    pub pools: BTreeMap<String, Pool>,
}

/// Space from which disks of one profile are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pool {
    /// How much this agent offers, the disks that are made of it included. Default: what the storage has free (GetCapacity), which is
    /// right only for storage that no other agent offers: what several agents share must be divided among them.
    #[serde(default, with = "hawser_volume::bytes::text_option", skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Bytes>,
    /// The filesystem of new disks: `ext4`, `xfs` or `btrfs`. Default: `ext4`.
    #[serde(default)]
    pub filesystem: Filesystem,
    /// Options with which their filesystem is mounted, such as `noatime`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_flags: Vec<String>,
    /// The parameters of CreateVolume (docs/parameters.md): `backend`, and those of that backend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

fn name() -> String {
    "hawser".to_owned()
}

impl ProviderConfig {
    /// What is wrong although every value is well formed: key and mistake.
    pub(crate) fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        // It becomes a part of paths in Mesos' work directory, and of the vendor of disks.
        let is_plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_plain(&self.name) {
            mistakes.push(("provider.name".to_owned(), "must be made of letters, digits, - and _".to_owned()));
        }
        if let Some(role) = &self.role
            && let Some(why) = wrong_role(role)
        {
            mistakes.push(("provider.role".to_owned(), format!("{role:?} {why}")));
        }
        if self.pools.is_empty() {
            mistakes.push(("provider.pools".to_owned(), "names no profile, so nothing is offered".to_owned()));
        }
        let names: BTreeSet<&String> = self.pools.keys().filter(|name| name.trim().is_empty()).collect();
        if !names.is_empty() {
            mistakes.push(("provider.pools".to_owned(), "a profile has no name".to_owned()));
        }
        for (profile, pool) in &self.pools {
            if pool.capacity.is_some_and(|capacity| capacity.get() < 1 << 20) {
                let key = format!("provider.pools.{profile}.capacity");
                mistakes.push((key, "Mesos counts disks in MiB: give at least one".to_owned()));
            }
        }
        mistakes
    }

    /// How all of the space is reserved in the beginning.
    pub(super) fn reservations(&self) -> Vec<ReservationInfo> {
        let reservation = |role: &String| ReservationInfo {
            r#type: Some(reservation_info::Type::Dynamic.into()),
            role: Some(role.clone()),
            ..ReservationInfo::default()
        };
        self.role.iter().map(reservation).collect()
    }
}

/// Why an agent would refuse the role (src/common/roles.cpp).
fn wrong_role(role: &str) -> Option<&'static str> {
    match role {
        "*" => Some("is everybody; leave the key out"),
        "" => Some("is no role"),
        _ if role
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == ".." || part == "*" || part.starts_with('-')) =>
        {
            Some("is no role: no part of it may be empty, *, . or .., or begin with -")
        }
        _ if role.chars().any(|letter| letter.is_whitespace() || letter.is_control()) => Some("has a space in it"),
        _ => None,
    }
}

impl Pool {
    /// How a disk is used.
    pub(super) fn access(&self, block: bool) -> Access {
        let kind = if block {
            AccessKind::Block
        } else {
            AccessKind::Mount(hawser_volume::MountAccess {
                filesystem: Some(self.filesystem),
                flags: self.mount_flags.clone(),
                ..Default::default()
            })
        };
        Access { kind, mode: AccessMode::SingleNodeWriter }
    }

    /// What a disk of this size is asked for with, but for its name. Exactly this size: Mesos counts with it.
    pub(super) fn request(&self, size: Bytes, block: bool) -> csi::CreateVolumeRequest {
        let bytes = size.to_proto();
        csi::CreateVolumeRequest {
            capacity_range: Some(csi::CapacityRange { required_bytes: bytes, limit_bytes: bytes }),
            volume_capabilities: vec![(&self.access(block)).into()],
            parameters: self.parameters.clone(),
            ..Default::default()
        }
    }
}
