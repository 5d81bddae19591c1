//! Making filesystems, and being killed while at it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hawser_host::{Content, FormatOptions, Host, Linux};
use hawser_volume::{Bytes, Deadline, Filesystem, Kind};

use crate::place::{Place, SIZE, fill, format, info, run, soon, text, unmount, verify};

/// Set in a process that does nothing but format the image that it names.
const CHILD: &str = "HAWSER_TEST_FORMAT";

#[test]
fn every_filesystem_is_made_whole_and_stays_sparse() {
    for filesystem in Filesystem::ALL {
        for size in [SIZE, Bytes::gib(10), Bytes::gib(300)] {
            let place = Place::new();
            let device = place.device("image", size);
            let began = Instant::now();
            format(&device, filesystem);
            eprintln!("{filesystem} on {size}: {:?}", began.elapsed());
            assert_eq!(info(&device).size, size);
            let path = device.path.clone();
            drop(device);
            Linux.detach_loop(&path, &place.path("image"), soon()).unwrap();
            let blocks = place.path("image").metadata().unwrap().blocks();
            assert!(blocks * 512 < 64 << 20, "{filesystem} on {size} takes {} KiB", blocks / 2);
            verify(&place.path("image"), filesystem);
        }
    }
}

#[test]
fn a_filesystem_is_what_mkfs_makes_on_the_device_itself() {
    for (filesystem, arguments) in [
        (
            Filesystem::Ext4,
            &["-U", "11111111-2222-3333-4444-555555555555", "-E", "hash_seed=11111111-2222-3333-4444-555555555555"][..],
        ),
        (Filesystem::Xfs, &["-m", "uuid=11111111-2222-3333-4444-555555555555"]),
    ] {
        let place = Place::new();
        let device = place.device("image", SIZE);
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let options = FormatOptions { volume: "local:test".into(), arguments };
        Linux.format(&device, filesystem, &options, soon()).unwrap();
        assert_eq!(info(&device).uuid.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
        let mount = place.mounted(&device, filesystem, "mount", &[]);
        fill(&mount.join("data"), 50);
        unmount(&mount);
        let path = device.path.clone();
        drop(device);
        Linux.detach_loop(&path, &place.path("image"), soon()).unwrap();
        verify(&place.path("image"), filesystem);
    }
}

#[test]
fn a_device_with_large_sectors_is_formatted_too() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let image = place.image("image", SIZE);
        let path = run("losetup", &["--sector-size", "4096", "-f", "--show", text(&image)]);
        let device = Linux.open_device(Path::new(path.trim()), false).unwrap();
        assert_eq!(device.sector, 4096);
        assert_eq!(Linux.probe(&device).unwrap(), Content::Blank);
        kill_once_marked(&image, filesystem, Duration::ZERO);
        if matches!(Linux.probe(&device).unwrap(), Content::Unfinished { .. }) {
            format(&device, filesystem);
        }
        assert_eq!(info(&device).filesystem, filesystem);
        let mount = place.mounted(&device, filesystem, "mount", &[]);
        fill(&mount.join("data"), 20);
        unmount(&mount);
        let path = device.path.clone();
        drop(device);
        Linux.detach_loop(&path, &image, soon()).unwrap();
        verify(&image, filesystem);
    }
}

#[test]
fn what_is_mounted_or_holds_data_is_left_alone() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let options = FormatOptions { volume: "local:other".into(), arguments: vec!["-f".into()] };
        let error = Linux.format(&device, filesystem, &options, soon()).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition);
        assert!(error.to_string().contains(filesystem.as_str()), "{error:?}");
        let mount = place.mounted(&device, filesystem, "mount", &[]);
        let error = Linux.format(&device, filesystem, &options, soon()).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error:?}");
        unmount(&mount);
    }
}

