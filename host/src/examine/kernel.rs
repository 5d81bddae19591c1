//! The kernel: its version, the calls that it lets us make, and the filesystems and drivers that it has or can load.

use std::fs;
use std::path::Path;

use hawser_volume::checkup::{Check, Step};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsopen, move_mount, open_tree};

use super::Needs;
use crate::ioctl;

/// Since which kernel there is `mount_setattr`.
const LEAST: (u32, u32) = (5, 12);

/// Since which kernel disks have numbers of their own (`diskseq`), by which another disk of the same name is told.
const NUMBERED_DISKS: (u32, u32) = (5, 15);

/// A path that leads nowhere and can lead nowhere.
const NOWHERE: &str = "/proc/self/hawser/nowhere";

pub(super) fn version() -> Check {
    let release = release();
    let mend = "run a newer kernel, Linux 5.15 or later where it can be chosen";
    match numbers(&release) {
        None => Check::doubtful("kernel", format!("{release:?} is no version that is known"), mend),
        Some(found) if found < LEAST => {
            let why = format!("Linux {release} has no mount_setattr(2), by which every mount is made; Linux 5.12 has it");
            Check::wrong("kernel", why, mend)
        }
        Some(found) if found < NUMBERED_DISKS => Check::doubtful(
            "kernel",
            format!(
                "Linux {release} does not number disks (diskseq, Linux 5.15): one that takes another's name is told less surely"
            ),
            mend,
        ),
        Some(_) => Check::well("kernel", format!("Linux {release}")),
    }
}

/// Whether mounts can be made as [`crate::mount`] makes them. A copy of the root's mount is made that nobody can see, and dropped.
pub(super) fn mounting() -> Check {
    const STEP: &str = "mounting";
    let refused = |call: &str, errno: Errno| {
        let (why, mend) = match errno {
            Errno::PERM | Errno::ACCESS => (
                format!("{call} is forbidden ({errno})"),
                "run it as root with CAP_SYS_ADMIN; in a container `privileged: true`, without a seccomp or AppArmor profile that forbids it",
            ),
            Errno::NOSYS => (
                format!("{call} is not there ({errno})"),
                "run Linux 5.12 or later; in a container or sandbox, a seccomp profile or runtime that has the mount calls",
            ),
            _ => (format!("{call} fails: {errno}"), "see `dmesg`"),
        };
        Check::wrong(STEP, format!("{why}, and no volume can be mounted without it"), mend)
    };
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = match open_tree(CWD, "/", clone) {
        Ok(mount) => mount,
        Err(errno) => return refused("open_tree(2)", errno),
    };
    if let Err(errno) = ioctl::mount_make_private(&mount, MountAttrFlags::empty(), MountAttrFlags::empty()) {
        return refused("mount_setattr(2)", Errno::from_raw_os_error(errno as i32));
    }
    match move_mount(&mount, "", CWD, NOWHERE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH) {
        Err(Errno::NOENT | Errno::NOTDIR) => {}
        Err(errno) => return refused("move_mount(2)", errno),
        Ok(()) => return refused("move_mount(2)", Errno::EXIST),
    }
    match fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Check::well(STEP, "open_tree, mount_setattr, move_mount and fsopen are allowed"),
        Err(errno) => refused("fsopen(2)", errno),
    }
}

/// How the kernel has a filesystem or a driver.
enum Presence {
    /// In it, or loaded.
    Here,
    /// As a module, which is loaded when it is needed.
    Module,
    Missing,
    /// Not loaded, and the modules are not seen from here.
    Unseen,
}

pub(super) fn steps(needs: &Needs) -> Vec<Step> {
    let mut steps = Vec::new();
    if needs.filesystems {
        steps.push(Step::one("filesystem ext4", || filesystem("ext4", "ext4", true)));
        steps.push(Step::one("filesystem xfs", || filesystem("xfs", "xfs", false)));
        steps.push(Step::one("filesystem btrfs", || filesystem("btrfs", "btrfs", false)));
    }
    if needs.nfs {
        steps.push(Step::one("filesystem nfs4", || filesystem("nfs4", "nfsv4", true)));
    }
    if needs.nfs_helper {
        steps.push(Step::one("filesystem nfs", || filesystem("nfs", "nfsv3", true)));
    }
    if needs.nvme {
        steps.push(Step::one("driver nvme", nvme));
    }
    steps
}

