//! Loop devices: one for an image, however many ask, and gone when it is detached.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use hawser_host::{Device, DeviceNumber, Host, Linux};
use hawser_volume::{Bytes, Deadline, Filesystem, Kind};

use crate::place::{Place, resize, run, soon, text, unmount};

const SMALL: Bytes = Bytes::mib(8);

fn shortly() -> Deadline {
    Deadline::after(Duration::from_millis(300))
}

#[test]
fn an_image_is_bound_once_found_by_number_and_freed() {
    let place = Place::new();
    let image = place.image("image", SMALL);
    assert!(Linux.loops_of(&image).unwrap().is_empty());
    let device = Linux.attach_loop(&image, false).unwrap();
    assert_eq!((device.size, device.sector, device.read_only), (SMALL, 512, false));
    let again = Linux.attach_loop(&image, false).unwrap();
    assert_eq!(again.number, device.number);
    std::fs::hard_link(&image, place.path("other name")).unwrap();
    assert_eq!(Linux.loops_of(&place.path("other name")).unwrap(), std::slice::from_ref(&device.path));
    assert_eq!(Linux.loop_image(device.number).unwrap().as_deref(), Some(&*image));
    let (path, number) = (device.path.clone(), device.number);
    drop((device, again));
    Linux.detach_loop(&path, &image, soon()).unwrap();
    Linux.detach_loop(&path, &image, soon()).unwrap();
    assert!(Linux.loops_of(&image).unwrap().is_empty());
    assert_ne!(Linux.loop_image(number).unwrap().as_deref(), Some(&*image));
}

#[test]
fn what_is_written_is_in_the_image_when_it_is_detached() {
    use std::os::unix::fs::FileExt;
    let place = Place::new();
    let image = place.image("image", SMALL);
    let device = Linux.attach_loop(&image, false).unwrap();
    device.file.write_all_at(&[7; 100_000], 123_456).unwrap();
    let path = device.path.clone();
    drop(device);
    Linux.detach_loop(&path, &image, soon()).unwrap();
    let mut found = vec![0; 100_000];
    File::open(&image).unwrap().read_exact_at(&mut found, 123_456).unwrap();
    assert_eq!(found, vec![7; 100_000]);
}

#[test]
fn many_who_attach_the_same_image_share_one_device() {
    let place = Place::new();
    let image = place.image("image", SMALL);
    for _ in 0..10 {
        let barrier = Barrier::new(8);
        let numbers: HashSet<DeviceNumber> = std::thread::scope(|scope| {
            let attach = || {
                barrier.wait();
                Linux.attach_loop(&image, false).unwrap().number
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(attach)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(numbers.len(), 1);
        for path in Linux.loops_of(&image).unwrap() {
            Linux.detach_loop(&path, &image, soon()).unwrap();
        }
    }
}

#[test]
fn many_who_attach_images_of_their_own_never_mix_them_up() {
    use std::os::unix::fs::FileExt;
    let place = Place::new();
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for index in 0..8u8 {
            let image = place.image(&format!("image{index}"), SMALL);
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for round in 0..15u8 {
                    let device = Linux.attach_loop(&image, false).unwrap();
                    device.file.write_all_at(&[index, round], 0).unwrap();
                    let path = device.path.clone();
                    drop(device);
                    Linux.detach_loop(&path, &image, soon()).unwrap();
                    let mut found = [0; 2];
                    File::open(&image).unwrap().read_exact_at(&mut found, 0).unwrap();
                    assert_eq!(found, [index, round]);
                    assert!(Linux.loops_of(&image).unwrap().is_empty());
                }
            });
        }
    });
}

