//! What this process may do, and in which namespaces it is.

use std::fs;
use std::os::unix::fs::MetadataExt;

use hawser_volume::checkup::Check;
use rustix::thread::CapabilitySet;

use crate::elsewhere::FIRST_NAMESPACE;
use crate::mountinfo::MountTable;

/// What each capability is for, and whether nothing goes without it.
const NEEDED: [(&str, CapabilitySet, &str, bool); 4] = [
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN, "mounting, and loop devices", true),
    ("CAP_SYS_RESOURCE", CapabilitySet::SYS_RESOURCE, "growing an ext4 that is mounted", false),
    ("CAP_CHOWN", CapabilitySet::CHOWN, "giving a volume to a group (fsGroup)", false),
    ("CAP_FOWNER", CapabilitySet::FOWNER, "giving a volume to a group (fsGroup)", false),
];

const MEND: &str =
    "run it as root; under systemd without User= and CapabilityBoundingSet=, in a container with `privileged: true`";

pub(super) fn all() -> Vec<Check> {
    vec![rights(), processes(), devices()]
}

fn rights() -> Check {
    const STEP: &str = "privileges";
    let sets = match rustix::thread::capabilities(None) {
        Ok(sets) => sets.effective,
        Err(errno) => return Check::wrong(STEP, format!("the kernel does not say what this process may do: {errno}"), MEND),
    };
    let missing: Vec<_> = NEEDED.iter().filter(|(_, capability, ..)| !sets.contains(*capability)).collect();
    let told: Vec<_> = missing.iter().map(|(name, _, purpose, _)| format!("{name} ({purpose})")).collect();
    if missing.is_empty() {
        return Check::well(STEP, if rustix::process::geteuid().is_root() { "root" } else { "all that are needed" });
    }
    let why = format!("this process lacks {}", told.join(", "));
    if missing.iter().any(|(.., is_vital)| *is_vital) { Check::wrong(STEP, why, MEND) } else { Check::doubtful(STEP, why, MEND) }
}

/// Whether all processes of the machine are seen.
fn processes() -> Check {
    const STEP: &str = "namespace of processes";
    match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) if namespace.ino() == FIRST_NAMESPACE => Check::well(STEP, "the machine's"),
        Ok(_) => Check::well(STEP, "its own: this is a container, and what other processes have mounted is not seen"),
        Err(error) => Check::doubtful(STEP, format!("/proc does not say which it is: {error}"), "mount /proc"),
    }
}

/// Whether devices that come later appear in `/dev`.
fn devices() -> Check {
    const STEP: &str = "/dev";
    let table = match MountTable::read() {
        Ok(table) => table,
        Err(error) => return Check::wrong(STEP, error.chain(), "mount /proc"),
    };
    match table.top("/dev".as_ref()) {
        Some(mount) if mount.filesystem == "devtmpfs" => Check::well(STEP, "the machine's, where devices appear by themselves"),
        Some(mount) => Check::doubtful(
            STEP,
            format!("it is a {} of its own, where a device that comes later does not appear", mount.filesystem),
            "show the machine's /dev to the container (hostPath /dev); under systemd leave PrivateDevices= out",
        ),
        None => Check::doubtful(STEP, "it is a directory, where no device appears by itself", "mount a devtmpfs there"),
    }
}
