//! Which machine this is, and since when.

use hawser_volume::Result;
use rustix::thread::CapabilitySet;

use crate::errno::Attempt;

/// The identity of the current boot, a UUID: another one means that nothing of before is mounted or attached any more.
pub fn boot_id() -> Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").attempt(|| "read the boot id".into())?;
    Ok(id.trim().to_owned())
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
    }
}
