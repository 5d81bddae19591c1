//! The same on the machine that this program runs in, for a suite in a node: without a shell, whose every command takes tens of
//! milliseconds there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::{INSTALL, Sdc};
use crate::kernel::{Loop, loops_below, run};
use crate::rig::{Inside, Machine};

/// Where the driver gets its orders.
const DRIVER: &str = "/dev/scini";

/// Where the links to disks are.
const LINKS: &str = "/dev/disk/by-id";

fn order(words: &str) {
    fs::write(DRIVER, words).unwrap_or_else(|error| panic!("{words}: {error}"));
}

fn map(volume: &str, file: &Path, mode: &str) -> PathBuf {
    let backing = run("losetup", &["--find", "--show", file.to_str().unwrap()]);
    order(&format!("map {volume} {} {mode}", backing.trim()));
    let disks = fs::read_to_string(DRIVER).unwrap();
    let (disk, _) = disks.lines().filter_map(|line| line.split_once(' ')).find(|(_, is)| *is == volume).unwrap();
    // What udev does, which is not there: the disk that is looked for is asked first.
    fs::create_dir_all(LINKS).unwrap();
    symlink(format!("../../{disk}"), link(volume)).unwrap();
    Path::new("/dev").join(disk)
}

fn link(volume: &str) -> PathBuf {
    Path::new(LINKS).join(format!("emc-vol-{volume}"))
}

impl Inside {
    /// Every disk of the driver, bound to its volume (`SYSTEM-VOLUME`).
    pub fn disks_of_sdc(self) -> Vec<Loop> {
        let disks = fs::read_to_string(DRIVER).unwrap();
        let disk = |(disk, volume): (&str, &str)| Loop { device: Path::new("/dev").join(disk), file: PathBuf::from(volume) };
        disks.lines().filter_map(|line| line.split_once(' ')).map(disk).collect()
    }
}

impl Sdc for Inside {
    /// Once: the machine has one SDC, whoever asks.
    fn install_sdc(&self, guid: &str) {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            self.script(INSTALL, &[guid]).well();
        });
    }

    fn map(&self, volume: &str, file: &Path) -> PathBuf {
        map(volume, file, "rw")
    }

    fn map_read_only(&self, volume: &str, file: &Path) -> PathBuf {
        map(volume, file, "ro")
    }

    fn unmap(&self, volume: &str, file: &Path) {
        order(&format!("unmap {volume}"));
        fs::remove_file(link(volume)).unwrap();
        for bound in loops_below(file) {
            run("losetup", &["--detach", bound.device.to_str().unwrap()]);
        }
    }
}
