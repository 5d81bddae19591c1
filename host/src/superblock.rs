//! The superblocks of the filesystems that Hawser makes, read from bytes.
//!
//! A superblock is taken for what it says only if it is whole: its checksum fits, its numbers make sense, and the device is large
//! enough for it. One that is recognised and not whole is *damaged*, which is never "blank" and never mounted.

use std::fs::File;
use std::os::unix::fs::FileExt;

use hawser_volume::{Bytes, Filesystem};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Where the primary superblock of ext2, ext3 and ext4 is, in bytes.
pub(crate) const EXT_OFFSET: u64 = 1024;
/// Where the primary superblock of btrfs is, in bytes.
pub(crate) const BTRFS_OFFSET: u64 = 65536;
/// How much of a superblock is needed: the largest sector that XFS may checksum.
pub(crate) const SUPERBLOCK_MAX: usize = 32768;

/// What a superblock tells about its filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemInfo {
    /// Which of the three.
    pub filesystem: Filesystem,
    /// Its UUID in the usual notation, unless it is all zero.
    pub uuid: Option<String>,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// How much of the device it covers.
    pub size: Bytes,
    /// Whether it says that something is wrong with it and a checker should run.
    pub has_errors: bool,
    /// Whether its journal must be replayed, which mounting does. XFS does not tell this in its superblock: always false.
    pub needs_recovery: bool,
    /// The unit in which it counts space, in bytes.
    pub block_size: u32,
}

/// A superblock that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// What everybody may know.
    pub(crate) info: FilesystemInfo,
    /// Space that mkfs must have zeroed for the journal.
    pub(crate) journal: Bytes,
}

/// What the place of a superblock holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing of this kind.
    Absent,
    /// A filesystem that Hawser can use.
    Sound(Superblock),
    /// Something of this kind that Hawser does not use, by name: another of the family, or a damaged one.
    Other(String),
}

/// Reads an ext2, ext3 or ext4 superblock from the bytes at [`EXT_OFFSET`].
pub(crate) fn ext(bytes: &[u8], device: Bytes) -> Verdict {
    const HAS_JOURNAL: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    const RECOVER: u32 = 0x4;
    const WIDE: u32 = 0x80;
    const METADATA_CSUM: u32 = 0x400;
    // What ext3 and ext2 know (FEATURE_*_SUPP in the kernel's ext2 and libblkid's ext3); a feature beyond makes it ext4.
    const EXT3_INCOMPAT: u32 = 0x2 | 0x4 | 0x10;
    const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;

    let Some(block) = bytes.get(..1024) else { return Verdict::Absent };
    if le16(block, 56) != 0xEF53 {
        return Verdict::Absent;
    }
    let (compat, incompat, ro_compat) = (le32(block, 92), le32(block, 96), le32(block, 100));
    if incompat & JOURNAL_DEVICE != 0 {
        return Verdict::Other("ext4 external journal".into());
    }
    let name = if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
        "ext4"
    } else if compat & HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    let damaged = |why: &str| Verdict::Other(format!("damaged {name} ({why})"));
    // ext4 leaves out the last inversion of CRC-32C.
    if ro_compat & METADATA_CSUM != 0 && !crc32c::crc32c(&block[..1020]) != le32(block, 1020) {
        return damaged("the checksum of its superblock is wrong");
    }
    let Some(block_size) = 1024u32.checked_shl(le32(block, 24)).filter(|size| (1024..=65536).contains(size)) else {
        return damaged("its block size is impossible");
    };
    let high = if incompat & WIDE != 0 { le32(block, 0x150) } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(le32(block, 4));
    let size = match blocks.checked_mul(block_size.into()) {
        Some(size) if size != 0 && size <= device.get() => Bytes::new(size),
        _ => return damaged("it is larger than the device"),
    };
    if name != "ext4" {
        return Verdict::Other(name.into());
    }
    // s_jnl_blocks ends with the size of the journal, when s_jnl_backup_type says so.
    let journal =
        if block[0xFD] == 1 { u64::from(le32(block, 0x10C + 64)) | u64::from(le32(block, 0x10C + 60)) << 32 } else { 0 };
    Verdict::Sound(Superblock {
        info: FilesystemInfo {
            filesystem: Filesystem::Ext4,
            uuid: uuid(&block[104..120]),
            label: label(&block[120..136]),
            size,
            has_errors: le16(block, 58) & 2 != 0 || le32(block, 0x194) != 0,
            needs_recovery: incompat & RECOVER != 0,
            block_size,
        },
        journal: Bytes::new(if compat & HAS_JOURNAL != 0 { journal } else { 0 }),
    })
}

