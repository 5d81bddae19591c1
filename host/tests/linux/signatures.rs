//! What is on a device: everything that the machine's own tools can put there.

use std::os::unix::fs::FileExt;

use hawser_host::{Content, Device, FormatOptions, Host, Linux};
use hawser_volume::{Bytes, Filesystem, Kind};

use crate::place::{Place, info, run, soon, text};

pub const MIB: u64 = 1 << 20;

pub fn probe(device: &Device) -> Content {
    Linux.probe(device).expect("probe")
}

/// The name of what is on the device, which nobody may format.
pub fn foreign(device: &Device) -> String {
    let before = contents_of(device);
    let Content::Foreign(name) = probe(device) else { panic!("{:?}", probe(device)) };
    for filesystem in Filesystem::ALL {
        let options = FormatOptions { volume: "local:test".into(), arguments: vec!["-f".into()] };
        let error = Linux.format(device, filesystem, &options, soon()).expect_err("this must not be formatted");
        assert_eq!(error.kind(), Kind::Precondition, "{error:?}");
        assert!(error.to_string().contains(&name), "{error:?}");
    }
    assert!(before == contents_of(device), "a refused format changed the device");
    name
}

/// The first and the last MiB.
fn contents_of(device: &Device) -> Vec<u8> {
    let mut bytes = vec![0; 2 << 20];
    device.file.read_exact_at(&mut bytes[..1 << 20], 0).expect("read the beginning");
    device.file.read_exact_at(&mut bytes[1 << 20..], device.size.get() - MIB).expect("read the end");
    bytes
}

/// Runs a tool on a fresh device and gives the name of what it made. `{}` stands for the device.
fn made_by(size: Bytes, commands: &[&[&str]]) -> String {
    let place = Place::new();
    let device = place.device("image", size);
    assert_eq!(probe(&device), Content::Blank);
    for command in commands {
        let arguments: Vec<&str> =
            command[1..].iter().map(|argument| if *argument == "{}" { text(&device.path) } else { argument }).collect();
        run(command[0], &arguments);
    }
    device.flush().expect("flush");
    foreign(&device)
}

#[test]
fn the_whole_ext_family_is_told_apart() {
    let size = Bytes::mib(64);
    assert_eq!(made_by(size, &[&["mkfs.ext2", "-q", "-F", "{}"]]), "ext2");
    assert_eq!(made_by(size, &[&["mkfs.ext3", "-q", "-F", "{}"]]), "ext3");
    assert_eq!(made_by(size, &[&["mke2fs", "-q", "-F", "-O", "journal_dev", "{}"]]), "ext4 external journal");
}

#[test]
fn other_filesystems_are_named() {
    let size = Bytes::mib(64);
    assert_eq!(made_by(size, &[&["mkfs.ntfs", "-q", "-F", "{}"]]), "ntfs");
    assert_eq!(made_by(size, &[&["mkfs.exfat", "{}"]]), "exfat");
    assert_eq!(made_by(size, &[&["mkfs.vfat", "-F", "16", "-I", "{}"]]), "vfat");
    assert_eq!(made_by(size, &[&["mkfs.vfat", "-F", "32", "-I", "{}"]]), "vfat");
}

