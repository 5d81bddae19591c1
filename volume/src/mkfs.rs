//! Which filesystem shall be made, and how: the parameters of aws-ebs-csi-driver, under their own names, for every block backend.
//!
//! They are numbers and switches, never free text: an option string would let whoever writes a task's parameters point mkfs at
//! another file of the node.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::access::Filesystem;
use crate::error::{Error, Result};
use crate::parameters;

/// The keys that [`MkfsParameters`] reads.
pub const KEYS: [&str; 7] =
    ["fsType", "blockSize", "inodeSize", "bytesPerInode", "numberOfInodes", "ext4BigAlloc", "ext4ClusterSize"];

/// Wishes for a new filesystem (aws-ebs-csi-driver, docs/parameters.md).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MkfsParameters {
    /// Which filesystem, for COs that cannot say it in the volume's capability. Default: ext4.
    pub fs_type: Option<Filesystem>,
    /// Bytes in a block (ext4, xfs).
    pub block_size: Option<u32>,
    /// Bytes in an inode (ext4, xfs).
    pub inode_size: Option<u32>,
    /// One inode for so many bytes (ext4).
    pub bytes_per_inode: Option<u32>,
    /// How many inodes (ext4).
    pub number_of_inodes: Option<u32>,
    /// Allocate in clusters of blocks (ext4).
    pub ext4_big_alloc: Option<bool>,
    /// Bytes in a cluster (ext4, with `ext4BigAlloc`).
    pub ext4_cluster_size: Option<u32>,
}

impl MkfsParameters {
    /// Takes the keys that belong here out of `map` and reads them; returns them as they were written, too.
    pub fn take_from(field: &str, map: &mut BTreeMap<String, String>) -> Result<(Self, BTreeMap<String, String>)> {
        let (ours, rest) =
            std::mem::take(map).into_iter().partition(|(key, _)| KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)));
        *map = rest;
        let read: Self = parameters::read(field, &ours)?;
        let powers =
            [("blockSize", read.block_size), ("inodeSize", read.inode_size), ("ext4ClusterSize", read.ext4_cluster_size)];
        for (key, value) in powers {
            if value.is_some_and(|value| !value.is_power_of_two() || value < 128) {
                return Err(Error::invalid(format!("{field}: {key:?} must be a power of two of at least 128")));
            }
        }
        if read.ext4_cluster_size.is_some() && read.ext4_big_alloc != Some(true) {
            return Err(Error::invalid(format!("{field}: \"ext4ClusterSize\" needs \"ext4BigAlloc\" to be true")));
        }
        Ok((read, ours))
    }

    /// The filesystem for a caller that asks for `asked`; `Invalid` when that contradicts `fsType`.
    pub fn filesystem(&self, asked: Option<Filesystem>) -> Result<Filesystem> {
        match (asked, self.fs_type) {
            (Some(asked), Some(given)) if asked != given => Err(Error::invalid(format!(
                "\"fsType\" is {given}, and the volume's capability asks for {asked}; give one of them"
            ))),
            (asked, given) => Ok(asked.or(given).unwrap_or_default()),
        }
    }

    /// The arguments for `mkfs.<filesystem>`; `Invalid` for a wish that this filesystem cannot meet.
    pub fn arguments(&self, filesystem: Filesystem) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        match filesystem {
            Filesystem::Ext4 => {
                self.block_size.iter().for_each(|v| add("-b", v.to_string()));
                self.inode_size.iter().for_each(|v| add("-I", v.to_string()));
                self.bytes_per_inode.iter().for_each(|v| add("-i", v.to_string()));
                self.number_of_inodes.iter().for_each(|v| add("-N", v.to_string()));
                if self.ext4_big_alloc == Some(true) {
                    add("-O", "bigalloc".to_owned());
                }
                self.ext4_cluster_size.iter().for_each(|v| add("-C", v.to_string()));
            }
            Filesystem::Xfs => {
                self.block_size.iter().for_each(|v| add("-b", format!("size={v}")));
                self.inode_size.iter().for_each(|v| add("-i", format!("size={v}")));
                self.only_for_ext4(filesystem)?;
            }
            Filesystem::Btrfs => {
                if self.block_size.is_some() || self.inode_size.is_some() {
                    return Err(Error::invalid("blockSize and inodeSize cannot be chosen for btrfs; leave them out"));
                }
                self.only_for_ext4(filesystem)?;
            }
        }
        Ok(arguments)
    }

    fn only_for_ext4(&self, filesystem: Filesystem) -> Result<()> {
        let wished = [
            ("bytesPerInode", self.bytes_per_inode.is_some()),
            ("numberOfInodes", self.number_of_inodes.is_some()),
            ("ext4BigAlloc", self.ext4_big_alloc == Some(true)),
        ];
        match wished.iter().find(|(_, wished)| *wished) {
            Some((key, _)) => Err(Error::invalid(format!("{key} cannot be chosen for {filesystem}; leave it out or use ext4"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pairs: &[(&str, &str)]) -> Result<(MkfsParameters, BTreeMap<String, String>)> {
        let mut map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        MkfsParameters::take_from("parameters", &mut map)
    }

    #[test]
    fn wishes_become_arguments_of_each_mkfs() {
        let (wishes, ours) = take(&[("BlockSize", "4096"), ("inodesize", "512"), ("type", "gp3")]).unwrap();
        assert_eq!(ours.len(), 2);
        assert_eq!(wishes.filesystem(None).unwrap(), Filesystem::Ext4);
        assert_eq!(wishes.arguments(Filesystem::Ext4).unwrap(), ["-b", "4096", "-I", "512"]);
        assert_eq!(wishes.arguments(Filesystem::Xfs).unwrap(), ["-b", "size=4096", "-i", "size=512"]);
        assert!(wishes.arguments(Filesystem::Btrfs).is_err());
    }

    #[test]
    fn a_filesystem_is_chosen_once() {
        let (wishes, _) = take(&[("fstype", "XFS")]).unwrap();
        assert_eq!(wishes.filesystem(None).unwrap(), Filesystem::Xfs);
        assert_eq!(wishes.filesystem(Some(Filesystem::Xfs)).unwrap(), Filesystem::Xfs);
        assert!(wishes.filesystem(Some(Filesystem::Btrfs)).is_err());
        assert!(take(&[("fsType", "ntfs")]).unwrap_err().to_string().contains("ext4, xfs or btrfs"));
    }

    #[test]
    fn what_is_no_number_never_reaches_mkfs() {
        assert!(take(&[("blockSize", "4096 -d name=/dev/sda")]).is_err());
        assert!(take(&[("blockSize", "1000")]).is_err());
        assert!(take(&[("ext4ClusterSize", "65536")]).is_err());
    }
}
