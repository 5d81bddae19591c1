use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hawser_volume::Kind;

use super::*;
use crate::loopdev;

const SIZE: Bytes = Bytes::mib(320);

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// An image on a loop device, which is freed in the end.
struct Disk {
    image: PathBuf,
    _directory: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "loop devices need root: run the tests as root");
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        File::create(&image).unwrap().set_len(SIZE.get()).unwrap();
        Self { image, _directory: directory }
    }

    fn attach(&self) -> Device {
        loopdev::attach(&self.image, false).unwrap()
    }

    fn detach(&self) {
        for path in loopdev::of_image(&self.image).unwrap() {
            loopdev::detach(&path, &self.image, soon()).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for path in loopdev::of_image(&self.image).unwrap_or_default() {
            let _ = loopdev::detach(&path, &self.image, Deadline::after(Duration::from_millis(100)));
        }
    }
}

fn verify(image: &Path, filesystem: Filesystem) {
    let (program, arguments): (_, &[&str]) = match filesystem {
        Filesystem::Ext4 => ("e2fsck", &["-fn"]),
        Filesystem::Xfs => ("xfs_repair", &["-n"]),
        Filesystem::Btrfs => ("btrfs", &["check", "--readonly"]),
    };
    let output = Command::new(program).args(arguments).arg(image).output().expect("the checker is installed");
    assert!(output.status.success(), "{filesystem}: {output:?}");
}

#[test]
fn stopping_anywhere_leaves_what_may_be_made_again() {
    let options = FormatOptions { volume: "local:v1".into(), arguments: Vec::new() };
    let unfinished = Content::Unfinished { volume: "local:v1".into() };
    for filesystem in Filesystem::ALL {
        for stop in [
            Step::Made,
            Step::Marked,
            Step::Cleared,
            Step::Copied(0),
            Step::Copied(1),
            Step::Copied(2),
            Step::Filled,
            Step::Finished,
        ] {
            let disk = Disk::new();
            let device = disk.attach();
            let mut stopping = |step| if step == stop { Err(Error::internal("stopped")) } else { Ok(()) };
            let error = run(&device, filesystem, &options, soon(), &mut stopping).unwrap_err();
            assert_eq!(error.to_string(), "stopped");
            // Twice, so that an attempt over the remains of another one is stopped too.
            for _ in 0..2 {
                let found = signature::probe(&device).unwrap();
                match stop {
                    Step::Made => assert_eq!(found, Content::Blank),
                    Step::Finished => assert!(matches!(found, Content::Filesystem(info) if info.filesystem == filesystem)),
                    _ => assert_eq!(found, unfinished, "{filesystem} after {stop:?}"),
                }
                if stop != Step::Finished {
                    run(&device, filesystem, &options, soon(), &mut stopping).unwrap_err();
                }
            }
            if stop != Step::Finished {
                format(&device, filesystem, &options, soon()).unwrap();
            }
            assert!(matches!(signature::probe(&device).unwrap(), Content::Filesystem(info) if info.filesystem == filesystem));
            drop(device);
            disk.detach();
            verify(&disk.image, filesystem);
        }
    }
}

/// The claim that the format rests on: whatever is on the device, what mkfs touched is the whole filesystem. So it is laid over
/// garbage, and the filesystem's own checker has to find nothing.
#[test]
fn what_mkfs_touched_is_the_whole_filesystem() {
    for in_memory in [false, true] {
        for (filesystem, size) in
            [(Filesystem::Ext4, Bytes::mib(200)), (Filesystem::Xfs, SIZE), (Filesystem::Btrfs, Bytes::mib(200))]
        {
            let scratch = if in_memory { Scratch::in_memory(size) } else { Scratch::new(&std::env::temp_dir(), size) }.unwrap();
            scratch.make(filesystem, 512, &[], soon()).unwrap();
            let touched = scratch.touched().unwrap();
            inspect(&scratch, filesystem, 512, size, &touched).unwrap();

            let directory = tempfile::tempdir().unwrap();
            let image = directory.path().join("image");
            let file = File::options().create_new(true).read(true).write(true).open(&image).unwrap();
            for at in (0..size.get()).step_by(1 << 20) {
                file.write_all_at(&[0xa5; 1 << 20], at).unwrap();
            }
            let disk = Exclusive { file, size, sector: 512 };
            for (range, touch) in touched {
                match touch {
                    Touch::Zeroed => disk.zero(range, soon()).unwrap(),
                    Touch::Written => disk.copy(scratch.file(), range, soon()).unwrap(),
                }
            }
            verify(&image, filesystem);
        }
    }
}

#[test]
fn a_scratch_image_without_its_journal_is_noticed() {
    let scratch = Scratch::new(&std::env::temp_dir(), SIZE).unwrap();
    scratch.make(Filesystem::Ext4, 512, &[], soon()).unwrap();
    let touched = scratch.touched().unwrap();
    inspect(&scratch, Filesystem::Ext4, 512, SIZE, &touched).unwrap();
    let written: Vec<_> = touched.into_iter().filter(|(_, touch)| *touch == Touch::Written).collect();
    assert_eq!(inspect(&scratch, Filesystem::Ext4, 512, SIZE, &written).unwrap_err().kind(), Kind::Exhausted);
    assert_eq!(inspect(&scratch, Filesystem::Xfs, 512, SIZE, &written).unwrap_err().kind(), Kind::Internal);
}