/// Whether `name` can be mounted; `is_needed` when it is what volumes have unless they are asked for with another.
fn filesystem(name: &str, module: &str, is_needed: bool) -> Check {
    let step = format!("filesystem {name}");
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let is_here = known.lines().any(|line| line.split_whitespace().last() == Some(name));
    let (why, mend) = match if is_here { Presence::Here } else { module_of(module) } {
        Presence::Here => return Check::well(step, "the kernel has it"),
        Presence::Module => return Check::well(step, format!("the kernel loads it when it is needed (module {module})")),
        Presence::Missing => (
            format!("the kernel has neither it nor a module {module}, so its volumes cannot be mounted"),
            "install the kernel's modules (linux-modules-extra or kernel-modules-extra), or boot a kernel that has it".to_owned(),
        ),
        Presence::Unseen => (
            "it is not loaded, and /lib/modules of this kernel is not seen here: volumes with it may fail to mount".to_owned(),
            format!(
                "`modprobe {module}` on the machine, and have it loaded at boot (/etc/modules-load.d); or show /lib/modules to the container"
            ),
        ),
    };
    if is_needed { Check::wrong(step, why, mend) } else { Check::doubtful(step, why, mend) }
}

fn nvme() -> Check {
    const STEP: &str = "driver nvme";
    if Path::new("/sys/class/nvme").is_dir() || Path::new("/sys/bus/pci/drivers/nvme").is_dir() {
        return Check::well(STEP, "it is loaded");
    }
    // An instance of Xen has volumes as other disks.
    if Path::new("/sys/bus/xen/drivers/vbd").is_dir() {
        return Check::well(STEP, "this is an instance of Xen, whose volumes are disks of xen-blkfront");
    }
    match module_of("nvme") {
        Presence::Here | Presence::Module => Check::well(STEP, "the kernel loads it when there is such a disk"),
        Presence::Missing | Presence::Unseen => Check::doubtful(
            STEP,
            "it is not loaded, and no module of it is seen: a volume that EC2 attaches would not appear",
            "see whether this is an instance of EC2, and `modprobe nvme`",
        ),
    }
}

/// The module `name`, as `modprobe` would find it.
fn module_of(name: &str) -> Presence {
    if Path::new("/sys/module").join(name.replace('-', "_")).is_dir() {
        return Presence::Here;
    }
    let modules = Path::new("/lib/modules").join(release());
    let lists = ["modules.builtin", "modules.dep"].map(|list| fs::read_to_string(modules.join(list)).ok());
    if lists.iter().all(Option::is_none) {
        return Presence::Unseen;
    }
    let is_it = |line: &str| {
        let path = line.split(':').next().unwrap_or_default();
        path.rsplit('/').next().and_then(|file| file.split(".ko").next()) == Some(name)
    };
    let has = |list: &Option<String>| list.as_ref().is_some_and(|list| list.lines().any(is_it));
    match (has(&lists[0]), has(&lists[1])) {
        (true, _) => Presence::Here,
        (false, true) => Presence::Module,
        (false, false) => Presence::Missing,
    }
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The first two numbers of a release, `6.1.0-13-amd64`.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        for (release, wanted) in [("6.1.0-13-amd64", Some((6, 1))), ("5.4", Some((5, 4))), ("4.18.0-513.el8", Some((4, 18)))] {
            assert_eq!(numbers(release), wanted, "{release}");
        }
        for release in ["", "linux", "6", "v6.1"] {
            assert_eq!(numbers(release), None, "{release}");
        }
        assert!(numbers(&release()).is_some());
    }
}
