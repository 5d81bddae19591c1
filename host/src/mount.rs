//! Mounting, binding and unmounting, by descriptor.
//!
//! A mount is made detached (fsopen, fsmount, open_tree), checked while nobody can see it, and then moved onto a target that is
//! held open. So a target never shows the wrong filesystem, or the right one with the wrong options, not for an instant; and
//! what fails before the move leaves nothing behind, because a detached mount ends with its descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hawser_volume::{Error, Filesystem, Kind, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::device::{Device, DeviceNumber};
use crate::errno::{self, Attempt};
use crate::mountinfo::MountTable;
use crate::options::MountOptions;
use crate::signature::{self, Content};
use crate::target::{Place, Target};
use crate::{busy, identity, ioctl, remote, rungs, superblock};

/// Mounts the filesystem of `device` at `target`: [`Host::mount`](crate::Host::mount).
///
/// If the device is mounted elsewhere already, the new mount shares that filesystem, and its options with it; the kernel refuses
/// (`Precondition`) when one is read-only and the other is not, except for btrfs.
///
/// `nouuid` is added for an XFS whose UUID another mounted XFS has (a clone beside its origin), and only then. Nothing is added
/// for a device that is itself read-only and whose journal is not empty: without its journal a filesystem may lack files that
/// were synced long ago. It is `Precondition`, and whoever can do without says so (`noload`, `norecovery`, `rescue=nologreplay`).
pub fn mount(device: &Device, filesystem: Filesystem, options: &MountOptions, target: &Target) -> Result<()> {
    device.prove()?;
    let read_only = options.read_only || device.read_only;
    let options = &options.clone().with_read_only(read_only);
    let table = MountTable::read()?;
    // btrfs numbers its mounts itself; its source is the device all the same.
    let is_shown = table.entries().iter().any(|entry| entry.device == device.number || entry.source == device.path);
    let make = |nouuid| {
        let is_busy = |refusal: &Refusal| refusal.is(libc::EBUSY);
        // What is mounted here already is not on its way out: there is nothing to wait for.
        if is_shown {
            return detached(device, filesystem, options, nouuid, Superblock::Shared);
        }
        match busy::asked_again(|| detached(device, filesystem, options, nouuid, Superblock::Fresh), is_busy) {
            // It is mounted elsewhere, and not only for a moment; or the kernel is older than 6.6 and cannot promise.
            Err(refusal) if is_busy(&refusal) || refusal.is(libc::EOPNOTSUPP) => {
                detached(device, filesystem, options, nouuid, Superblock::Shared)
            }
            other => other,
        }
    };
    let mount = match make(false) {
        Err(refusal) if filesystem == Filesystem::Xfs && refusal.is(libc::EINVAL) && has_mounted_twin(device)? => make(true),
        other => other,
    }
    .map_err(|refusal| explain(refusal, device, filesystem))?;
    identity::verify(&mount, filesystem, device)?;
    // What is open keeps its number: the mount's device is the open one, and this says that the open one is still the right one.
    device.prove()?;
    attach(&mount, target)
}

/// Shows the node of `device` at `target`: [`Host::bind_device`](crate::Host::bind_device).
pub fn bind_device(device: &Device, target: &Target) -> Result<()> {
    let what = || format!("show {} at {}", device.path.display(), target.path().display());
    device.prove()?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::open(&device.path, flags, Mode::empty()).attempt(what);
    let node = node.map_err(|error| error.with_kind(Kind::Unavailable))?;
    let stat = rustix::fs::fstat(&node).attempt(what)?;
    let found = DeviceNumber::from_dev(stat.st_rdev);
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice || found != device.number {
        return Err(Error::precondition(format!("{}: the path does not lead to device {} any more", what(), device.number)));
    }
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(&node, c"", clone).attempt(what)?;
    let options = MountOptions::default();
    ioctl::mount_make_private(&mount, options.attributes(), options.cleared()).attempt(what)?;
    attach(&mount, target)
}

/// Shows `source` at `target` too: [`Host::bind`](crate::Host::bind).
pub fn bind(source: &Path, target: &Target, options: &MountOptions) -> Result<()> {
    let what = || format!("bind {} to {}", source.display(), target.path().display());
    let (path, asked) = (source.to_owned(), what());
    // Opening and looking ask the server of a remote filesystem; the rest is this kernel's own.
    let (held, stat) = remote::patiently(source, remote::PATIENCE, move || {
        let held = rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let held = held.attempt(|| asked.clone())?;
        let stat = rustix::fs::fstat(&held).attempt(|| asked)?;
        Ok((held, stat))
    })?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(Error::precondition(format!("{} is a symbolic link, which is not followed", source.display())));
    }
    let is_directory = |mode| FileType::from_raw_mode(mode) == FileType::Directory;
    if is_directory(stat.st_mode) != is_directory(rustix::fs::fstat(target).attempt(what)?.st_mode) {
        return Err(Error::precondition(format!("{}: one is a directory, the other is not", what())));
    }
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(&held, c"", clone).attempt(what)?;
    // A copy of a shared mount (where systemd is, every mount is one) is in its group: what somebody mounts on the target would appear
    // at the source, and nobody could tell the two from one mount that is seen in two places.
    ioctl::mount_make_private(&mount, options.attributes(), options.cleared()).attempt(what)?;
    attach(&mount, target)
}