/// Detaching races with attaching of the same image: whoever gets a device gets one that stays bound as long as it is open.
#[test]
fn a_device_that_was_handed_out_is_not_taken_away() {
    use std::os::unix::fs::FileExt;
    let place = Place::new();
    let image = place.image("image", SMALL);
    std::thread::scope(|scope| {
        for index in 0..4u8 {
            let image = &image;
            scope.spawn(move || {
                for round in 0..30u8 {
                    let device = match Linux.attach_loop(image, false) {
                        Ok(device) => device,
                        Err(error) if error.kind() == Kind::Unavailable => continue,
                        Err(error) => panic!("{error:?}"),
                    };
                    let at = u64::from(index) * 4096;
                    device.file.write_all_at(&[round], at).unwrap();
                    device.file.sync_all().unwrap();
                    let mut found = [0];
                    File::open(image).unwrap().read_exact_at(&mut found, at).unwrap();
                    assert_eq!(found, [round]);
                    let path = device.path.clone();
                    drop(device);
                    match Linux.detach_loop(&path, image, Deadline::after(Duration::from_secs(5))) {
                        Ok(()) => {}
                        // The others have it open.
                        Err(error) => assert_eq!(error.kind(), Kind::Precondition, "{error:?}"),
                    }
                }
            });
        }
    });
}

#[test]
fn a_mounted_device_is_not_freed() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let (path, image) = (device.path.clone(), place.path("image"));
    let mount = place.mounted(&device, Filesystem::Ext4, "mount", &[]);
    drop(device);
    assert_eq!(Linux.detach_loop(&path, &image, shortly()).unwrap_err().kind(), Kind::Precondition);
    std::fs::write(mount.join("data"), "x").unwrap();
    Linux.sync(&mount).unwrap();
    unmount(&mount);
    Linux.detach_loop(&path, &image, soon()).unwrap();
}

#[test]
fn a_mount_in_another_namespace_holds_the_device() {
    let place = Place::alone();
    let device = place.formatted("image", Filesystem::Ext4);
    let (path, image) = (device.path.clone(), place.path("image"));
    let mount = place.mounted(&device, Filesystem::Ext4, "mount", &[]);
    drop(device);
    let mut holder = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", "echo ready; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare of util-linux is installed");
    let mut ready = [0; 6];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
    unmount(&mount);
    let seen = Linux.open_device(&path, true).unwrap();
    assert!(Linux.mounts().unwrap().with_device(seen.number).is_empty());
    assert!(seen.is_held().unwrap());
    drop(seen);
    let error = Linux.detach_loop(&path, &image, shortly()).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.to_string().contains("namespace"), "{error:?}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(!Linux.open_device(&path, true).unwrap().is_held().unwrap());
    Linux.detach_loop(&path, &image, soon()).unwrap();
}

#[test]
fn a_program_that_has_it_open_is_waited_for() {
    let place = Place::new();
    let image = place.image("image", SMALL);
    let path = Linux.attach_loop(&image, false).unwrap().path;
    let holder = File::open(&path).unwrap();
    let error = Linux.detach_loop(&path, &image, shortly()).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "{error:?}");
    let waiting = {
        let (path, image) = (path.clone(), image.clone());
        std::thread::spawn(move || Linux.detach_loop(&path, &image, soon()))
    };
    std::thread::sleep(Duration::from_millis(100));
    drop(holder);
    waiting.join().unwrap().unwrap();
    assert!(Linux.loops_of(&image).unwrap().is_empty());
}

#[test]
fn a_device_that_was_to_go_with_its_last_user_stays_for_the_next() {
    let place = Place::new();
    let image = place.image("image", SMALL);
    let first = Linux.attach_loop(&image, false).unwrap();
    run("losetup", &["-d", text(&first.path)]);
    let second = Linux.attach_loop(&image, false).unwrap();
    assert_eq!(second.number, first.number);
    drop(first);
    std::thread::sleep(Duration::from_millis(50));
    drop(second);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(Linux.loops_of(&image).unwrap().len(), 1);
}

