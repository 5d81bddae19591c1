//! What else may be on a device: everything that is worth a name when formatting is refused.
//!
//! The table is not what protects data (a device is formatted only when it is proved to be zero, see [`crate::blank`]); it tells
//! people what they have, and finds what hides beside a filesystem: a stale partition table, a RAID member around it.

use crate::superblock::{be32, be64, le16, le32, le64};

/// How much of the beginning of a device is looked at, in bytes.
pub(crate) const HEAD: usize = 2 << 20;
/// How much of its end, in bytes.
pub(crate) const TAIL: usize = 1 << 20;

/// Something that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it is, as people call it.
    pub(crate) name: String,
    /// Where its mark is, in bytes from the beginning of the device.
    pub(crate) offset: u64,
}

/// The two ends of a device.
pub(crate) struct Ends<'a> {
    /// The first bytes, at most [`HEAD`].
    pub(crate) head: &'a [u8],
    /// The last bytes, at most [`TAIL`].
    pub(crate) tail: &'a [u8],
    /// The size of the device in bytes.
    pub(crate) size: u64,
    /// Its logical sector size in bytes.
    pub(crate) sector: u32,
}

impl Ends<'_> {
    fn is(&self, at: usize, magic: &[u8]) -> bool {
        self.head.get(at..).is_some_and(|rest| rest.starts_with(magic))
    }

    /// `length` bytes at `offset`, which lies in the tail or in the head.
    fn at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let slice = |bytes: &'_ [u8], from: u64| -> Option<std::ops::Range<usize>> {
            let start = usize::try_from(offset.checked_sub(from)?).ok()?;
            let end = start.checked_add(length)?;
            (end <= bytes.len()).then_some(start..end)
        };
        let tail_from = self.size.checked_sub(self.tail.len() as u64)?;
        match slice(self.tail, tail_from) {
            Some(range) => Some(&self.tail[range]),
            None => slice(self.head, 0).map(|range| &self.head[range]),
        }
    }
}

/// Marks at one fixed place.
const MAGICS: &[(&str, usize, &[u8])] = &[
    ("LUKS1 header", 0, b"LUKS\xba\xbe\x00\x01"),
    ("LUKS2 header", 0, b"LUKS\xba\xbe\x00\x02"),
    ("LUKS2 header", 0x4000, b"SKUL\xba\xbe"),
    ("LUKS2 header", 0x8000, b"SKUL\xba\xbe"),
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("ReFS", 3, b"ReFS\0\0\0\0"),
    ("iso9660", 32769, b"CD001"),
    ("udf", 32769, b"BEA01"),
    ("squashfs", 0, b"hsqs"),
    ("squashfs", 0, b"sqsh"),
    ("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    ("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    ("cramfs", 0, &[0x45, 0x3d, 0xcd, 0x28]),
    ("romfs", 0, b"-rom1fs-"),
    ("reiserfs", 65536 + 52, b"ReIsEr"),
    ("reiserfs", 8192 + 52, b"ReIsEr"),
    ("reiser4", 65536, b"ReIsEr4"),
    ("jfs", 32768, b"JFS1"),
    ("hfsplus", 1024, b"H+\x00\x04"),
    ("hfsplus", 1024, b"HX\x00\x05"),
    ("apfs", 32, b"NXSB"),
    ("gfs2", 65536, &[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1]),
    ("ocfs2", 1024, b"OCFSV2"),
    ("ocfs2", 2048, b"OCFSV2"),
    ("ocfs2", 4096, b"OCFSV2"),
    ("ocfs2", 8192, b"OCFSV2"),
    ("vmfs", 0x10_0000, &[0x0d, 0xd0, 0x01, 0xc0]),
    ("vxfs", 1024, &[0xf5, 0xfc, 0x01, 0xa5]),
    ("vxfs", 8192, &[0xa5, 0x01, 0xfc, 0xf5]),
    ("bcachefs", 4096 + 24, &[0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9]),
    ("bcache device", 4096 + 24, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca]),
    ("Stratis pool device", 512 + 4, b"!Stra0tis\x86\xff\x02"),
    ("VDO volume", 0, b"dmvdo001"),
    ("Ceph BlueStore", 0, b"bluestore block device"),
    ("Oracle ASM disk", 32, b"ORCLDISK"),
    ("dm-integrity", 0, b"integrt\0"),
    ("dm-verity", 0, b"verity\0\0"),
    ("dm snapshot store", 0, b"SnAp"),
    ("qcow2 image", 0, b"QFI\xfb"),
    ("vmdk image", 0, b"KDMV"),
    ("vhdx image", 0, b"vhdxfile"),
    ("tar archive", 257, b"ustar"),
    ("SQLite database", 0, b"SQLite format 3\0"),
];

