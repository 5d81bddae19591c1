//! The only part of Hawser that touches Linux.
//!
//! [`Host`] is everything that the node side and the local backend ask of the machine: the table of mounts
//! ([`mountinfo`]), mounting and unmounting ([`mount`]) at targets that are held by file descriptor ([`target`]), devices
//! ([`device`], [`loopdev`], [`disk`]), what is on them ([`signature`], [`superblock`]), making, checking and growing filesystems
//! ([`format`](mod@format), [`check`], [`grow`]). [`Linux`] is the implementation; tests wrap it to make single calls fail.
//!
//! Beside it stand the pieces that records need: files that are written whole or not at all ([`durable`]), locks between
//! processes ([`lock`]), copies that keep holes ([`copy`]).
//!
//! Everything here may block. Callers run it on threads where that is allowed, and are prepared to abandon it: a hung
//! server or device cannot be interrupted, only left behind. The only programs that are ever executed are `mkfs.*`,
//! `fsck`-like checkers, `mount.nfs`, and the program of ScaleIO's SDC ([`exec`]).

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use hawser_volume::{Bytes, Deadline, Filesystem, Result};

mod around;
pub mod beneath;
mod blank;
mod busy;
pub mod check;
pub mod copy;
pub mod device;
pub mod disk;
pub mod durable;
pub mod elsewhere;
mod errno;
pub mod examine;
pub mod exec;
#[cfg(feature = "faults")]
pub mod fault;
mod foreign;
pub mod format;
pub mod freeze;
pub mod group;
pub mod grow;
mod identity;
mod ioctl;
mod linux;
pub mod lock;
pub mod loopdev;
pub mod machine;
pub mod mount;
pub mod mountinfo;
pub mod nfs;
pub mod nvme;
pub mod options;
pub mod quota;
pub mod remote;
pub mod removal;
pub mod replica;
mod rungs;
mod scratch;
pub mod sdc;
pub mod signature;
pub mod space;
pub mod step;
pub mod superblock;
pub mod target;
pub mod uevent;
mod unfinished;
pub mod usage;

pub use beneath::Directory;
pub use device::{Device, DeviceNumber};
pub use disk::{Beneath, DiskName, Trace};
pub use format::FormatOptions;
pub use linux::Linux;
pub use mountinfo::{MountEntry, MountTable};
pub use nfs::{Detached, NfsMount};
pub use options::MountOptions;
pub use sdc::Sdc;
pub use signature::{Content, FilesystemInfo};
pub use target::{Shape, Target};
pub use usage::{Space, Usage};

/// What the node side and the local backend ask of the machine.
///
/// Every method may block for as long as the device or server below it does. None of them keeps state: what is mounted is what
/// the kernel says is mounted. None of them retries, but what is busy is asked again for some seconds: a program that is being
/// started (mkfs for another volume) holds copies of all descriptors of this process for a moment.
pub trait Host: Send + Sync + Debug {
    /// The mounts that this process sees (`/proc/self/mountinfo`), in the kernel's order, which says nothing of what covers what:
    /// ask [`MountTable::top`] and [`MountTable::at`]. Mounts of other mount namespaces are not among them; whether a device is
    /// mounted anywhere is what [`Device::is_held`] tells.
    fn mounts(&self) -> Result<MountTable>;

    /// The path as the kernel writes it in mountinfo: every directory above the last component resolved, the last component
    /// itself neither followed nor touched (it may be the root of a dead mount). `NotFound` when a directory above is missing;
    /// `Invalid` for a relative path or one that ends in `.` or `..`.
    fn resolve(&self, path: &Path) -> Result<PathBuf>;

    /// Makes sure that `path` exists as `shape` (parents too, mode 0750) and holds it by file descriptor. A symlink or another
    /// kind of file there is refused with `Precondition`. An existing directory or file is used as it is.
    fn create_target(&self, path: &Path, shape: Shape) -> Result<Target>;

    /// Removes an empty directory or empty file at `path`, never following a link; success when nothing is there,
    /// `Precondition` when it is not empty or a mount is on it.
    fn remove_target(&self, path: &Path) -> Result<()>;

    /// Opens a block device and reads its number, size and sector size from the open descriptor.
    fn open_device(&self, path: &Path, read_only: bool) -> Result<Device>;

    /// Mounts the filesystem of `device` at `target`.
    ///
    /// The mount is made detached and compared with the open device before it becomes visible; a mount that turns out to be of
    /// another device is dropped and reported as `Internal`. The kernel's own words are part of the error.
    fn mount(&self, device: &Device, filesystem: Filesystem, options: &MountOptions, target: &Target) -> Result<()>;

    /// Shows what is at `source` (a directory or file, not following a link in the last component) at `target` too, with the
    /// per-mount part of `options` (read-only, noexec, …) set before it becomes visible.
    fn bind(&self, source: &Path, target: &Target, options: &MountOptions) -> Result<()>;

    /// Shows the node of an open device at `target`, a file. `Precondition` when the device's path leads to another device by now, or the
    /// device is another disk than it was opened as.
    fn bind_device(&self, device: &Device, target: &Target) -> Result<()>;

