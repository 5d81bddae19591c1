//! The ioctls (and the one system call) that no crate wraps, each as a safe function over a file.
//!
//! Structures are the kernel's, field by field, with its names; nothing here decides anything.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use nix::Result;
use rustix::mount::MountAttrFlags;

/// `struct loop_info64` (linux/loop.h).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LoopInfo {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) rdevice: u64,
    pub(crate) offset: u64,
    pub(crate) size_limit: u64,
    pub(crate) number: u32,
    pub(crate) encrypt_type: u32,
    pub(crate) encrypt_key_size: u32,
    pub(crate) flags: u32,
    pub(crate) file_name: [u8; 64],
    pub(crate) crypt_name: [u8; 64],
    pub(crate) encrypt_key: [u8; 32],
    pub(crate) init: [u64; 2],
}

impl LoopInfo {
    pub(crate) const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// `struct loop_config` (linux/loop.h).
#[repr(C)]
pub(crate) struct LoopConfig {
    pub(crate) fd: u32,
    pub(crate) block_size: u32,
    pub(crate) info: LoopInfo,
    pub(crate) reserved: [u64; 8],
}

/// `struct xfs_fsop_geom` (xfs_fs.h), as far as it is used here.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct XfsGeometry {
    pub(crate) blocksize: u32,
    pub(crate) rtextsize: u32,
    pub(crate) agblocks: u32,
    pub(crate) agcount: u32,
    pub(crate) logblocks: u32,
    pub(crate) sectsize: u32,
    pub(crate) inodesize: u32,
    pub(crate) imaxpct: u32,
    pub(crate) datablocks: u64,
    pub(crate) rest: [u64; 27],
}

/// `struct xfs_growfs_data` (xfs_fs.h).
#[repr(C)]
pub(crate) struct XfsGrow {
    pub(crate) newblocks: u64,
    pub(crate) imaxpct: u32,
}

/// `struct btrfs_ioctl_fs_info_args` (linux/btrfs.h), as far as it is used here.
#[repr(C)]
pub(crate) struct BtrfsInfo {
    pub(crate) max_id: u64,
    pub(crate) num_devices: u64,
    pub(crate) fsid: [u8; 16],
    pub(crate) rest: [u64; 124],
}

/// `struct btrfs_ioctl_dev_info_args` (linux/btrfs.h).
#[repr(C)]
pub(crate) struct BtrfsDevice {
    pub(crate) devid: u64,
    pub(crate) uuid: [u8; 16],
    pub(crate) bytes_used: u64,
    pub(crate) total_bytes: u64,
    pub(crate) fsid: [u8; 16],
    pub(crate) unused: [u64; 377],
    pub(crate) path: [u8; 1024],
}

/// `struct btrfs_ioctl_vol_args` (linux/btrfs.h).
#[repr(C)]
pub(crate) struct BtrfsVolume {
    pub(crate) fd: i64,
    pub(crate) name: [u8; 4088],
}

/// `struct fiemap_extent` (linux/fiemap.h).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FiemapExtent {
    pub(crate) logical: u64,
    pub(crate) physical: u64,
    pub(crate) length: u64,
    pub(crate) reserved64: [u64; 2],
    pub(crate) flags: u32,
    pub(crate) reserved: [u32; 3],
}

/// Extents that one FIEMAP call returns.
pub(crate) const FIEMAP_BATCH: usize = 128;

/// `struct fiemap` (linux/fiemap.h) with room for its extents.
#[repr(C)]
pub(crate) struct Fiemap {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) flags: u32,
    pub(crate) mapped_extents: u32,
    pub(crate) extent_count: u32,
    pub(crate) reserved: u32,
    pub(crate) extents: [FiemapExtent; FIEMAP_BATCH],
}

/// `struct nvme_admin_cmd` (linux/nvme_ioctl.h).
#[repr(C)]
pub(crate) struct NvmeCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    words: [u32; 2],
    metadata: u64,
    address: u64,
    metadata_length: u32,
    data_length: u32,
    arguments: [u32; 6],
    // Zero for the kernel's own. One that is shorter makes the kernel reset a controller that is only slow.
    timeout_ms: u32,
    result: u32,
}

