//! How a volume is to be used: the checked form of CSI's `VolumeCapability`.

use std::fmt;
use std::str::FromStr;

use hawser_proto::csi;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, shown};

/// The spec's limit for all mount flags together, in bytes (VolumeCapability.MountVolume.mount_flags).
const MOUNT_FLAGS_MAX: usize = 4096;

/// A filesystem that Hawser can make, check and grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Filesystem {
    /// The default: what most databases are tested on.
    #[default]
    Ext4,
    /// For large files and many parallel writers.
    Xfs,
    /// With checksums of its own.
    Btrfs,
}

impl Filesystem {
    /// Every filesystem, in the order in which help texts name them.
    pub const ALL: [Filesystem; 3] = [Filesystem::Ext4, Filesystem::Xfs, Filesystem::Btrfs];

    /// The kernel's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Filesystem::Ext4 => "ext4",
            Filesystem::Xfs => "xfs",
            Filesystem::Btrfs => "btrfs",
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Filesystem {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Filesystem {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|fs| fs.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| Error::invalid(format!("fs_type {} is not supported; use ext4, xfs or btrfs", shown(text))))
    }
}

/// Who may use the volume at one time, and how (CSI `VolumeCapability.AccessMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccessMode {
    /// Read and write on one node (what older COs send for every single-node claim).
    SingleNodeWriter,
    /// Read on one node.
    SingleNodeReaderOnly,
    /// Read on many nodes.
    MultiNodeReaderOnly,
    /// Read on many nodes, write on one of them.
    MultiNodeSingleWriter,
    /// Read and write on many nodes.
    MultiNodeMultiWriter,
    /// Read and write by one workload on one node.
    SingleNodeSingleWriter,
    /// Read and write by many workloads on one node.
    SingleNodeMultiWriter,
}

impl AccessMode {
    /// Every mode.
    pub const ALL: [AccessMode; 7] = [
        AccessMode::SingleNodeWriter,
        AccessMode::SingleNodeReaderOnly,
        AccessMode::MultiNodeReaderOnly,
        AccessMode::MultiNodeSingleWriter,
        AccessMode::MultiNodeMultiWriter,
        AccessMode::SingleNodeSingleWriter,
        AccessMode::SingleNodeMultiWriter,
    ];

    /// Whether only one node at a time may have the volume.
    pub fn is_single_node(self) -> bool {
        use AccessMode::*;
        matches!(self, SingleNodeWriter | SingleNodeReaderOnly | SingleNodeSingleWriter | SingleNodeMultiWriter)
    }

    /// Whether nobody writes.
    pub fn is_read_only(self) -> bool {
        matches!(self, AccessMode::SingleNodeReaderOnly | AccessMode::MultiNodeReaderOnly)
    }

    /// Whether one node may publish the volume at several target paths (CSI spec, NodePublishVolume, the second-call table:
    /// MULTI_NODE_* and SINGLE_NODE_MULTI_WRITER may, SINGLE_NODE_SINGLE_WRITER may not, and the older single-node modes may
    /// not either once the plugin has the SINGLE_NODE_MULTI_WRITER capability).
    pub fn allows_many_targets(self) -> bool {
        !self.is_single_node() || self == AccessMode::SingleNodeMultiWriter
    }

    fn to_proto(self) -> csi::volume_capability::access_mode::Mode {
        use csi::volume_capability::access_mode::Mode;
        match self {
            AccessMode::SingleNodeWriter => Mode::SingleNodeWriter,
            AccessMode::SingleNodeReaderOnly => Mode::SingleNodeReaderOnly,
            AccessMode::MultiNodeReaderOnly => Mode::MultiNodeReaderOnly,
            AccessMode::MultiNodeSingleWriter => Mode::MultiNodeSingleWriter,
            AccessMode::MultiNodeMultiWriter => Mode::MultiNodeMultiWriter,
            AccessMode::SingleNodeSingleWriter => Mode::SingleNodeSingleWriter,
            AccessMode::SingleNodeMultiWriter => Mode::SingleNodeMultiWriter,
        }
    }

