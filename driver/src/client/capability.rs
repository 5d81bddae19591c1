//! How a volume is to be used, as it is typed.

use hawser_proto::csi;
use hawser_volume::{Access, AccessKind, AccessMode, Error, Filesystem, MountAccess, Result};

/// What was typed about the use of a volume.
#[derive(Debug, Clone, clap::Args)]
pub struct Usage {
    /// Who may use the volume: rwo (one node), rwop (one workload), rox (read on many nodes), rwx (write on many nodes), or a mode of CSI
    /// such as SINGLE_NODE_READER_ONLY.
    #[arg(long, value_name = "MODE", default_value = "rwo", value_parser = mode)]
    access: AccessMode,
    /// The filesystem: ext4, xfs or btrfs. Without it what the volume has, or the driver's default on a new one.
    #[arg(long = "fs", value_name = "TYPE", aliases = ["fsType", "fs-type", "fstype", "newFsType"])]
    filesystem: Option<Filesystem>,
    /// A mount option, as in fstab. May be given several times.
    #[arg(long = "mount-option", value_name = "OPTION", alias = "mountOptions")]
    options: Vec<String>,
}

/// The words of Kubernetes, and those of CSI.
fn mode(text: &str) -> Result<AccessMode> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "rwo" | "readwriteonce" => AccessMode::SingleNodeWriter,
        "rwop" | "readwriteoncepod" => AccessMode::SingleNodeSingleWriter,
        "rox" | "readonlymany" => AccessMode::MultiNodeReaderOnly,
        "rwx" | "readwritemany" => AccessMode::MultiNodeMultiWriter,
        _ => text
            .to_uppercase()
            .replace('-', "_")
            .parse()
            .map_err(|error: Error| Error::invalid(format!("{}, or rwo, rwop, rox, rwx", error.chain())))?,
    })
}

impl Usage {
    /// The filesystem, if one was typed.
    pub(super) fn filesystem(&self) -> Option<Filesystem> {
        self.filesystem
    }

    pub(super) fn access(&self) -> Result<Access> {
        let mount = MountAccess::new(self.filesystem, self.options.iter().map(String::as_str), None)?;
        Ok(Access { kind: AccessKind::Mount(mount), mode: self.access })
    }

    pub(super) fn capability(&self) -> Result<csi::VolumeCapability> {
        Ok(csi::VolumeCapability::from(&self.access()?))
    }
}