impl NvmeCommand {
    /// Asks for the identification of the controller.
    pub(crate) fn identify_controller() -> Self {
        Self {
            opcode: 6,
            flags: 0,
            reserved: 0,
            namespace: 0,
            words: [0; 2],
            metadata: 0,
            address: 0,
            metadata_length: 0,
            data_length: 0,
            arguments: [1, 0, 0, 0, 0, 0],
            timeout_ms: 0,
            result: 0,
        }
    }
}

/// `struct mount_attr` (linux/mount.h).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `struct fsxattr` (linux/fs.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FileAttributes {
    pub(crate) flags: u32,
    pub(crate) extent_size: u32,
    pub(crate) extents: u32,
    pub(crate) project: u32,
    pub(crate) cow_extent_size: u32,
    pub(crate) padding: [u8; 8],
}

/// `struct if_dqblk` (linux/quota.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct DiskQuota {
    pub(crate) hard_blocks: u64,
    pub(crate) soft_blocks: u64,
    pub(crate) space: u64,
    pub(crate) hard_inodes: u64,
    pub(crate) soft_inodes: u64,
    pub(crate) inodes: u64,
    pub(crate) block_time: u64,
    pub(crate) inode_time: u64,
    pub(crate) valid: u32,
}

/// What the driver of an SDC answers when it is asked for its GUID (goscaleio, `drv_cfg.go`, `ioctlGUID`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct SdcAnswer {
    pub(crate) code: [u8; 8],
    pub(crate) guid: [u8; 16],
    pub(crate) network: [u32; 2],
}

/// The generated functions, unsafe because an ioctl may do anything to its argument.
mod raw {
    use super::{
        BtrfsDevice, BtrfsInfo, BtrfsVolume, FileAttributes, LoopConfig, LoopInfo, NvmeCommand, SdcAnswer, XfsGeometry, XfsGrow,
    };

    nix::ioctl_read_bad!(block_read_only, nix::request_code_none!(0x12, 94), libc::c_int);
    nix::ioctl_none!(block_flush, 0x12, 97);
    nix::ioctl_read!(block_size, 0x12, 114, usize);

    nix::ioctl_none_bad!(loop_clear, 0x4C01);
    nix::ioctl_write_ptr_bad!(loop_set_status, 0x4C04, LoopInfo);
    nix::ioctl_read_bad!(loop_status, 0x4C05, LoopInfo);
    nix::ioctl_none_bad!(loop_set_capacity, 0x4C07);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);
    nix::ioctl_none_bad!(loop_free_number, 0x4C82);

    nix::ioctl_readwrite!(freeze, b'X', 119, libc::c_int);
    nix::ioctl_readwrite!(thaw, b'X', 120, libc::c_int);

    nix::ioctl_read!(file_attributes, b'X', 31, FileAttributes);
    nix::ioctl_write_ptr!(set_file_attributes, b'X', 32, FileAttributes);

    nix::ioctl_read!(xfs_geometry, b'X', 126, XfsGeometry);
    nix::ioctl_write_ptr!(xfs_grow, b'X', 110, XfsGrow);

    nix::ioctl_read!(btrfs_info, 0x94, 31, BtrfsInfo);
    nix::ioctl_readwrite!(btrfs_device, 0x94, 30, BtrfsDevice);
    nix::ioctl_write_ptr!(btrfs_resize, 0x94, 3, BtrfsVolume);

    nix::ioctl_read!(block_sequence, 0x12, 128, u64);

    // The numbers carry no size, and the driver takes as much as it wants.
    nix::ioctl_readwrite_bad!(sdc_guid, nix::request_code_none!(b'a', 14), SdcAnswer);
    nix::ioctl_readwrite_bad!(sdc_rescan, nix::request_code_none!(b'a', 10), SdcAnswer);

    nix::ioctl_none!(nvme_namespace, b'N', 0x40);
    nix::ioctl_readwrite!(nvme_admin, b'N', 0x41, NvmeCommand);

    // The request number carries the size of the header alone; the kernel reads extent_count for the rest.
    nix::ioctl_readwrite_bad!(fiemap, nix::request_code_readwrite!(b'f', 11, 32), super::Fiemap);
}

