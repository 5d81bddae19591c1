//! Making a mounted filesystem as large as its device, by asking the kernel.
//!
//! A filesystem cannot always use the last bytes of its device (a block group or allocation group that would be too small to hold
//! its own descriptors). So what counts as growth is that the size the filesystem reports has changed, and a caller that gets
//! `false` has no reason to ask again.

use std::fs::File;
use std::path::Path;

use hawser_volume::{Error, Filesystem, Result};
use rustix::fs::{Mode, OFlags};

use crate::device::Device;
use crate::errno::{self, Attempt};
use crate::identity;
use crate::ioctl::{self, BtrfsVolume, XfsGeometry, XfsGrow};
use crate::machine;
use crate::superblock::{self, EXT_OFFSET, Verdict};

/// Grows the filesystem at `mount_point` to its device: [`Host::grow`](crate::Host::grow).
pub fn grow(mount_point: &Path, filesystem: Filesystem, device: &Device) -> Result<bool> {
    let doing = || format!("grow the {filesystem} at {}", mount_point.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = File::from(rustix::fs::open(mount_point, flags, Mode::empty()).attempt(doing)?);
    identity::verify(&root, filesystem, device)
        .map_err(|error| error.with_kind(hawser_volume::Kind::Precondition).while_doing(doing()))?;
    let grown = match filesystem {
        Filesystem::Ext4 => ext4(&root, device),
        Filesystem::Xfs => xfs(&root, device),
        Filesystem::Btrfs => btrfs(&root, device),
    };
    grown.map_err(|error| error.while_doing(doing()))
}

fn ext4(root: &File, device: &Device) -> Result<bool> {
    let (before, block_size) = ext4_blocks(device)?;
    let wanted = device.current_size()?.get() / u64::from(block_size);
    if wanted <= before {
        return Ok(false);
    }
    rustix::fs::ext4_ioc_resize_fs(root, wanted).map_err(|errno| match errno {
        rustix::io::Errno::PERM if !machine::may_grow_ext4() => Error::precondition(
            "this process lacks CAP_SYS_RESOURCE, which the kernel asks for; give it to the node plugin, or use xfs or btrfs",
        )
        .caused_by(std::io::Error::from(errno)),
        // With errors recorded the kernel refuses, which e2fsck mends when the volume is next staged.
        rustix::io::Errno::PERM => Error::precondition("the kernel refuses to resize it; unmount and check it first")
            .caused_by(std::io::Error::from(errno)),
        errno => errno::error("resize it", errno),
    })?;
    Ok(ext4_blocks(device)?.0 > before)
}

/// The size in blocks and the block size, from the superblock in the page cache, which a mounted ext4 works on itself.
fn ext4_blocks(device: &Device) -> Result<(u64, u32)> {
    let mut block = [0; 1024];
    for _ in 0..5 {
        crate::blank::read_exactly(&device.file, &mut block, EXT_OFFSET)?;
        if let Verdict::Sound(found) = superblock::ext(&block, device.current_size()?) {
            return Ok((found.info.size.get() / u64::from(found.info.block_size), found.info.block_size));
        }
        // The kernel was writing it.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Err(Error::internal(format!("the ext4 superblock of {} cannot be read", device.path.display())))
}

fn xfs(root: &File, device: &Device) -> Result<bool> {
    let geometry = xfs_geometry(root)?;
    let newblocks = device.current_size()?.get() / u64::from(geometry.blocksize.max(1));
    if newblocks <= geometry.datablocks {
        return Ok(false);
    }
    ioctl::xfs_grow(root, &XfsGrow { newblocks, imaxpct: geometry.imaxpct }).attempt(|| "resize it".into())?;
    Ok(xfs_geometry(root)?.datablocks > geometry.datablocks)
}

fn xfs_geometry(root: &File) -> Result<XfsGeometry> {
    let mut geometry = XfsGeometry {
        blocksize: 0,
        rtextsize: 0,
        agblocks: 0,
        agcount: 0,
        logblocks: 0,
        sectsize: 0,
        inodesize: 0,
        imaxpct: 0,
        datablocks: 0,
        rest: [0; 27],
    };
    ioctl::xfs_geometry(root, &mut geometry).attempt(|| "ask for its geometry".into())?;
    Ok(geometry)
}

fn btrfs(root: &File, device: &Device) -> Result<bool> {
    /// btrfs counts in sectors of this many bytes at most on every machine that Linux runs on.
    const ROUNDING: u64 = 64 << 10;
    let before = identity::btrfs_device(root)?;
    if before.total_bytes.saturating_add(ROUNDING) > device.current_size()?.get() {
        return Ok(false);
    }
    let mut volume = BtrfsVolume { fd: 0, name: [0; 4088] };
    let wish = format!("{}:max", before.devid);
    volume.name[..wish.len()].copy_from_slice(wish.as_bytes());
    ioctl::btrfs_resize(root, &volume).attempt(|| "resize it".into())?;
    Ok(identity::btrfs_device(root)?.total_bytes > before.total_bytes)
}