/// Reads an XFS superblock from the first bytes of a device.
pub(crate) fn xfs(bytes: &[u8], device: Bytes) -> Verdict {
    const NEEDS_REPAIR: u32 = 0x10;

    if bytes.len() < 512 || &bytes[..4] != b"XFSB" {
        return Verdict::Absent;
    }
    let damaged = |why: &str| Verdict::Other(format!("damaged xfs ({why})"));
    let sector = usize::from(be16(bytes, 102));
    let Some(block) = bytes.get(..sector).filter(|_| (512..=SUPERBLOCK_MAX).contains(&sector) && sector.is_power_of_two()) else {
        return damaged("its sector size is impossible");
    };
    let version = be16(block, 100) & 0xF;
    if version >= 5 {
        let zeroed = crc32c::crc32c_append(crc32c::crc32c(&block[..224]), &[0; 4]);
        if crc32c::crc32c_append(zeroed, &block[228..]) != le32(block, 224) {
            return damaged("the checksum of its superblock is wrong");
        }
    }
    if !matches!(version, 4 | 5) || (version == 4 && le32(block, 224) != 0) {
        return damaged("its version is impossible");
    }
    if block[126] != 0 {
        return damaged("it was not finished");
    }
    let block_size = be32(block, 4);
    if !block_size.is_power_of_two() || !(512..=65536).contains(&block_size) {
        return damaged("its block size is impossible");
    }
    let size = match be64(block, 8).checked_mul(block_size.into()) {
        Some(size) if size != 0 && size <= device.get() => Bytes::new(size),
        _ => return damaged("it is larger than the device"),
    };
    let journal = if be64(block, 48) != 0 { u64::from(be32(block, 96)) * u64::from(block_size) } else { 0 };
    Verdict::Sound(Superblock {
        info: FilesystemInfo {
            filesystem: Filesystem::Xfs,
            uuid: uuid(&block[32..48]),
            label: label(&block[108..120]),
            size,
            has_errors: version >= 5 && be32(block, 216) & NEEDS_REPAIR != 0,
            needs_recovery: false,
            block_size,
        },
        journal: Bytes::new(journal),
    })
}

/// Reads a btrfs superblock from the bytes at [`BTRFS_OFFSET`].
pub(crate) fn btrfs(bytes: &[u8], device: Bytes) -> Verdict {
    const SUPER_FLAG_ERROR: u64 = 1 << 2;

    let Some(block) = bytes.get(..4096).filter(|block| &block[64..72] == b"_BHRfS_M") else { return Verdict::Absent };
    let damaged = |why: &str| Verdict::Other(format!("damaged btrfs ({why})"));
    let fits = match le16(block, 196) {
        0 => crc32c::crc32c(&block[32..]).to_le_bytes() == block[..4],
        2 => Sha256::digest(&block[32..])[..] == block[..32],
        // xxhash and blake2 cost a crate each, and mkfs uses them only when told to; the kernel checks them.
        1 | 3 => true,
        _ => false,
    };
    if !fits || le64(block, 48) != BTRFS_OFFSET {
        return damaged("the checksum of its superblock is wrong");
    }
    let devices = le64(block, 136);
    if devices != 1 {
        return Verdict::Other(format!("btrfs of {devices} devices"));
    }
    let size = le64(block, 112);
    if size == 0 || size > device.get() {
        return damaged("it is larger than the device");
    }
    Verdict::Sound(Superblock {
        info: FilesystemInfo {
            filesystem: Filesystem::Btrfs,
            uuid: uuid(&block[32..48]),
            label: label(&block[299..555]),
            size: Bytes::new(size),
            has_errors: le64(block, 56) & SUPER_FLAG_ERROR != 0,
            needs_recovery: le64(block, 96) != 0,
            block_size: le32(block, 144),
        },
        journal: Bytes::ZERO,
    })
}

/// The UUID of the XFS on `device`, if there is one.
pub(crate) fn xfs_uuid(device: &File) -> Option<[u8; 16]> {
    let mut sector = [0; 512];
    device.read_exact_at(&mut sector, 0).ok()?;
    (&sector[..4] == b"XFSB").then(|| sector[32..48].try_into().ok())?
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let uuid = Uuid::from_slice(bytes).ok()?;
    (!uuid.is_nil()).then(|| uuid.to_string())
}

fn label(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (end > 0).then(|| String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// The bytes of a field; zeros beyond the end, which the callers have excluded.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    at.checked_add(N).and_then(|end| bytes.get(at..end)?.try_into().ok()).unwrap_or([0; N])
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(field(bytes, at))
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(field(bytes, at))
}

pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(field(bytes, at))
}

#[cfg(test)]
mod tests;