/// Wraps a generated ioctl that takes no argument.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[expect(unsafe_code, reason = "calls the generated ioctl")]
        pub(crate) fn $name(file: &File) -> Result<i32> {
            // SAFETY: the descriptor is open for as long as the call lasts, and this ioctl takes no argument.
            unsafe { raw::$name(file.as_raw_fd()) }
        }
    )*};
}

/// Wraps a generated ioctl that reads the structure it is given.
macro_rules! write {
    ($($(#[$doc:meta])* $name:ident($type:ty);)*) => {$(
        $(#[$doc])*
        #[expect(unsafe_code, reason = "calls the generated ioctl")]
        pub(crate) fn $name(file: &File, argument: &$type) -> Result<i32> {
            // SAFETY: the descriptor is open, and the argument is the kernel's structure, fully initialised, which it only reads.
            unsafe { raw::$name(file.as_raw_fd(), argument) }
        }
    )*};
}

/// Wraps a generated ioctl that fills or changes the structure it is given.
macro_rules! read {
    ($($(#[$doc:meta])* $name:ident($type:ty);)*) => {$(
        $(#[$doc])*
        #[expect(unsafe_code, reason = "calls the generated ioctl")]
        pub(crate) fn $name(file: &File, argument: &mut $type) -> Result<i32> {
            // SAFETY: the descriptor is open, and the argument is the kernel's structure, fully initialised and exclusively ours;
            // every bit pattern that the kernel may leave in it is valid.
            unsafe { raw::$name(file.as_raw_fd(), argument) }
        }
    )*};
}

plain! {
    /// BLKFLSBUF: writes what is cached for the device and forgets it.
    block_flush;
    /// LOOP_CLR_FD.
    loop_clear;
    /// LOOP_SET_CAPACITY: reads the image's size anew.
    loop_set_capacity;
    /// NVME_IOCTL_ID: the number of the namespace.
    nvme_namespace;
    /// LOOP_CTL_GET_FREE: the number of a loop device that was free a moment ago.
    loop_free_number;
}

write! {
    /// LOOP_SET_STATUS64.
    loop_set_status(LoopInfo);
    /// LOOP_CONFIGURE.
    loop_configure(LoopConfig);
    /// XFS_IOC_FSGROWFSDATA.
    xfs_grow(XfsGrow);
    /// FS_IOC_FSSETXATTR.
    set_file_attributes(FileAttributes);
    /// BTRFS_IOC_RESIZE.
    btrfs_resize(BtrfsVolume);
}

read! {
    /// BLKROGET.
    block_read_only(libc::c_int);
    /// BLKGETSIZE64, in bytes.
    block_size(usize);
    /// BLKGETDISKSEQ: a number that no two disks ever have, of Linux 5.15.
    block_sequence(u64);
    /// The GUID of the SDC.
    sdc_guid(SdcAnswer);
    /// Has the SDC look at its volumes anew.
    sdc_rescan(SdcAnswer);
    /// LOOP_GET_STATUS64; ENXIO when nothing is bound.
    loop_status(LoopInfo);
    /// FIFREEZE; the argument is not used.
    freeze(libc::c_int);
    /// FITHAW; the argument is not used.
    thaw(libc::c_int);
    /// FS_IOC_FSGETXATTR.
    file_attributes(FileAttributes);
    /// XFS_IOC_FSGEOMETRY.
    xfs_geometry(XfsGeometry);
    /// BTRFS_IOC_FS_INFO.
    btrfs_info(BtrfsInfo);
    /// BTRFS_IOC_DEV_INFO for the device `devid`.
    btrfs_device(BtrfsDevice);
    /// FS_IOC_FIEMAP.
    fiemap(Fiemap);
}

/// NVME_IOCTL_ADMIN_CMD: a command that fills `data`; returns the controller's status, zero when it has done it.
#[expect(unsafe_code, reason = "the structure carries an address")]
pub(crate) fn nvme_admin(file: &File, command: &NvmeCommand, data: &mut [u8; 4096]) -> Result<i32> {
    let address = std::ptr::from_mut(data).expose_provenance() as u64;
    let mut command = NvmeCommand { address, data_length: 4096, ..*command };
    // SAFETY: the descriptor is open, the structure is the kernel's, fully initialised and exclusively ours, and the memory that it
    // points to is as long as it says, exclusively ours, and outlives the call.
    unsafe { raw::nvme_admin(file.as_raw_fd(), &raw mut command) }
}

/// `mount_setattr(fd, "", AT_EMPTY_PATH)`: changes the attributes of the one mount that `mount` is, and takes it out of the group of
/// mounts that it shares what is mounted on it with.
#[expect(unsafe_code, reason = "neither rustix nor libc wraps mount_setattr")]
pub(crate) fn mount_make_private(mount: impl AsFd, set: MountAttrFlags, clear: MountAttrFlags) -> Result<()> {
    let attributes =
        MountAttr { attr_set: set.bits().into(), attr_clr: clear.bits().into(), propagation: libc::MS_PRIVATE, userns_fd: 0 };
    // SAFETY: the descriptor is open, the path is a NUL-terminated literal, and the structure is the kernel's first version
    // (32 bytes), fully initialised, whose size is passed with it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    nix::errno::Errno::result(done).map(drop)
}

/// `adjtimex` that changes nothing: whether a daemon keeps the clock right.
#[expect(unsafe_code, reason = "neither rustix nor nix wraps adjtimex")]
pub(crate) fn is_clock_synchronised() -> Result<bool> {
    // SAFETY: the structure is plain numbers, for which zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the kernel's, fully initialised and exclusively ours; with no mode set the kernel only fills it.
    let done = unsafe { libc::adjtimex(&raw mut state) };
    nix::errno::Errno::result(done)?;
    Ok(state.status & libc::STA_UNSYNC == 0)
}

/// Q_GETQUOTA and Q_SETQUOTA of a project (linux/quota.h): the command, shifted, with PRJQUOTA.
const GET_QUOTA: libc::c_int = (0x800007 << 8) | 2;
const SET_QUOTA: libc::c_int = (0x800008 << 8) | 2;

/// `quotactl_fd(Q_SETQUOTA)` for a project of the filesystem that `place` is in.
#[expect(unsafe_code, reason = "neither rustix nor libc wraps quotactl_fd")]
pub(crate) fn set_project_quota(place: impl AsFd, project: u32, quota: &DiskQuota) -> Result<()> {
    // SAFETY: the descriptor is open, and the structure is the kernel's, fully initialised, which it only reads.
    let done =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, place.as_fd().as_raw_fd(), SET_QUOTA, project, std::ptr::from_ref(quota)) };
    nix::errno::Errno::result(done).map(drop)
}

/// `quotactl_fd(Q_GETQUOTA)` for a project of the filesystem that `place` is in.
#[expect(unsafe_code, reason = "neither rustix nor libc wraps quotactl_fd")]
pub(crate) fn project_quota(place: impl AsFd, project: u32, quota: &mut DiskQuota) -> Result<()> {
    // SAFETY: the descriptor is open, and the structure is the kernel's, fully initialised and exclusively ours; every bit pattern that
    // the kernel may leave in it is valid.
    let done =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, place.as_fd().as_raw_fd(), GET_QUOTA, project, std::ptr::from_mut(quota)) };
    nix::errno::Errno::result(done).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes that the kernel's headers give; they are part of the request numbers.
    #[test]
    fn the_structures_are_as_large_as_the_kernels() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
        assert_eq!(size_of::<XfsGeometry>(), 256);
        assert_eq!(size_of::<XfsGrow>(), 16);
        assert_eq!(size_of::<BtrfsInfo>(), 1024);
        assert_eq!(size_of::<BtrfsDevice>(), 4096);
        assert_eq!(size_of::<BtrfsVolume>(), 4096);
        assert_eq!(size_of::<FiemapExtent>(), 56);
        assert_eq!(size_of::<Fiemap>(), 32 + FIEMAP_BATCH * 56);
        assert_eq!(size_of::<MountAttr>(), 32);
        assert_eq!(size_of::<FileAttributes>(), 28);
        assert_eq!(size_of::<DiskQuota>(), 72);
        assert_eq!(size_of::<NvmeCommand>(), 72);
        assert_eq!(size_of::<SdcAnswer>(), 32);
    }
}