#[test]
fn images_are_named() {
    for (tool, name) in [
        (["genisoimage", "-quiet", "-o", "{image}", "{tree}"].as_slice(), "iso9660"),
        (&["mksquashfs", "{tree}", "{image}", "-quiet", "-no-progress"], "squashfs"),
        (&["mkfs.erofs", "{image}", "{tree}"], "erofs"),
    ] {
        let place = Place::new();
        let (tree, image) = (place.path("tree"), place.path("made"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("file"), [7; 100_000]).unwrap();
        let arguments: Vec<&str> = tool[1..]
            .iter()
            .map(|argument| match *argument {
                "{image}" => text(&image),
                "{tree}" => text(&tree),
                other => other,
            })
            .collect();
        run(tool[0], &arguments);
        let device = place.device("image", Bytes::mib(16));
        device.file.write_all_at(&std::fs::read(&image).unwrap(), 0).unwrap();
        device.flush().unwrap();
        assert_eq!(foreign(&device), name);
    }
}

#[test]
fn what_is_no_filesystem_is_named() {
    let size = Bytes::mib(64);
    assert_eq!(made_by(size, &[&["mkswap", "-q", "{}"]]), "swap");
    assert_eq!(made_by(size, &[&["pvcreate", "-q", "-y", "{}"]]), "LVM physical volume");
}

#[test]
fn encrypted_volumes_are_named_even_without_their_first_header() {
    for (kind, name) in [("luks1", "LUKS1 header"), ("luks2", "LUKS2 header")] {
        let place = Place::new();
        let device = place.device("image", Bytes::mib(64));
        std::fs::write(place.path("key"), "correct horse").unwrap();
        let key = place.path("key");
        let pbkdf: &[&str] = if kind == "luks2" { &["--pbkdf", "pbkdf2"] } else { &[] };
        let mut arguments = vec!["luksFormat", "-q", "--type", kind, "--pbkdf-force-iterations", "1000"];
        arguments.extend(pbkdf);
        arguments.extend([text(&device.path), text(&key)]);
        run("cryptsetup", &arguments);
        device.flush().unwrap();
        assert_eq!(foreign(&device), name);
        device.file.write_all_at(&[0; 16384], 0).unwrap();
        device.flush().unwrap();
        let rest = foreign(&device);
        assert!(rest == name || rest.starts_with("unknown data at byte"), "{rest}");
    }
}

/// An md superblock of format 1 as the kernel writes it (linux/raid/md_p.h), at `at` bytes.
fn md_superblock(at: u64) -> Vec<u8> {
    let mut block = vec![0; 256 + 4];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &0xa92b_4efcu32.to_le_bytes());
    put(4, &1u32.to_le_bytes());
    put(16, &[7; 16]);
    put(32, b"test:0");
    put(72, &1u32.to_le_bytes());
    put(80, &1000u64.to_le_bytes());
    put(92, &1u32.to_le_bytes());
    put(128, &2048u64.to_le_bytes());
    put(136, &1000u64.to_le_bytes());
    put(144, &(at / 512).to_le_bytes());
    put(168, &[9; 16]);
    put(220, &1u32.to_le_bytes());
    let (words, _) = block.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum();
    let sum = u32::try_from((sum & 0xffff_ffff) + (sum >> 32)).expect("a carry is added once");
    block[216..220].copy_from_slice(&sum.to_le_bytes());
    block
}

#[test]
fn raid_members_are_named_and_a_filesystem_in_front_does_not_hide_them() {
    let size = Bytes::mib(320);
    let end = (size.get() - 8192) & !4095;
    for (version, at) in [("1.1", 0), ("1.2", 4096), ("1.0", end)] {
        let place = Place::new();
        let device = place.device("image", size);
        device.file.write_all_at(&md_superblock(at), at).unwrap();
        device.flush().unwrap();
        assert_eq!(foreign(&device), format!("md RAID member ({version})"));
        let examined = run("mdadm", &["--examine", text(&device.path)]);
        assert!(examined.contains(&format!("Version : {}", if version == "1.0" { "1.0" } else { version })), "{examined}");
    }
    // A mirror whose superblock is at the end: what is in front of it looks like a filesystem, and is smaller than the disk.
    for filesystem in ["ext4", "xfs", "btrfs"] {
        let place = Place::new();
        let device = place.device("image", size);
        let smaller = (size.get() - MIB).to_string();
        let blocks = (size.get() / 4096 - 256).to_string();
        match filesystem {
            "ext4" => run("mkfs.ext4", &["-q", "-F", "-b", "4096", text(&device.path), &blocks]),
            "xfs" => run("mkfs.xfs", &["-q", "-d", &format!("size={smaller}"), text(&device.path)]),
            _ => run("mkfs.btrfs", &["-q", "-b", &smaller, text(&device.path)]),
        };
        device.flush().unwrap();
        assert!(matches!(probe(&device), Content::Filesystem(_)), "{:?}", probe(&device));
        device.file.write_all_at(&md_superblock(end), end).unwrap();
        device.flush().unwrap();
        assert_eq!(foreign(&device), format!("{filesystem} and md RAID member (1.0)"));
    }
    // A new owner that wrote its mark over the metadata of an old filesystem.
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Xfs);
    device.file.write_all_at(&md_superblock(4096), 4096).unwrap();
    device.flush().unwrap();
    assert_eq!(foreign(&device), "xfs and md RAID member (1.2)");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 })
    })
}

