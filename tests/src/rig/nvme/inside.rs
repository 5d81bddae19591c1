//! The same on the machine that this program runs in, for a suite in a node: without a shell, whose every command takes tens of
//! milliseconds there.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use super::Nvme;
use crate::kernel::{loops_below, mount_at, run};
use crate::poll::until;
use crate::rig::Inside;

/// Where the kernel's NVMe target is told what to show.
const TARGET: &str = "/sys/kernel/config/nvmet";

/// A device that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its node in `/dev`.
    pub device: PathBuf,
    /// Its serial number.
    pub serial: String,
    /// Its size.
    pub bytes: u64,
}

impl Inside {
    /// Every device that there is.
    pub fn disks(self) -> Vec<Disk> {
        let read = |path: PathBuf| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let disk = |entry: fs::DirEntry| {
            let serial = read(entry.path().join("device/serial"))?;
            // Documentation/ABI/stable/sysfs-block: in units of 512 bytes, whatever the device.
            let bytes = read(entry.path().join("size"))?.parse::<u64>().ok()? * 512;
            Some(Disk { device: Path::new("/dev").join(entry.file_name()), serial, bytes })
        };
        let is_nvme = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("nvme");
        fs::read_dir("/sys/block").unwrap().flatten().filter(is_nvme).filter_map(disk).collect()
    }
}

/// Held by who changes what the target shows.
static TELLING: Mutex<()> = Mutex::new(());

fn subsystem(tag: &str) -> (String, PathBuf) {
    let name = format!("nqn.2026-01.dev.hawser.rig:{tag}");
    let path = Path::new(TARGET).join("subsystems").join(&name);
    (name, path)
}

/// The place where a subsystem is shown.
fn port(name: &str) -> PathBuf {
    Path::new(TARGET).join("ports/1/subsystems").join(name)
}

/// Loads what is needed, once.
fn prepare() {
    static READY: Once = Once::new();
    READY.call_once(|| {
        run("modprobe", &["--all", "loop", "nvmet", "nvme-loop"]);
        let config = Path::new("/sys/kernel/config");
        if mount_at(config).is_none() {
            run("mount", &["-t", "configfs", "configfs", config.to_str().unwrap()]);
        }
        let port = Path::new(TARGET).join("ports/1");
        if !port.exists() {
            fs::create_dir(&port).unwrap();
            fs::write(port.join("addr_trtype"), "loop").unwrap();
        }
    });
}

/// The controllers that show the subsystem `name`, with what they are in sysfs.
fn controllers(name: &str) -> Vec<PathBuf> {
    let of = |path: &PathBuf| fs::read_to_string(path.join("subsysnqn")).is_ok_and(|shown| shown.trim() == name);
    fs::read_dir("/sys/class/nvme").unwrap().map(|entry| entry.unwrap().path()).filter(of).collect()
}

/// The device of the subsystem `name`, when it is there.
fn device(name: &str) -> Option<PathBuf> {
    let of =
        |entry: &fs::DirEntry| fs::read_to_string(entry.path().join("device/subsysnqn")).is_ok_and(|shown| shown.trim() == name);
    let found = fs::read_dir("/sys/block").unwrap().flatten().find(of)?;
    let path = Path::new("/dev").join(found.file_name());
    fs::metadata(&path).is_ok_and(|node| node.file_type().is_block_device()).then_some(path)
}

impl Nvme for Inside {
    fn plug_as(&self, file: &Path, serial: &str, model: &str, tag: &str) -> PathBuf {
        prepare();
        let backing = run("losetup", &["--find", "--show", file.to_str().unwrap()]);
        let (name, subsystem) = subsystem(tag);
        {
            let _telling = TELLING.lock().unwrap_or_else(PoisonError::into_inner);
            let namespace = subsystem.join("namespaces/1");
            for directory in [&subsystem, &namespace] {
                fs::create_dir(directory).unwrap();
            }
            for (path, value) in [
                (subsystem.join("attr_serial"), serial),
                (subsystem.join("attr_model"), model),
                (subsystem.join("attr_allow_any_host"), "1"),
                (namespace.join("device_path"), backing.trim()),
                (namespace.join("enable"), "1"),
            ] {
                fs::write(path, value).unwrap();
            }
            symlink(&subsystem, port(&name)).unwrap();
            let mut fabrics = File::options().read(true).write(true).open("/dev/nvme-fabrics").unwrap();
            fabrics.write_all(format!("transport=loop,nqn={name}").as_bytes()).unwrap();
            fabrics.read_to_end(&mut Vec::new()).unwrap();
        }
        // The kernel looks for namespaces in the background.
        until("the device", || device(&name))
    }

    fn unplug(&self, file: &Path, tag: &str) {
        let (name, subsystem) = subsystem(tag);
        {
            let _telling = TELLING.lock().unwrap_or_else(PoisonError::into_inner);
            for controller in controllers(&name) {
                fs::write(controller.join("delete_controller"), "1").unwrap();
            }
            fs::remove_file(port(&name)).unwrap();
            fs::write(subsystem.join("namespaces/1/enable"), "0").unwrap();
            for directory in [subsystem.join("namespaces/1"), subsystem] {
                fs::remove_dir(directory).unwrap();
            }
        }
        for bound in loops_below(file) {
            run("losetup", &["--detach", bound.device.to_str().unwrap()]);
        }
    }
}
