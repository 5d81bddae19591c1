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
use rustix::mount::{FsMountFlags, FsOpenFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::device::{Device, DeviceNumber};
use crate::errno::{self, Attempt};
use crate::mountinfo::MountTable;
use crate::options::MountOptions;
use crate::target::{Place, Target};
use crate::{identity, ioctl, superblock};

/// Mounts the filesystem of `device` at `target`: [`Host::mount`](crate::Host::mount).
///
/// Two options are added here, each only when the kernel has refused to mount without it and the reason has been verified:
/// - `nouuid` for an XFS whose UUID another mounted XFS has (a clone beside its origin);
/// - `noload` (ext4), `norecovery` (xfs) or `rescue=nologreplay` (btrfs) for a read-only mount of a device that is itself
///   read-only and whose journal is not empty. What is seen then is what was on the medium, without the last transactions.
pub fn mount(device: &Device, filesystem: Filesystem, options: &MountOptions, target: &Target) -> Result<()> {
    let read_only = options.read_only || device.read_only;
    let options = &options.clone().with_read_only(read_only);
    let mut added = Vec::new();
    let mount = loop {
        match detached(device, filesystem, options, &added) {
            Ok(mount) => break mount,
            Err(refusal) => match remedy(&refusal, device, filesystem, options)? {
                Some(option) if !added.contains(&option) => {
                    tracing::warn!(device = %device.path.display(), option = option.0, "mount needs an option more");
                    added.push(option);
                }
                _ => return Err(refusal.into()),
            },
        }
    };
    identity::verify(&mount, filesystem, device)?;
    attach(&mount, target)
}

/// Shows `source` at `target` too: [`Host::bind`](crate::Host::bind).
pub fn bind(source: &Path, target: &Target, options: &MountOptions) -> Result<()> {
    let what = || format!("bind {} to {}", source.display(), target.path().display());
    let held = rustix::fs::open(source, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).attempt(what)?;
    let stat = rustix::fs::fstat(&held).attempt(what)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(Error::precondition(format!("{} is a symbolic link, which is not followed", source.display())));
    }
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(&held, c"", clone).attempt(what)?;
    ioctl::mount_set_attributes(&mount, options.attributes(), options.cleared()).attempt(what)?;
    attach(&mount, target)
}

/// Takes away the topmost mount at `path`: [`Host::unmount`](crate::Host::unmount).
pub fn unmount(path: &Path) -> Result<()> {
    let place = Place::of(path)?;
    let nothing = || Error::not_found(format!("nothing is mounted at {}", place.path.display()));
    if MountTable::read()?.top(&place.path).is_none() {
        return Err(nothing());
    }
    // Not sys_mount::unmount: up to 3.1 its NOFOLLOW has the number of O_NOFOLLOW, which umount2(2) refuses.
    rustix::mount::unmount(place.by_descriptor(), UnmountFlags::NOFOLLOW).map_err(io::Error::from).map_err(|cause| match cause.raw_os_error() {
        Some(libc::EINVAL | libc::ENOENT) => nothing().caused_by(cause),
        Some(libc::EBUSY) => {
            Error::precondition(format!("{} is in use; end what uses it", place.path.display())).caused_by(cause)
        }
        _ => errno::error(format!("unmount {}", place.path.display()), cause),
    })
}

/// Why the kernel did not make a mount, in its own words as far as it had any.
struct Refusal {
    kind: Kind,
    what: String,
    cause: io::Error,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::new(refusal.kind, refusal.what).caused_by(refusal.cause)
    }
}

/// Makes a mount that is nowhere yet.
fn detached(
    device: &Device,
    filesystem: Filesystem,
    options: &MountOptions,
    added: &[(&str, Option<&str>)],
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
    let superblock = options.superblock().chain(added.iter().copied());
    let read_only = options.read_only.then_some(("ro", None));
    for (key, value) in superblock.chain(read_only) {
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
    let made = rustix::mount::fsconfig_set_string(&context, c"source", &device.path)
        .and_then(|()| still_there(device))
        .and_then(|()| rustix::mount::fsconfig_create(&context));
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

/// The option that may make the kernel change its mind, if the reason for it holds.
fn remedy(
    refusal: &Refusal,
    device: &Device,
    filesystem: Filesystem,
    options: &MountOptions,
) -> Result<Option<(&'static str, Option<&'static str>)>> {
    Ok(match (refusal.cause.raw_os_error(), filesystem) {
        (Some(libc::EINVAL), Filesystem::Xfs) if !options.has("nouuid") && has_mounted_twin(device)? => Some(("nouuid", None)),
        (Some(libc::EROFS), _) if options.read_only && device.is_protected()? => Some(match filesystem {
            Filesystem::Ext4 => ("noload", None),
            Filesystem::Xfs => ("norecovery", None),
            Filesystem::Btrfs => ("rescue", Some("nologreplay")),
        }),
        _ => None,
    })
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
fn words(context: &OwnedFd, options: &MountOptions) -> String {
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

/// Makes a detached mount visible.
fn attach(mount: impl AsFd, target: &Target) -> Result<()> {
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", by_descriptor).map_err(|errno| {
        let error = errno::error(format!("attach a mount at {}", target.path().display()), errno);
        // A target that was removed meanwhile is not the caller's "not found".
        if error.kind() == Kind::NotFound { error.with_kind(Kind::Precondition) } else { error }
    })
}