/// Everything that is recognised, each name once, with its first place.
pub(crate) fn find(ends: &Ends<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (name, at, magic) in MAGICS {
        if ends.is(*at, magic) {
            note(&mut found, name, *at as u64);
        }
    }
    lvm(ends, &mut found);
    swap(ends, &mut found);
    raid(ends, &mut found);
    zfs(ends, &mut found);
    fat(ends, &mut found);
    nilfs(ends, &mut found);
    partitions(ends, &mut found);
    found
}

fn note(found: &mut Vec<Found>, name: &str, offset: u64) {
    if !found.iter().any(|known| known.name == name) {
        found.push(Found { name: name.to_owned(), offset });
    }
}

/// A physical volume's label is in one of the first four sectors (LVM2, `lib/label/label.h`).
fn lvm(ends: &Ends<'_>, found: &mut Vec<Found>) {
    for at in [0, 512, 1024, 1536] {
        if ends.is(at, b"LABELONE") && ends.is(at + 24, b"LVM2 001") {
            note(found, "LVM physical volume", at as u64);
        }
    }
}

/// The mark is in the last bytes of the first page, and pages have many sizes.
fn swap(ends: &Ends<'_>, found: &mut Vec<Found>) {
    for page in [4096, 8192, 16384, 32768, 65536] {
        let at = page - 10;
        if ends.is(at, b"SWAPSPACE2") || ends.is(at, b"SWAP-SPACE") {
            note(found, "swap", at as u64);
        } else if [&b"S1SUSPEND\0"[..], b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"].iter().any(|magic| ends.is(at, magic)) {
            note(found, "hibernation image", at as u64);
        }
    }
}

/// Linux md (linux/raid/md_p.h), Intel and DDF containers, DRBD with internal metadata.
fn raid(ends: &Ends<'_>, found: &mut Vec<Found>) {
    const MD: u32 = 0xa92b_4efc;
    for (version, offset) in
        [("1.1", Some(0)), ("1.2", Some(4096)), ("1.0", ends.size.checked_sub(8192).map(|offset| offset & !4095))]
    {
        let Some((offset, block)) = offset.and_then(|offset| Some((offset, ends.at(offset, 256)?))) else { continue };
        // Its own place is in it, in sectors of 512 bytes, which tells a superblock from a copy of one in a file.
        if le32(block, 0) == MD && le32(block, 4) == 1 && le64(block, 144).checked_mul(512) == Some(offset) {
            note(found, &format!("md RAID member ({version})"), offset);
        }
    }
    if let Some(offset) = (ends.size & !0xffff).checked_sub(0x1_0000)
        && let Some(block) = ends.at(offset, 12)
        && [le32, be32].iter().any(|word| (word(block, 0), word(block, 4), word(block, 8)) == (MD, 0, 90))
    {
        note(found, "md RAID member (0.90)", offset);
    }
    for (name, back, magic) in [
        ("Intel RAID member", 1024, &b"Intel Raid ISM Cfg Sig. "[..]),
        ("DDF RAID member", 512, &[0xde, 0x11, 0xde, 0x11]),
        ("DRBD device", 4096 - 60, &[0x83, 0x74, 0x02, 0x6d]),
        ("DRBD device", 4096 - 60, &[0x83, 0x74, 0x02, 0x6b]),
    ] {
        if let Some(offset) = ends.size.checked_sub(back)
            && ends.at(offset, magic.len()) == Some(magic)
        {
            note(found, name, offset);
        }
    }
}

/// Four labels of 256 KiB, two at each end; the second half of each is a ring of uberblocks.
fn zfs(ends: &Ends<'_>, found: &mut Vec<Found>) {
    const UBERBLOCK: u64 = 0x00ba_b10c;
    const LABEL: u64 = 256 << 10;
    let end = ends.size / LABEL * LABEL;
    for label in [Some(0), Some(LABEL), end.checked_sub(2 * LABEL), end.checked_sub(LABEL)].into_iter().flatten() {
        let ring = (LABEL / 2..LABEL).step_by(1024).filter_map(|at| Some((label + at, ends.at(label + at, 8)?)));
        if let Some((offset, _)) = ring.into_iter().find(|(_, mark)| le64(mark, 0) == UBERBLOCK || be64(mark, 0) == UBERBLOCK) {
            note(found, "ZFS", offset);
        }
    }
}

/// A boot sector of FAT: the names in it are advisory, so its numbers are looked at too.
fn fat(ends: &Ends<'_>, found: &mut Vec<Found>) {
    let Some(sector) = ends.head.get(..512).filter(|sector| sector[510..] == [0x55, 0xaa]) else { return };
    let named = [(54, &b"FAT12   "[..]), (54, b"FAT16   "), (54, b"FAT     "), (82, b"FAT32   ")];
    let sector_size = le16(sector, 11);
    let sane = sector_size.is_power_of_two() && sector_size >= 512 && sector[13].is_power_of_two() && matches!(sector[16], 1 | 2);
    if sane && (named.iter().any(|(at, magic)| sector[*at..].starts_with(magic)) || matches!(sector[0], 0xe9 | 0xeb)) {
        note(found, "vfat", 0);
    }
}