    /// Mounts a directory of an NFS server to nowhere: see [`nfs`].
    fn mount_nfs(&self, mount: &NfsMount, deadline: Deadline) -> Result<Detached>;

    /// Attaches a detached mount to `target`.
    fn attach(&self, mount: &Detached, target: &Target) -> Result<()>;

    /// Takes away the topmost mount at `path`, never lazily, never following a link. `Precondition` when it is busy,
    /// `NotFound` when nothing is mounted there.
    fn unmount(&self, path: &Path) -> Result<()>;

    /// Binds `image` to a free loop device (direct I/O where the filesystem below can) and opens that, or reuses the one that is
    /// already bound to the same file in the same way. The device is compared with the image by device and inode number.
    fn attach_loop(&self, image: &Path, read_only: bool) -> Result<Device>;

    /// The loop devices that are bound to `image` now, compared by device and inode number.
    fn loops_of(&self, image: &Path) -> Result<Vec<PathBuf>>;

    /// Frees the loop device at `device` if it is still bound to `image`: flushes it, makes sure that no mount in any
    /// namespace holds it, frees it and waits until the kernel has done so. `Precondition` when something still uses it.
    fn detach_loop(&self, device: &Path, image: &Path, deadline: Deadline) -> Result<()>;

    /// Makes the loop device as large as its image is now, and returns that size.
    fn resize_loop(&self, device: &Path) -> Result<Bytes>;

    /// The file that is shown by `mount` through a loop device: its filesystem is on one (the kernel's name of the file, with
    /// ` (deleted)` cut off), or it is a bind mount of the device itself. Nothing for any other mount.
    fn loop_image_of(&self, mount: &MountEntry) -> Result<Option<PathBuf>>;

    /// The file that the loop device numbered `number` is bound to, as the kernel remembers its path (with ` (deleted)` cut
    /// off), or nothing when it is not a bound loop device.
    fn loop_image(&self, number: DeviceNumber) -> Result<Option<PathBuf>>;

    /// Opens the disk that the first of `names` names that there is, as soon as it is there; nothing when it has not come until
    /// `deadline`. The open device has been asked who it is. `Precondition` when it says that it is another one, when two say that they
    /// are it, or when its node is that of another device.
    fn open_disk(&self, names: &[DiskName], read_only: bool, deadline: Deadline) -> Result<Option<Device>>;

    /// The disk that `mount` shows, a filesystem on it or its node, even when it is gone.
    fn disk_of(&self, mount: &MountEntry) -> Result<Beneath>;

    /// Whether the disk beneath `mount` is gone from the machine, also when another has its number by now. What is written through such a
    /// mount goes nowhere.
    fn is_severed(&self, mount: &MountEntry) -> Result<bool>;

    /// Has the size of a disk read anew and waits until it is `at_least` so large, no longer than until `deadline`. The size that it has,
    /// or nothing when there is no such disk.
    fn rescan_disk(&self, names: &[DiskName], at_least: Bytes, deadline: Deadline) -> Result<Option<Bytes>>;

    /// Makes sure that nothing has a disk for itself (a mount in any mount namespace), and that everything that was written is on it.
    /// `Precondition` when something uses it; success when there is no such disk.
    fn rest_disk(&self, names: &[DiskName]) -> Result<()>;

    /// What is on `device`. Reads that fail are errors, never "blank". What is cached of the device is dropped first, so that what
    /// another node wrote is seen; if the device is mounted here, that writes its filesystem's cache to it.
    fn probe(&self, device: &Device) -> Result<Content>;

    /// Makes a filesystem on a device that [`Host::probe`] found blank, so that it appears as a whole or not at all: see
    /// [`format`](mod@format).
    fn format(&self, device: &Device, filesystem: Filesystem, options: &FormatOptions, deadline: Deadline) -> Result<()>;

    /// Repairs what can be repaired without a decision, if the superblock says that there is something to repair; does nothing
    /// (and executes nothing) otherwise. `Internal` with the checker's words when a person must decide.
    fn check(&self, device: &Device, filesystem: Filesystem, deadline: Deadline) -> Result<()>;

    /// Makes the filesystem mounted at `mount_point` as large as its device, if it is smaller; returns whether it grew.
    fn grow(&self, mount_point: &Path, filesystem: Filesystem, device: &Device) -> Result<bool>;

    /// Space and inodes of the filesystem that `path` is in.
    fn usage(&self, path: &Path) -> Result<Usage>;

    /// Writes everything that is cached for the filesystem at `path` to its device.
    fn sync(&self, path: &Path) -> Result<()>;

    /// Stops writes to the filesystem at `path` and brings it into a consistent state on its device, until [`Host::thaw`].
    fn freeze(&self, path: &Path) -> Result<()>;

    /// Lets writes go on; success when the filesystem was not frozen.
    fn thaw(&self, path: &Path) -> Result<()>;

    /// Gives everything below `path` to the group `gid`, as far as it is not so yet: group read and write (and execute where
    /// the owner has it), and directories that hand the group down. Never follows a link, never leaves the filesystem.
    fn give_to_group(&self, path: &Path, gid: u32, deadline: Deadline) -> Result<()>;
}
