//! Which machine this is, and since when.

use std::time::{Duration, SystemTime};

use hawser_volume::{Error, Result};
use rustix::thread::CapabilitySet;

use crate::errno::Attempt;

/// The identity of the current boot, a UUID: another one means that nothing of before is mounted or attached any more.
pub fn boot_id() -> Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").attempt(|| "read the boot id".into())?;
    Ok(id.trim().to_owned())
}

/// When the current boot began, by the clock as it is set now: files with an older time are of a boot before, as long as the clock
/// was right when they were written.
pub fn booted_at() -> Result<SystemTime> {
    let stat = std::fs::read_to_string("/proc/stat").attempt(|| "read when the machine was started".into())?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    let seconds = seconds.ok_or_else(|| Error::internal("/proc/stat does not say when the machine was started (btime)"))?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The name of the machine, as `uname -n` gives it.
pub fn hostname() -> Result<String> {
    Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// Whether this process may grow an ext4 that is mounted: the kernel asks for CAP_SYS_RESOURCE (fs/ext4/resize.c), which some
/// containers withhold even from root. xfs and btrfs grow without it.
pub fn may_grow_ext4() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_boot_and_a_name() {
        assert!(uuid::Uuid::parse_str(&boot_id().unwrap()).is_ok());
        assert!(!hostname().unwrap().is_empty());
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let since = SystemTime::now().duration_since(booted_at().unwrap()).unwrap();
        assert!((since.as_secs_f64() - uptime).abs() < 5.0, "{since:?} and {uptime} s");
    }
}