/// Only two bytes of magic, so the checksum's seed and the revision must be there as well.
fn nilfs(ends: &Ends<'_>, found: &mut Vec<Found>) {
    if let Some(block) = ends.head.get(1024..2048)
        && le16(block, 6) == 0x3434
        && le32(block, 0) == 2
    {
        note(found, "nilfs2", 1024);
    }
}

/// GPT at both ends, and MBR when it is not only GPT's guard.
fn partitions(ends: &Ends<'_>, found: &mut Vec<Found>) {
    const GPT: &str = "GPT partition table";
    for sector in [512, 4096] {
        if gpt(ends, sector, sector) {
            note(found, GPT, sector);
        }
    }
    for sector in [u64::from(ends.sector), 512, 4096] {
        let last = ends.size.checked_sub(sector);
        if let Some(last) = last.filter(|last| gpt(ends, *last, sector))
            && !found.iter().any(|known| known.name == GPT)
        {
            note(found, "GPT partition table (the copy at the end)", last);
        }
    }
    let Some(sector) = ends.head.get(..512).filter(|sector| sector[510..] == [0x55, 0xaa]) else { return };
    let entries = || (0..4).map(|index| &sector[446 + index * 16..][..16]);
    let used = |entry: &&[u8]| entry[4] != 0 && le32(entry, 12) != 0;
    let sane = entries().all(|entry| matches!(entry[0], 0 | 0x80)) && entries().any(|entry| used(&entry));
    let guard = entries().filter(used).all(|entry| entry[4] == 0xee);
    if sane && !(guard && found.iter().any(|known| known.name == GPT)) && !found.iter().any(|known| known.offset < 512) {
        note(found, if guard { GPT } else { "MBR partition table" }, 0);
    }
}

/// A GPT header at `offset`: its mark, its own address and its checksum (UEFI, "GPT Header").
fn gpt(ends: &Ends<'_>, offset: u64, sector: u64) -> bool {
    let Some(header) = ends.at(offset, 512).filter(|header| header.starts_with(b"EFI PART")) else { return false };
    let length = usize::try_from(le32(header, 12)).unwrap_or(usize::MAX);
    if !(92..=512).contains(&length) || le64(header, 24).checked_mul(sector) != Some(offset) {
        return false;
    }
    let mut checked = header[..length].to_vec();
    checked[16..20].fill(0);
    crc32(&checked) == le32(header, 16)
}

/// The CRC-32 of IEEE 802.3, bit by bit: a header is 92 bytes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_fixed_mark_is_found_where_it_is() {
        let size = 4 << 20;
        let tail = vec![0; TAIL];
        for (name, at, magic) in MAGICS {
            let mut head = vec![0; HEAD];
            head[*at..*at + magic.len()].copy_from_slice(magic);
            let found = find(&Ends { head: &head, tail: &tail, size, sector: 512 });
            assert_eq!(found, [Found { name: (*name).to_owned(), offset: *at as u64 }]);
        }
        let zfs = |offset: usize| {
            let mut bytes = vec![0; HEAD];
            bytes[offset..offset + 8].copy_from_slice(&0x00ba_b10cu64.to_le_bytes());
            bytes
        };
        let found = find(&Ends { head: &zfs((128 << 10) + 5 * 1024), tail: &tail, size, sector: 512 });
        assert_eq!(found[0].name, "ZFS");
        let end = zfs(HEAD - (100 << 10) / 1024 * 1024);
        let found = find(&Ends { head: &[0; 4096], tail: &end[HEAD - TAIL..], size, sector: 512 });
        assert_eq!(found[0].name, "ZFS");
    }

    proptest! {
        #[test]
        fn any_ends_are_read_without_a_fault(
            mut head in prop::collection::vec(any::<u8>(), 0..9000),
            tail in prop::collection::vec(any::<u8>(), 0..9000),
            size in prop_oneof![any::<u64>(), 0u64..20_000],
            sector in prop_oneof![Just(512u32), Just(4096), any::<u32>()],
            mark in any::<prop::sample::Index>(),
        ) {
            let (_, at, magic) = MAGICS[mark.index(MAGICS.len())];
            if let Some(place) = head.get_mut(at..at + magic.len()) {
                place.copy_from_slice(magic);
            }
            let _ = find(&Ends { head: &head, tail: &tail, size, sector });
        }
    }
}