#[test]
fn a_blank_device_that_somebody_else_formats_at_this_moment_is_refused() {
    let place = Place::new();
    let device = place.device("image", SIZE);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = Filesystem::ALL
            .into_iter()
            .map(|filesystem| {
                let device = Linux.open_device(&device.path, false).unwrap();
                scope.spawn(move || Linux.format(&device, filesystem, &FormatOptions::default(), soon()))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    info(&device);
}

#[test]
fn a_refusal_of_mkfs_leaves_the_device_blank_and_says_why() {
    let place = Place::new();
    let device = place.device("image", Bytes::mib(20));
    let error = Linux.format(&device, Filesystem::Xfs, &FormatOptions::default(), soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "{error:?}");
    assert!(error.to_string().contains("mkfs.xfs"), "{error:?}");
    let options = FormatOptions { volume: "x:y".into(), arguments: vec!["--nonsense".into()] };
    assert_eq!(Linux.format(&device, Filesystem::Ext4, &options, soon()).unwrap_err().kind(), Kind::Precondition);
    let options = FormatOptions { volume: "x:y".into(), arguments: vec!["-t".into(), "ext2".into()] };
    assert_eq!(Linux.format(&device, Filesystem::Ext4, &options, soon()).unwrap_err().kind(), Kind::Internal);
    let late = Deadline::after(Duration::ZERO);
    let error = Linux.format(&device, Filesystem::Ext4, &FormatOptions::default(), late).unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    assert_eq!(Linux.probe(&device).unwrap(), Content::Blank);
    let reader = Linux.attach_loop(&place.path("image"), true).unwrap();
    assert_eq!(
        Linux.format(&reader, Filesystem::Ext4, &FormatOptions::default(), soon()).unwrap_err().kind(),
        Kind::Precondition
    );
}

/// A used disk that carries the mark: whatever is left of other filesystems must not shine through the new one.
#[test]
fn nothing_of_an_earlier_attempt_is_left_that_matters() {
    for earlier in Filesystem::ALL {
        for filesystem in Filesystem::ALL {
            let place = Place::new();
            // The mark itself, from an attempt that is stopped once it is there.
            let marked = place.device("marked", SIZE);
            let mark = mark_of(&place, &marked.path);
            let device = place.formatted("image", earlier);
            let mount = place.mounted(&device, earlier, "mount", &[]);
            fill(&mount.join("data"), 100);
            unmount(&mount);
            device.file.write_all_at(&mark, 0).unwrap();
            device.flush().unwrap();
            assert_eq!(Linux.probe(&device).unwrap(), Content::Unfinished { volume: "local:killed".into() });
            format(&device, filesystem);
            let mount = place.mounted(&device, filesystem, "mount", &[]);
            assert!(!mount.join("data").exists());
            fill(&mount.join("data"), 100);
            unmount(&mount);
            let path = device.path.clone();
            drop(device);
            Linux.detach_loop(&path, &place.path("image"), soon()).unwrap();
            verify(&place.path("image"), filesystem);
            let blkid = run("blkid", &["-p", "-o", "value", "-s", "TYPE", text(&place.path("image"))]);
            assert_eq!(blkid.trim(), filesystem.as_str(), "{earlier} shines through");
        }
    }
}

/// The first sector of a device that a killed process has left unfinished.
fn mark_of(place: &Place, device: &Path) -> [u8; 512] {
    let image = place.path("marked");
    let mut sector = [0; 512];
    loop {
        kill_once_marked(&image, Filesystem::Xfs, Duration::ZERO);
        File::open(device).and_then(|mut file| file.read_exact(&mut sector)).expect("read the device");
        if sector.starts_with(b"hawser: unfinished") {
            return sector;
        }
        // It came too late: back to a device without anything.
        run("blkdiscard", &["-f", "-z", text(device)]);
    }
}

#[test]
fn killing_it_at_any_moment_leaves_nothing_half_made() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let image = place.image("image", SIZE);
        let mut seen = [0; 3];
        for round in 0..48u64 {
            if round % 2 == 0 {
                kill_after(&image, filesystem, Duration::from_millis(10 + round * 4));
            } else {
                kill_once_marked(&image, filesystem, Duration::from_micros(round * 150));
            }
            let device = Linux.attach_loop(&image, false).unwrap();
            match Linux.probe(&device).unwrap() {
                Content::Blank => seen[0] += 1,
                Content::Unfinished { volume } => {
                    assert_eq!(volume, "local:killed");
                    seen[1] += 1;
                }
                Content::Filesystem(info) => {
                    assert_eq!(info.filesystem, filesystem);
                    seen[2] += 1;
                    let path = device.path.clone();
                    drop(device);
                    Linux.detach_loop(&path, &image, soon()).unwrap();
                    verify(&image, filesystem);
                    place.image("image", SIZE);
                    continue;
                }
                Content::Foreign(name) => panic!("killed after {round} rounds: {name}"),
            }
            if round % 4 == 3 {
                format(&device, filesystem);
                let mount = place.mounted(&device, filesystem, "mount", &[]);
                fill(&mount.join("data"), 30);
                unmount(&mount);
                let path = device.path.clone();
                drop(device);
                Linux.detach_loop(&path, &image, soon()).unwrap();
                verify(&image, filesystem);
                place.image("image", SIZE);
            }
        }
        eprintln!("{filesystem}: blank, unfinished, finished = {seen:?}");
        assert!(seen[1] > 0, "it was never killed in the middle");
    }
}

/// Formats `image` in another process and kills that after `delay`.
fn kill_after(image: &Path, filesystem: Filesystem, delay: Duration) {
    let child = start(image, filesystem);
    std::thread::sleep(delay);
    kill(child, image);
}

/// Formats `image` in another process and kills that `delay` after the mark has appeared.
fn kill_once_marked(image: &Path, filesystem: Filesystem, delay: Duration) {
    let mut child = start(image, filesystem);
    let file = File::open(image).expect("the image is there");
    let mut first = [0; 8];
    while child.try_wait().expect("ask for the child").is_none() {
        file.read_exact_at(&mut first, 0).expect("read the image");
        if &first == b"hawser: " {
            std::thread::sleep(delay);
            break;
        }
    }
    kill(child, image);
}

fn start(image: &Path, filesystem: Filesystem) -> Child {
    Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", "formatting::the_process_that_is_killed", "--nocapture"])
        .env(CHILD, format!("{filesystem}:{}", text(image)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start this program again")
}

fn kill(mut child: Child, image: &Path) {
    let _ = child.kill();
    child.wait().expect("wait for the child");
    // mkfs may outlive its parent by a moment; it has only the scratch image.
    assert!(Linux.loops_of(image).expect("list loops").len() <= 1);
}

/// Not a test of its own: the body of the child of [`kill_after`].
#[test]
fn the_process_that_is_killed() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (filesystem, image) = task.split_once(':').unwrap();
    let device = Linux.attach_loop(Path::new(image), false).unwrap();
    let options = FormatOptions { volume: "local:killed".into(), arguments: Vec::new() };
    Linux.format(&device, filesystem.parse().unwrap(), &options, soon()).unwrap();
}
