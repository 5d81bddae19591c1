//! Making a mounted filesystem as large as its device.

use std::path::Path;

use hawser_host::{Device, Host, Linux, machine};
use hawser_volume::{Bytes, Filesystem, Kind};

use crate::place::{Place, SIZE, assert_filled, fill, info, resize, soon, unmount, verify};

/// Whether this machine lets the filesystem grow. Where it withholds the privilege that ext4 needs, the refusal is tested in
/// place of the growth.
fn can_grow(filesystem: Filesystem, mount: &Path, device: &Device) -> bool {
    if filesystem != Filesystem::Ext4 || machine::may_grow_ext4() {
        return true;
    }
    let error = Linux.grow(mount, filesystem, device).expect_err("it cannot grow");
    assert_eq!(error.kind(), Kind::Precondition, "{error:?}");
    assert!(error.to_string().contains("CAP_SYS_RESOURCE"), "{error:?}");
    false
}

fn enlarge(image: &Path, device: &Device, size: Bytes) {
    resize(image, size);
    assert_eq!(Linux.resize_loop(&device.path).expect("resize the loop device"), size);
}

#[test]
fn every_filesystem_grows_once_and_keeps_its_data() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let mount = place.mounted(&device, filesystem, "mount", &[]);
        fill(&mount.join("data"), 5);
        assert!(!Linux.grow(&mount, filesystem, &device).unwrap(), "{filesystem} is as large as its device");
        let before = Linux.usage(&mount).unwrap().bytes.total;
        enlarge(&place.path("image"), &device, Bytes::gib(2));
        if !can_grow(filesystem, &mount, &device) {
            continue;
        }
        assert!(Linux.grow(&mount, filesystem, &device).unwrap());
        assert!(!Linux.grow(&mount, filesystem, &device).unwrap());
        assert!(Linux.usage(&mount).unwrap().bytes.total > before * 4);
        assert_filled(&mount.join("data"), 5);
        unmount(&mount);
        assert_eq!(info(&device).size, Bytes::gib(2));
        let path = device.path.clone();
        drop(device);
        Linux.detach_loop(&path, &place.path("image"), soon()).unwrap();
        verify(&place.path("image"), filesystem);
    }
}

#[test]
fn a_remainder_that_is_too_small_is_not_tried_for_ever() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let mount = place.mounted(&device, filesystem, "mount", &[]);
        let mut size = SIZE.get();
        for more in [512, 4096, 100 << 10, 1 << 20, 64 << 20, 3 << 20] {
            size += more;
            enlarge(&place.path("image"), &device, Bytes::new(size));
            if more < 4096 {
                assert!(!Linux.grow(&mount, filesystem, &device).unwrap(), "{filesystem} by {more}");
                continue;
            }
            if !can_grow(filesystem, &mount, &device) {
                break;
            }
            while Linux.grow(&mount, filesystem, &device).unwrap() {
                assert!(!Linux.grow(&mount, filesystem, &device).unwrap(), "{filesystem} by {more}");
            }
        }
        if filesystem != Filesystem::Ext4 || machine::may_grow_ext4() {
            assert!(Linux.usage(&mount).unwrap().bytes.total > SIZE.get());
        }
    }
}

#[test]
fn the_mount_of_another_device_is_not_grown() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let (mine, other) = (place.formatted("mine", filesystem), place.formatted("other", filesystem));
        let mount = place.mounted(&mine, filesystem, "mount", &[]);
        enlarge(&place.path("mine"), &mine, Bytes::gib(1));
        let error = Linux.grow(&mount, filesystem, &other).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition, "{error:?}");
        assert!(!can_grow(filesystem, &mount, &mine) || Linux.grow(&mount, filesystem, &mine).unwrap());
    }
}