/// A GPT header for sector `at` of a disk of `sectors` sectors of 512 bytes (UEFI, "GPT Header").
fn gpt_header(at: u64, sectors: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"EFI PART");
    put(8, &0x1_0000u32.to_le_bytes());
    put(12, &92u32.to_le_bytes());
    put(24, &at.to_le_bytes());
    put(32, &(sectors - at).to_le_bytes());
    put(40, &34u64.to_le_bytes());
    put(48, &(sectors - 34).to_le_bytes());
    put(56, &[5; 16]);
    put(72, &2u64.to_le_bytes());
    put(80, &128u32.to_le_bytes());
    put(84, &128u32.to_le_bytes());
    put(88, &crc32(&[0; 16384]).to_le_bytes());
    let sum = crc32(&header[..92]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    header
}

fn mbr(kind: u8) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[446 + 4] = kind;
    sector[446 + 8..446 + 16].copy_from_slice(&[0, 8, 0, 0, 0, 0, 1, 0]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[test]
fn partition_tables_are_named_beside_a_filesystem_too() {
    let size = Bytes::mib(320);
    let sectors = size.get() / 512;
    let place = Place::new();
    let device = place.device("image", size);
    let put = |sector: u64, bytes: &[u8; 512]| {
        device.file.write_all_at(bytes, sector * 512).unwrap();
        device.flush().unwrap();
    };
    put(0, &mbr(0x83));
    assert_eq!(foreign(&device), "MBR partition table");
    put(0, &mbr(0xee));
    put(1, &gpt_header(1, sectors));
    assert_eq!(foreign(&device), "GPT partition table");
    put(sectors - 1, &gpt_header(sectors - 1, sectors));
    assert_eq!(foreign(&device), "GPT partition table");
    put(0, &[0; 512]);
    put(1, &[0; 512]);
    assert_eq!(foreign(&device), "GPT partition table (the copy at the end)");
    put(sectors - 1, &[0; 512]);
    assert_eq!(probe(&device), Content::Blank);

    crate::place::format(&device, Filesystem::Ext4);
    put(0, &mbr(0x83));
    assert_eq!(foreign(&device), "ext4 and MBR partition table");
    put(0, &[0; 512]);
    put(1, &gpt_header(1, sectors));
    assert_eq!(foreign(&device), "ext4 and GPT partition table");
    put(1, &[0; 512]);
    assert_eq!(info(&device).filesystem, Filesystem::Ext4);
    // At the end it may be what a user's file contains: the filesystem covers that place.
    put(sectors - 1, &gpt_header(sectors - 1, sectors));
    assert_eq!(info(&device).filesystem, Filesystem::Ext4);
}

#[test]
fn two_filesystems_at_once_are_none() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Btrfs);
    let other = place.formatted("other", Filesystem::Ext4);
    let mut block = [0; 1024];
    other.file.read_exact_at(&mut block, 1024).unwrap();
    device.file.write_all_at(&block, 1024).unwrap();
    device.flush().unwrap();
    assert_eq!(foreign(&device), "ext4 and btrfs");
}

#[test]
fn sound_filesystems_of_the_systems_own_tools_are_read() {
    for (tool, label) in [
        (&["mkfs.ext4", "-q", "-F", "-L", "data"][..], "data"),
        (&["mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "^metadata_csum,^64bit", "-L", "old"], "old"),
        (&["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-L", "none"], "none"),
        (&["mkfs.xfs", "-q", "-L", "x"], "x"),
        (&["mkfs.btrfs", "-q", "-L", "a label with blanks"], "a label with blanks"),
        (&["mkfs.btrfs", "-q", "--csum", "sha256", "-L", "sha"], "sha"),
        (&["mkfs.btrfs", "-q", "--csum", "xxhash", "-L", "xx"], "xx"),
        (&["mkfs.btrfs", "-q", "--csum", "blake2", "-L", "blake"], "blake"),
    ] {
        let place = Place::new();
        let device = place.device("image", Bytes::mib(320));
        let mut arguments = tool[1..].to_vec();
        arguments.push(text(&device.path));
        run(tool[0], &arguments);
        device.flush().unwrap();
        let info = info(&device);
        assert_eq!(info.label.as_deref(), Some(label));
        assert_eq!(format!("mkfs.{}", info.filesystem), tool[0]);
        assert!(!info.has_errors && !info.needs_recovery);
        assert_eq!(info.size, device.size, "{tool:?}");
        let blkid = run("blkid", &["-p", "-o", "value", "-s", "UUID", text(&device.path)]);
        assert_eq!(info.uuid.as_deref(), Some(blkid.trim()));
    }
}