#[test]
fn another_read_only_ness_is_respected() {
    let place = Place::new();
    let image = place.image("image", SMALL);
    let writer = Linux.attach_loop(&image, false).unwrap();
    let reader = Linux.attach_loop(&image, true).unwrap();
    assert_eq!(reader.number, writer.number);
    assert!(reader.read_only && !reader.is_protected().unwrap());
    let path = writer.path.clone();
    drop((writer, reader));
    Linux.detach_loop(&path, &image, soon()).unwrap();

    let reader = Linux.attach_loop(&image, true).unwrap();
    assert!(reader.is_protected().unwrap());
    assert_eq!(Linux.attach_loop(&image, false).unwrap_err().kind(), Kind::Precondition);
    assert_eq!(Device::open(&reader.path, false).unwrap_err().kind(), Kind::Precondition);
}

#[test]
fn a_binding_of_a_part_or_a_second_one_is_refused() {
    let place = Place::new();
    let image = place.image("image", SMALL);
    run("losetup", &["-f", "-o", "4096", text(&image)]);
    assert_eq!(Linux.attach_loop(&image, false).unwrap_err().kind(), Kind::Precondition);
    run("losetup", &["-f", text(&image)]);
    let loops: Vec<PathBuf> = Linux.loops_of(&image).unwrap();
    assert_eq!(loops.len(), 2);
    let error = Linux.attach_loop(&image, false).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(loops.iter().all(|path| error.to_string().contains(text(path))), "{error:?}");
    for path in loops {
        Linux.detach_loop(&path, &image, soon()).unwrap();
    }
    Linux.attach_loop(&image, false).unwrap();
}

#[test]
fn a_grown_image_is_seen_by_its_device() {
    let place = Place::new();
    let image = place.image("image", SMALL);
    let device = Linux.attach_loop(&image, false).unwrap();
    resize(&image, Bytes::mib(24));
    assert_eq!(device.current_size().unwrap(), SMALL);
    assert_eq!(Linux.resize_loop(&device.path).unwrap(), Bytes::mib(24));
    assert_eq!(device.current_size().unwrap(), Bytes::mib(24));
    resize(&image, Bytes::mib(32));
    assert_eq!(Linux.attach_loop(&image, false).unwrap().size, Bytes::mib(32));
    resize(&image, Bytes::mib(30));
    assert_eq!(Linux.attach_loop(&image, false).unwrap_err().kind(), Kind::Precondition);
}

#[test]
fn a_removed_image_can_still_be_detached() {
    let place = Place::new();
    let image = place.image("image", SMALL);
    let path = Linux.attach_loop(&image, false).unwrap().path;
    std::fs::remove_file(&image).unwrap();
    let number = Linux.open_device(&path, true).unwrap().number;
    assert_eq!(Linux.loop_image(number).unwrap().as_deref(), Some(&*image));
    assert_eq!(Linux.loops_of(&image).unwrap(), std::slice::from_ref(&path));
    Linux.detach_loop(&path, &image, soon()).unwrap();
    assert!(Linux.loops_of(&image).unwrap().is_empty());
}

#[test]
fn only_what_is_bound_to_the_image_is_freed() {
    let place = Place::new();
    let (mine, other) = (place.image("mine", SMALL), place.image("other", SMALL));
    let device = Linux.attach_loop(&mine, false).unwrap();
    Linux.detach_loop(&device.path, &other, soon()).unwrap();
    assert_eq!(Linux.loops_of(&mine).unwrap(), std::slice::from_ref(&device.path));
}

#[test]
fn what_is_no_image_is_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path("directory")).unwrap();
    std::os::unix::fs::symlink(place.image("image", SMALL), place.path("link")).unwrap();
    for name in ["directory", "link"] {
        assert_eq!(Linux.attach_loop(&place.path(name), false).unwrap_err().kind(), Kind::Invalid, "{name}");
    }
    assert_eq!(Linux.attach_loop(&place.path("absent"), false).unwrap_err().kind(), Kind::NotFound);
}