/// Mounts an empty filesystem at `target` that takes no data: whoever should come to use it is told so by the kernel (`EROFS`), in
/// place of writing into the directory below.
pub fn empty(target: &Target) -> Result<()> {
    let what = || format!("mount an empty filesystem at {}", target.path().display());
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).attempt(what)?;
    for (key, value) in [(c"source", c"hawser"), (c"size", c"4k"), (c"mode", c"0555")] {
        rustix::mount::fsconfig_set_string(&context, key, value).attempt(what)?;
    }
    rustix::mount::fsconfig_set_flag(&context, c"ro").attempt(what)?;
    rustix::mount::fsconfig_create(&context).attempt(what)?;
    let mount =
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY).attempt(what)?;
    attach(&mount, target)
}

/// Takes away the topmost mount at `path`: [`Host::unmount`](crate::Host::unmount).
pub fn unmount(path: &Path) -> Result<()> {
    let place = Place::of(path)?;
    let nothing = || Error::not_found(format!("nothing is mounted at {}", place.path.display()));
    let table = MountTable::read()?;
    let Some(entry) = table.top(&place.path) else { return Err(nothing()) };
    if remote::is_remote(entry) {
        return rungs::unmount(&place, entry, &table);
    }
    // Not sys_mount::unmount: up to 3.1 its NOFOLLOW has the number of O_NOFOLLOW, which umount2(2) refuses.
    let unmount = || rustix::mount::unmount(place.by_descriptor(), UnmountFlags::NOFOLLOW);
    let done = busy::asked_again(unmount, |errno| *errno == rustix::io::Errno::BUSY);
    done.map_err(io::Error::from).map_err(|cause| match cause.raw_os_error() {
        Some(libc::EINVAL | libc::ENOENT) => nothing().caused_by(cause),
        Some(libc::EBUSY) => {
            Error::precondition(format!("{} is in use; end what uses it", place.path.display())).caused_by(cause)
        }
        _ => errno::error(format!("unmount {}", place.path.display()), cause),
    })
}

/// Whether the filesystem may be one that is in use already, with the options that it has.
#[derive(Clone, Copy)]
enum Superblock {
    /// It may not: one that was unmounted a moment ago and is still on its way out does not count as this one.
    Fresh,
    /// It may.
    Shared,
}

/// Why the kernel did not make a mount, in its own words as far as it had any.
struct Refusal {
    kind: Kind,
    what: String,
    cause: io::Error,
}

impl Refusal {
    fn is(&self, errno: i32) -> bool {
        self.cause.raw_os_error() == Some(errno)
    }
}

/// What a refusal means for whoever has to do something about it.
fn explain(refusal: Refusal, device: &Device, filesystem: Filesystem) -> Error {
    let mut what = refusal.what.clone();
    let mut kind = refusal.kind;
    // btrfs says EIO where the others say EROFS.
    let is_journal =
        refusal.is(libc::EROFS) || refusal.is(libc::EIO) && filesystem == Filesystem::Btrfs && needs_recovery(device);
    if is_journal && device.is_protected().unwrap_or(false) {
        kind = Kind::Precondition;
        let without = match filesystem {
            Filesystem::Ext4 => "noload",
            Filesystem::Xfs => "norecovery",
            Filesystem::Btrfs => "rescue=nologreplay",
        };
        what.push_str(
            ": its journal has to be replayed and the device is read-only; attach it for writing once, or mount it with ",
        );
        what.push_str(without);
        what.push_str(" and do without what is in the journal");
    }
    if refusal.is(libc::EEXIST) && filesystem == Filesystem::Btrfs {
        kind = Kind::Precondition;
        what.push_str(
            ": a device with the same filesystem, of which one is a copy of the other, is mounted on this node; kernels before 6.7 \
             mount one of them at a time, so use the copy on another node",
        );
    }
    Error::new(kind, what).caused_by(refusal.cause)
}

fn needs_recovery(device: &Device) -> bool {
    matches!(signature::examine(&device.file, device.size, device.sector), Ok(Content::Filesystem(info)) if info.needs_recovery)
}

