//! The same on the machine that this program runs in, for a suite in a node: without a shell, whose every command takes tens of
//! milliseconds there.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::{DRIVER, INSTALL, Sdc, sdc_disks};
use crate::binary::drv_cfg;
use crate::kernel::{Loop, loops_below, run};
use crate::rig::{Inside, Machine};

/// Where the links to disks are.
const LINKS: &str = "/dev/disk/by-id";

fn order(words: &str) {
    fs::write(DRIVER, words).unwrap_or_else(|error| panic!("{words}: {error}"));
}

/// An order for each of these volumes that is there.
fn each(word: &str, volumes: &[String]) {
    for volume in volumes {
        match fs::write(DRIVER, format!("{word} {volume}")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{word} {volume}: {error}"),
            _ => {}
        }
    }
}

fn map(volume: &str, file: &Path, mode: &str) -> PathBuf {
    let backing = run("losetup", &["--find", "--show", file.to_str().unwrap()]);
    order(&format!("map {volume} {} {mode}", backing.trim()));
    let (disk, _) = sdc_disks().unwrap().into_iter().find(|(_, is)| *is == volume).unwrap();
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
        let disk = |(disk, volume): (String, String)| Loop { device: Path::new("/dev").join(disk), file: volume.into() };
        sdc_disks().unwrap().into_iter().map(disk).collect()
    }
}

impl Sdc for Inside {
    /// Once: the machine has one SDC, whoever asks.
    fn install_sdc(&self, guid: &str) {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            self.script(INSTALL, &[guid, drv_cfg().to_str().unwrap()]).well();
        });
    }

    fn map(&self, volume: &str, file: &Path) -> PathBuf {
        map(volume, file, "rw")
    }

    fn map_read_only(&self, volume: &str, file: &Path) -> PathBuf {
        map(volume, file, "ro")
    }

    fn grow_unseen(&self, file: &Path, bytes: u64) {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(bytes).unwrap();
        for bound in loops_below(file) {
            run("losetup", &["--set-capacity", bound.device.to_str().unwrap()]);
        }
    }

    fn hold(&self, volumes: &[String]) {
        each("hold", volumes);
    }

    fn release(&self, volumes: &[String]) {
        each("release", volumes);
    }

    fn unmap(&self, volume: &str, file: &Path) {
        order(&format!("unmap {volume}"));
        fs::remove_file(link(volume)).unwrap();
        for bound in loops_below(file) {
            run("losetup", &["--detach", bound.device.to_str().unwrap()]);
        }
    }
}