    fn from_proto(number: i32) -> Result<Self> {
        use csi::volume_capability::access_mode::Mode;
        match Mode::try_from(number) {
            Ok(Mode::SingleNodeWriter) => Ok(AccessMode::SingleNodeWriter),
            Ok(Mode::SingleNodeReaderOnly) => Ok(AccessMode::SingleNodeReaderOnly),
            Ok(Mode::MultiNodeReaderOnly) => Ok(AccessMode::MultiNodeReaderOnly),
            Ok(Mode::MultiNodeSingleWriter) => Ok(AccessMode::MultiNodeSingleWriter),
            Ok(Mode::MultiNodeMultiWriter) => Ok(AccessMode::MultiNodeMultiWriter),
            Ok(Mode::SingleNodeSingleWriter) => Ok(AccessMode::SingleNodeSingleWriter),
            Ok(Mode::SingleNodeMultiWriter) => Ok(AccessMode::SingleNodeMultiWriter),
            Ok(Mode::Unknown) | Err(_) => Err(Error::invalid(format!(
                "volume_capability.access_mode.mode is {number}; give one of the spec's modes 1 to 7"
            ))),
        }
    }
}

impl FromStr for AccessMode {
    type Err = Error;

    /// Reads the spec's name of a mode, in any case.
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.to_string().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let modes: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
            Error::invalid(format!("{} is not an access mode; it is one of {}", shown(text), modes.join(", ")))
        })
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AccessMode::SingleNodeWriter => "SINGLE_NODE_WRITER",
            AccessMode::SingleNodeReaderOnly => "SINGLE_NODE_READER_ONLY",
            AccessMode::MultiNodeReaderOnly => "MULTI_NODE_READER_ONLY",
            AccessMode::MultiNodeSingleWriter => "MULTI_NODE_SINGLE_WRITER",
            AccessMode::MultiNodeMultiWriter => "MULTI_NODE_MULTI_WRITER",
            AccessMode::SingleNodeSingleWriter => "SINGLE_NODE_SINGLE_WRITER",
            AccessMode::SingleNodeMultiWriter => "SINGLE_NODE_MULTI_WRITER",
        })
    }
}

/// The wishes of a caller who wants a mounted filesystem.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "MountWishes")]
pub struct MountAccess {
    /// The filesystem, when the caller named one.
    pub filesystem: Option<Filesystem>,
    /// Mount options, as in fstab. They may carry secrets, so Debug shows their number alone.
    pub flags: Vec<String>,
    /// The group that must be able to read and write the volume (VOLUME_MOUNT_GROUP).
    pub group: Option<u32>,
}

impl MountAccess {
    /// Checked wishes. A flag may be several, separated by commas, as on the command line of mount(8).
    ///
    /// `Invalid` for flags with control characters, or of more than 4096 bytes in all.
    pub fn new<'a>(filesystem: Option<Filesystem>, flags: impl IntoIterator<Item = &'a str>, group: Option<u32>) -> Result<Self> {
        let (mut length, mut split) = (0, Vec::new());
        for flag in flags {
            length += flag.len();
            split.extend(flag.split(',').map(str::trim).filter(|flag| !flag.is_empty()).map(str::to_owned));
        }
        if length > MOUNT_FLAGS_MAX {
            return Err(Error::invalid(format!("mount_flags have {length} bytes; at most {MOUNT_FLAGS_MAX} are allowed")));
        }
        if split.iter().any(|flag| flag.chars().any(char::is_control)) {
            return Err(Error::invalid("mount_flags have control characters; remove them"));
        }
        Ok(Self { filesystem, flags: split, group })
    }
}

/// [`MountAccess`] as it is written down, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MountWishes {
    #[serde(default)]
    filesystem: Option<Filesystem>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    group: Option<u32>,
}

impl TryFrom<MountWishes> for MountAccess {
    type Error = Error;

    fn try_from(wishes: MountWishes) -> Result<Self> {
        Self::new(wishes.filesystem, wishes.flags.iter().map(String::as_str), wishes.group)
    }
}

impl fmt::Debug for MountAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountAccess")
            .field("filesystem", &self.filesystem)
            .field("flags", &format_args!("<{} flags>", self.flags.len()))
            .field("group", &self.group)
            .finish()
    }
}

/// As a mounted directory or as a raw device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessKind {
    /// A raw block device.
    Block,
    /// A mounted filesystem.
    Mount(MountAccess),
}

/// How a volume is to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// As a device or a directory.
    pub kind: AccessKind,
    /// By whom.
    pub mode: AccessMode,
}

impl Access {
    /// Whether the volume is wanted as a raw device.
    pub fn is_block(&self) -> bool {
        matches!(self.kind, AccessKind::Block)
    }

    /// The mount wishes, unless the volume is wanted as a device.
    pub fn mount(&self) -> Option<&MountAccess> {
        match &self.kind {
            AccessKind::Mount(mount) => Some(mount),
            AccessKind::Block => None,
        }
    }
}

impl TryFrom<&csi::VolumeCapability> for Access {
    type Error = Error;

