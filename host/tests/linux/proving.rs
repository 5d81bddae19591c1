//! What may be formatted: the proof that a device is blank, and what does not pass it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use hawser_host::{Content, FormatOptions, Host, Linux};
use hawser_volume::{Bytes, Filesystem, Kind};

use crate::place::{Place, SIZE, resize, soon, unmount};
use crate::signatures::{MIB, foreign, probe};

#[test]
fn a_damaged_superblock_is_never_blank() {
    for (filesystem, at) in [(Filesystem::Ext4, 1024 + 200), (Filesystem::Xfs, 140), (Filesystem::Btrfs, 65536 + 90)] {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let mut byte = [0];
        device.file.read_exact_at(&mut byte, at).unwrap();
        device.file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        device.flush().unwrap();
        let name = foreign(&device);
        assert!(name.starts_with(&format!("damaged {filesystem}")), "{name}");
        // And without any magic at all it is data.
        device.file.write_all_at(&[0; 128 << 10], 0).unwrap();
        device.flush().unwrap();
        let name = foreign(&device);
        assert!(name.starts_with("unknown data at byte"), "{name}");
    }
}

#[test]
fn a_filesystem_that_is_larger_than_its_device_is_damaged() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let path = place.formatted("image", filesystem).path;
        Linux.detach_loop(&path, &place.path("image"), soon()).unwrap();
        resize(&place.path("image"), Bytes::mib(310));
        let device = Linux.attach_loop(&place.path("image"), false).unwrap();
        assert_eq!(foreign(&device), format!("damaged {filesystem} (it is larger than the device)"));
    }
}

#[test]
fn a_single_byte_anywhere_on_a_small_device_is_data() {
    let place = Place::new();
    let device = place.device("image", Bytes::mib(200));
    assert_eq!(probe(&device), Content::Blank);
    for at in [0, 511, 512, 9 << 20, 77 * MIB + 13, 200 * MIB - 1] {
        device.file.write_all_at(&[1], at).unwrap();
        device.flush().unwrap();
        assert_eq!(foreign(&device), format!("unknown data at byte {at}"));
        device.file.write_all_at(&[0], at).unwrap();
    }
}

#[test]
fn random_bytes_are_data() {
    let place = Place::new();
    let device = place.device("image", Bytes::gib(40));
    let mut random = vec![0; 64 << 10];
    std::io::Read::read_exact(&mut File::open("/dev/urandom").unwrap(), &mut random).unwrap();
    for at in [0, 4096, 64 * MIB, 128 * MIB, 20 * 1024 * MIB, 40 * 1024 * MIB - random.len() as u64] {
        device.file.write_all_at(&random, at).unwrap();
        device.flush().unwrap();
        assert!(foreign(&device).starts_with("unknown data at byte"), "{at}");
        device.file.write_all_at(&vec![0; random.len()], at).unwrap();
    }
    device.flush().unwrap();
    assert_eq!(probe(&device), Content::Blank);
}

/// A mounted filesystem writes its superblock while it is read.
#[test]
fn a_filesystem_in_use_is_read_as_sound() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let mount = place.mounted(&device, filesystem, "mount", &[]);
        let mut writer = Command::new("sh")
            .arg("-c")
            .arg("while read -r line; do echo x > f; sync f; mkdir d; rmdir d; rm f; done")
            .current_dir(&mount)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut go = writer.stdin.take().unwrap();
        let found: Vec<Content> = (0..40)
            .map(|_| {
                go.write_all(b"again\n").unwrap();
                probe(&device)
            })
            .collect();
        drop(go);
        assert!(writer.wait().unwrap().success());
        for content in found {
            assert!(matches!(&content, Content::Filesystem(info) if info.filesystem == filesystem), "{content:?}");
        }
    }
}

/// Data that cannot be read, on an image whose readable bytes are all zero.
#[test]
fn a_device_that_cannot_be_read_is_not_blank() {
    let place = Place::new();
    let below = place.formatted("below", Filesystem::Btrfs);
    let mount = place.mounted(&below, Filesystem::Btrfs, "mount", &[]);
    let image = mount.join("image");
    let mark = b"these bytes are going to be unreadable";
    let mut contents = vec![0; 16 << 20];
    for page in contents.chunks_mut(4096) {
        page[..mark.len()].copy_from_slice(mark);
    }
    std::fs::write(&image, contents).unwrap();
    unmount(&mount);
    // Behind the filesystem's back every page of the file becomes zero, which its checksums deny.
    let mut disk = vec![0; usize::try_from(SIZE.get()).unwrap()];
    below.file.read_exact_at(&mut disk, 0).unwrap();
    let mut spoilt = 0;
    for (index, page) in disk.chunks(4096).enumerate() {
        if page.starts_with(mark) {
            below.file.write_all_at(&[0; 4096], index as u64 * 4096).unwrap();
            spoilt += 1;
        }
    }
    assert!(spoilt >= 4096, "{spoilt}");
    below.flush().unwrap();
    place.mounted(&below, Filesystem::Btrfs, "mount", &[]);
    let device = Linux.attach_loop(&image, false).unwrap();
    let error = Linux.probe(&device).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
    assert!(error.chain().contains("os error 5"), "{error:?}");
    let error = Linux.format(&device, Filesystem::Ext4, &FormatOptions::default(), soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
    let path = device.path.clone();
    drop(device);
    Linux.detach_loop(&path, &image, soon()).unwrap();
}