/// Makes a mount that is nowhere yet.
fn detached(
    device: &Device,
    filesystem: Filesystem,
    options: &MountOptions,
    nouuid: bool,
    superblock: Superblock,
) -> std::result::Result<OwnedFd, Refusal> {
    let object = format!("{filesystem} of {}", device.path.display());
    let refused = |kind: fn(&io::Error) -> Kind, what: String, cause: rustix::io::Errno| {
        let cause = io::Error::from(cause);
        Refusal { kind: kind(&cause), what, cause }
    };
    let context = rustix::mount::fsopen(filesystem.as_str(), FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| {
        let kind = |cause: &io::Error| match cause.raw_os_error() {
            Some(libc::ENODEV) => Kind::Precondition,
            _ => errno::kind(cause),
        };
        refused(kind, format!("mount {object}: ask the kernel for {filesystem}"), errno)
    })?;
    let read_only = options.read_only.then_some(("ro", None));
    let nouuid = (nouuid && !options.has("nouuid")).then_some(("nouuid", None));
    for (key, value) in options.superblock().chain(read_only).chain(nouuid) {
        let set = match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key, value),
            None => rustix::mount::fsconfig_set_flag(&context, key),
        };
        set.map_err(|errno| {
            let kind = |cause: &io::Error| match cause.raw_os_error() {
                Some(libc::EINVAL | libc::ERANGE) => Kind::Invalid,
                _ => errno::kind(cause),
            };
            refused(kind, format!("mount {object}: option {key} is refused{}", words(&context, options)), errno)
        })?;
    }
    let made =
        rustix::mount::fsconfig_set_string(&context, c"source", &device.path).and_then(|()| still_there(device)).and_then(|()| {
            match superblock {
                Superblock::Fresh => rustix::mount::fsconfig_create_exclusive(&context),
                Superblock::Shared => rustix::mount::fsconfig_create(&context),
            }
        });
    made.map_err(|errno| {
        let kind = |cause: &io::Error| match cause.raw_os_error() {
            // A bad superblock, or options that do not go together: either way somebody must look.
            Some(libc::EINVAL) => Kind::Precondition,
            Some(libc::ENOENT | libc::ENOTBLK) => Kind::Unavailable,
            _ => errno::kind(cause),
        };
        refused(kind, format!("mount {object}{}", words(&context, options)), errno)
    })?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, options.attributes())
        .map_err(|errno| refused(errno::kind, format!("mount {object}{}", words(&context, options)), errno))
}

/// The kernel looks the path up again. It is compared just before, so that a filesystem of another device is not even made (and
/// its journal not replayed); [`identity::verify`] afterwards closes the rest of the gap.
fn still_there(device: &Device) -> rustix::io::Result<()> {
    let found = DeviceNumber::from_dev(rustix::fs::stat(&device.path)?.st_rdev);
    if found == device.number { Ok(()) } else { Err(rustix::io::Errno::NXIO) }
}

/// Whether an XFS with the same UUID is mounted from another device, in whatever mount namespace.
fn has_mounted_twin(device: &Device) -> Result<bool> {
    let Some(uuid) = superblock::xfs_uuid(&device.file) else { return Ok(false) };
    // One directory for each mounted XFS, named as its device.
    let Ok(mounted) = std::fs::read_dir("/sys/fs/xfs") else { return Ok(false) };
    for entry in mounted.flatten() {
        let name = entry.file_name();
        let Ok(number) = std::fs::read_to_string(Path::new("/sys/class/block").join(&name).join("dev")) else { continue };
        if number.parse::<DeviceNumber>()? == device.number {
            continue;
        }
        let Ok(other) = Device::open(&Path::new("/dev").join(&name), true) else { continue };
        if superblock::xfs_uuid(&other.file) == Some(uuid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the kernel wrote into the log of a mount context, with the values of options taken out: they may be secrets.
pub(crate) fn words(context: &OwnedFd, options: &MountOptions) -> String {
    let mut said = String::new();
    let mut message = [0; 1024];
    // Each read returns one message, the oldest first, and ENODATA when there are no more.
    while let Ok(length) = rustix::io::read(context, &mut message) {
        let text = String::from_utf8_lossy(&message[..length]);
        if let Some(text) = text.trim().strip_prefix("e ").or_else(|| text.trim().strip_prefix("w ")) {
            said.push_str(if said.is_empty() { " (the kernel says: " } else { "; " });
            said.push_str(text);
        }
        if length == 0 {
            break;
        }
    }
    for (_, value) in options.superblock() {
        if let Some(value) = value.filter(|value| value.len() > 2) {
            said = said.replace(value, "…");
        }
    }
    if !said.is_empty() {
        said.push(')');
    }
    said
}

/// Makes a detached mount visible: [`Host::attach`](crate::Host::attach).
pub fn attach(mount: impl AsFd, target: &Target) -> Result<()> {
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", by_descriptor).map_err(|errno| {
        let error = errno::error(format!("attach a mount at {}", target.path().display()), errno);
        // A target that was removed meanwhile is not the caller's "not found".
        if error.kind() == Kind::NotFound { error.with_kind(Kind::Precondition) } else { error }
    })
}
