//! How a volume is used, as a CO says it.

use hawser_proto::csi;
use hawser_proto::csi::volume_capability::access_mode::Mode;
use hawser_proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};

/// A capability in the making, with the flag that belongs to it in other fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Who uses it.
    pub mode: Mode,
    /// As a raw device.
    pub block: bool,
    /// The filesystem; empty for the plugin's choice.
    pub filesystem: String,
    /// Mount flags.
    pub flags: Vec<String>,
    /// The group that shall be able to write; empty for none.
    pub group: String,
    /// The `readonly` of ControllerPublishVolume and NodePublishVolume.
    pub readonly: bool,
}

impl Usage {
    /// As a mounted filesystem, written on one node.
    pub fn mount() -> Self {
        Self {
            mode: Mode::SingleNodeWriter,
            block: false,
            filesystem: String::new(),
            flags: Vec::new(),
            group: String::new(),
            readonly: false,
        }
    }

    /// As a raw device, written on one node.
    pub fn block() -> Self {
        Self { block: true, ..Self::mount() }
    }

    /// With another mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// With this filesystem.
    #[must_use]
    pub fn filesystem(mut self, filesystem: &str) -> Self {
        self.filesystem = filesystem.to_owned();
        self
    }

    /// With one more mount flag.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// For a group.
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        self.group = group.to_string();
        self
    }

    /// Without writing.
    #[must_use]
    pub fn readonly(mut self) -> Self {
        self.readonly = true;
        self
    }

    /// The message.
    pub fn capability(&self) -> csi::VolumeCapability {
        let kind = if self.block {
            AccessType::Block(BlockVolume {})
        } else {
            AccessType::Mount(MountVolume {
                fs_type: self.filesystem.clone(),
                mount_flags: self.flags.clone(),
                volume_mount_group: self.group.clone(),
            })
        };
        csi::VolumeCapability { access_mode: Some(AccessMode { mode: self.mode.into() }), access_type: Some(kind) }
    }
}
