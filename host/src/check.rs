//! Repairing what can be repaired without a decision.
//!
//! A journal is replayed by mounting; a checker is needed only when the superblock says that the kernel found something wrong.
//! That is ext4's way. XFS and btrfs have no such repair: theirs loses data by design and is a person's to run.

use hawser_volume::{Deadline, Error, Filesystem, Result};

use crate::device::{Device, path_for_children};
use crate::exec::{Program, quoted};
use crate::signature::{self, Content};

/// Checks the filesystem of `device` if it says that it has errors: [`Host::check`](crate::Host::check).
pub fn check(device: &Device, filesystem: Filesystem, deadline: Deadline) -> Result<()> {
    let info = match signature::probe(device)? {
        Content::Filesystem(info) if info.filesystem == filesystem => info,
        _ => return Ok(()),
    };
    if !info.has_errors {
        return Ok(());
    }
    match filesystem {
        Filesystem::Ext4 if device.read_only => Err(Error::internal(format!(
            "the ext4 of {} has errors and cannot be repaired because the device is read-only",
            device.path.display()
        ))),
        Filesystem::Ext4 => e2fsck(device, deadline),
        Filesystem::Xfs => Err(Error::internal(format!("the xfs of {} needs repair; run xfs_repair", device.path.display()))),
        Filesystem::Btrfs => Err(Error::internal(format!("the btrfs of {} has errors; run btrfs check", device.path.display()))),
    }
}

fn e2fsck(device: &Device, deadline: Deadline) -> Result<()> {
    // By descriptor: what is repaired must be what was looked at. Forced, because errors that were only counted (the flag was
    // cleared since) are otherwise passed over and stay counted.
    let outcome = Program::new("e2fsck").arguments(["-p", "-f"]).argument(path_for_children(&device.file)).run(deadline)?;
    // e2fsck(8): bit 1 errors corrected, bit 2 corrected and the system should be rebooted if it was mounted, which it is not.
    match outcome.code {
        Some(0..=3) => {
            tracing::info!(device = %device.path.display(), said = outcome.output, "e2fsck repaired the filesystem");
            Ok(())
        }
        _ => Err(Error::internal(format!(
            "e2fsck cannot repair {} without a decision ({}); run e2fsck on it{}",
            device.path.display(),
            outcome.status,
            quoted(&outcome.output)
        ))),
    }
}