    fn try_from(capability: &csi::VolumeCapability) -> Result<Self> {
        use csi::volume_capability::AccessType;
        let kind = match &capability.access_type {
            Some(AccessType::Block(_)) => AccessKind::Block,
            Some(AccessType::Mount(mount)) => AccessKind::Mount(MountAccess::try_from(mount)?),
            None => return Err(Error::invalid("volume_capability.access_type is required: give `mount` or `block`")),
        };
        let mode = capability
            .access_mode
            .as_ref()
            .ok_or_else(|| Error::invalid("volume_capability.access_mode is required: say who may use the volume"))?;
        Ok(Self { kind, mode: AccessMode::from_proto(mode.mode)? })
    }
}

impl TryFrom<&csi::volume_capability::MountVolume> for MountAccess {
    type Error = Error;

    fn try_from(mount: &csi::volume_capability::MountVolume) -> Result<Self> {
        let filesystem = (!mount.fs_type.is_empty()).then(|| mount.fs_type.parse()).transpose()?;
        let group = match mount.volume_mount_group.as_str() {
            "" => None,
            text => {
                Some(text.parse().map_err(|_| Error::invalid(format!("volume_mount_group {text:?} is not a numeric group id")))?)
            }
        };
        Self::new(filesystem, mount.mount_flags.iter().map(String::as_str), group)
    }
}

impl From<&Access> for csi::VolumeCapability {
    fn from(access: &Access) -> Self {
        use csi::volume_capability::AccessType;
        let kind = match &access.kind {
            AccessKind::Block => AccessType::Block(csi::volume_capability::BlockVolume {}),
            AccessKind::Mount(mount) => AccessType::Mount(csi::volume_capability::MountVolume {
                fs_type: mount.filesystem.map(|fs| fs.as_str().to_owned()).unwrap_or_default(),
                mount_flags: mount.flags.clone(),
                volume_mount_group: mount.group.map(|group| group.to_string()).unwrap_or_default(),
            }),
        };
        Self {
            access_mode: Some(csi::volume_capability::AccessMode { mode: access.mode.to_proto().into() }),
            access_type: Some(kind),
        }
    }
}

/// Reads the capabilities of a request: at least one, each valid.
pub fn accesses(capabilities: &[csi::VolumeCapability]) -> Result<Vec<Access>> {
    if capabilities.is_empty() {
        return Err(Error::invalid("volume_capabilities is required: say how the volume will be used"));
    }
    capabilities.iter().map(Access::try_from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(mode: i32) -> csi::VolumeCapability {
        csi::VolumeCapability {
            access_mode: Some(csi::volume_capability::AccessMode { mode }),
            access_type: Some(csi::volume_capability::AccessType::Mount(csi::volume_capability::MountVolume {
                fs_type: "ext4".into(),
                mount_flags: vec!["noatime,nodev".into(), "pass=hunter2".into()],
                volume_mount_group: "2000".into(),
            })),
        }
    }

    #[test]
    fn mount_flags_are_split_and_never_shown() {
        let access = Access::try_from(&capability(1)).unwrap();
        let mount = access.mount().unwrap();
        assert_eq!(mount.flags, ["noatime", "nodev", "pass=hunter2"]);
        assert_eq!(mount.group, Some(2000));
        assert!(!format!("{access:?}").contains("hunter2"));
    }

    #[test]
    fn every_mode_of_the_spec_is_read_and_no_other() {
        for (number, mode) in (1..).zip(AccessMode::ALL) {
            let access = Access::try_from(&capability(number)).unwrap();
            assert_eq!(access.mode, mode);
            assert_eq!(mode.to_string().to_lowercase().parse::<AccessMode>().unwrap(), mode);
            // The way back, as a CSI client says it: the same, with the flags split.
            let said = csi::VolumeCapability::from(&access);
            assert_eq!(said.access_mode, capability(number).access_mode);
            assert_eq!(Access::try_from(&said).unwrap(), access);
        }
        let block = Access { kind: AccessKind::Block, mode: AccessMode::SingleNodeWriter };
        assert_eq!(Access::try_from(&csi::VolumeCapability::from(&block)).unwrap(), block);
        for number in [-1, 0, 8, 99] {
            assert!(Access::try_from(&capability(number)).is_err());
        }
    }

    #[test]
    fn the_second_target_table_follows_the_spec() {
        let allowed: Vec<_> = AccessMode::ALL.into_iter().filter(|mode| mode.allows_many_targets()).collect();
        assert_eq!(
            allowed,
            [
                AccessMode::MultiNodeReaderOnly,
                AccessMode::MultiNodeSingleWriter,
                AccessMode::MultiNodeMultiWriter,
                AccessMode::SingleNodeMultiWriter
            ]
        );
    }
}
