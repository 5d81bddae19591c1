//! Where devices come from, and who might take them away.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use hawser_volume::checkup::{Check, Step};

use super::Needs;

const LOOP_CONTROL: &str = "/dev/loop-control";

/// Where multipathd is told what to leave alone.
const MULTIPATH: &str = "/etc/multipath.conf";
const MULTIPATH_MORE: &str = "/etc/multipath/conf.d";

pub(super) fn steps(needs: &Needs) -> Vec<Step> {
    let mut steps = Vec::new();
    if needs.loops {
        steps.push(Step::one("loop devices", loops));
    }
    if needs.scini || needs.nvme {
        let needs = needs.clone();
        steps.push(Step::one("multipathd", move || multipath(&needs)));
    }
    steps
}

/// Opening the control device would load the driver, so it is opened only when that is there.
fn loops() -> Check {
    const STEP: &str = "loop devices";
    let without = "volumes of the local backend are images behind loop devices";
    match fs::metadata(LOOP_CONTROL) {
        Ok(control) if control.file_type().is_char_device() => {}
        Ok(_) => {
            let why = format!("{LOOP_CONTROL} is no device, and {without}");
            return Check::wrong(STEP, why, format!("remove it, and `mknod {LOOP_CONTROL} c 10 237`"));
        }
        Err(error) => {
            let why = format!("{LOOP_CONTROL} cannot be looked at ({error}), and {without}");
            return Check::wrong(STEP, why, "`modprobe loop`; in a container show it the machine's /dev");
        }
    }
    let drivers = fs::read_to_string("/proc/devices").unwrap_or_default();
    if !drivers.lines().any(|line| line.split_whitespace().last() == Some("loop")) {
        return Check::well(STEP, "the kernel loads the driver when it is needed");
    }
    match OpenOptions::new().read(true).write(true).open(LOOP_CONTROL) {
        Ok(_) => Check::well(STEP, "can be made"),
        Err(error) => Check::wrong(
            STEP,
            format!("{LOOP_CONTROL} cannot be opened ({error}), and {without}"),
            "run it as root; in a container `privileged: true`, under systemd without DevicePolicy= and PrivateDevices=",
        ),
    }
}

fn multipath(needs: &Needs) -> Check {
    const STEP: &str = "multipathd";
    let Some(process) = running("multipathd") else { return Check::well(STEP, "does not run") };
    let files = std::iter::once(PathBuf::from(MULTIPATH))
        .chain(fs::read_dir(MULTIPATH_MORE).into_iter().flatten().flatten().map(|entry| entry.path()));
    let text: String = files.filter_map(|file| fs::read_to_string(file).ok()).collect::<Vec<_>>().join("\n");
    let wanted: Vec<&str> =
        [("scini", needs.scini), ("nvme", needs.nvme)].into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !is_left_alone(&text, name)).collect();
    if missing.is_empty() {
        return Check::well(STEP, format!("runs (process {process}) and is told to leave our disks alone"));
    }
    let lines: Vec<String> = missing.iter().map(|name| format!("devnode \"^{name}\"")).collect();
    Check::doubtful(
        STEP,
        format!(
            "it runs (process {process}), and nothing in {MULTIPATH} tells it to leave disks called {}… alone: a volume that it takes is \
             refused here",
            missing.join("… and ")
        ),
        format!("add {} to `blacklist {{ }}` in {MULTIPATH}, and `multipathd reconfigure`", lines.join(" and ")),
    )
}

/// Whether a line outside of comments names disks that begin with `name`, within a blacklist.
fn is_left_alone(text: &str, name: &str) -> bool {
    let mut within = false;
    for line in text.lines().map(|line| line.split(['#', '!']).next().unwrap_or_default().trim()) {
        within = (within || line.starts_with("blacklist") && !line.starts_with("blacklist_exceptions")) && !line.starts_with('}');
        if within && line.contains("devnode") && (line.contains(name) || line.contains("\".*\"")) {
            return true;
        }
    }
    false
}

/// A process of that name.
fn running(name: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let is_it = |process: &Path| fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim() == name);
    processes
        .filter(|entry| entry.file_name().to_str().is_some_and(|id| id.bytes().all(|b| b.is_ascii_digit())))
        .find(|entry| is_it(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_blacklist_leaves_disks_alone() {
        let good = "defaults {\n}\nblacklist {\n  devnode \"^scini\"\n}\n";
        assert!(is_left_alone(good, "scini") && !is_left_alone(good, "nvme"));
        assert!(is_left_alone("blacklist {\n devnode \".*\"\n}", "nvme"));
        for bad in [
            "",
            "blacklist {\n# devnode \"^scini\"\n}",
            "blacklist_exceptions {\n devnode \"^scini\"\n}",
            "blacklist {\n}\ndevices {\n devnode \"^scini\"\n}",
        ] {
            assert!(!is_left_alone(bad, "scini"), "{bad}");
        }
    }
}
