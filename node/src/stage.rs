//! Staging: attach, look at what is there, format only what is blank, mount, grow; and the way back.

use std::path::{Path, PathBuf};

use hawser_host::step::{self, Step};
use hawser_host::{Content, Device, FormatOptions, Host, MountEntry, MountOptions, Shape, remote};
use hawser_volume::{Access, AccessKind, Error, Filesystem, Kind, MkfsParameters, MountAccess, Result, VolumeId};

use crate::attach::{Attach, Attacher, Source};
use crate::view::{View, prove_connected, unmount_all};

/// The name, below the staging path of a raw block volume, at which its device is mounted.
const DEVICE: &str = "device";

/// A volume to be staged.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) attach: Attach,
    pub(crate) access: Access,
    pub(crate) path: PathBuf,
}

/// Where the mount of a staged volume is: for a raw device a file below the staging path, as a path cannot be both.
pub(crate) fn mount_point(staging: &Path, block: bool) -> PathBuf {
    if block { staging.join(DEVICE) } else { staging.to_path_buf() }
}

/// Stages a volume. What a failure leaves attached is detached again, so that a final error leaves nothing behind.
pub(crate) fn stage(host: &dyn Host, attacher: &dyn Attacher, stage: &Stage) -> Result<()> {
    let volume = &stage.attach.volume;
    let staging = match host.resolve(&stage.path) {
        // Some COs expect the plugin to make the path.
        Err(error) if error.kind() == Kind::NotFound => host.create_target(&stage.path, Shape::Directory)?.path().to_path_buf(),
        path => path?,
    };
    if let Some(entry) = staged(&View::now(host, attacher, volume)?, stage, &staging)? {
        prove_connected(host, volume, &entry)?;
        return stage_again(host, attacher, stage, &staging, &entry);
    }
    let source = attacher.attach(&stage.attach)?;
    step::reached(Step::DeviceAttached);
    let result = show(host, stage, &staging, source);
    step::reached(Step::StagingMounted);
    if result.is_err() {
        let left = View::now(host, attacher, volume)?.everywhere()?.len();
        if left == 0
            && let Err(error) = attacher.detach(volume, &stage.attach.node, stage.attach.deadline)
        {
            tracing::warn!(volume = %volume, error = error.chain(), "could not detach after a failed stage; NodeUnstageVolume will");
        }
    }
    result
}

/// The mount under which the volume is staged at this path; `AlreadyExists` when it is staged there as something else.
fn staged(view: &View<'_>, stage: &Stage, staging: &Path) -> Result<Option<MountEntry>> {
    let volume = &stage.attach.volume;
    let block = stage.access.is_block();
    let already = |how: &str| {
        Error::already_exists(format!("volume {volume} is staged at {} {how} already; unstage it first", staging.display()))
    };
    if view.shows(&mount_point(staging, !block))? {
        return Err(already(if block { "with a filesystem" } else { "as a raw device" }));
    }
    let Some(entry) = view.at(&mount_point(staging, block))? else { return Ok(None) };
    if let Some(wanted) = stage.access.mount().and_then(|mount| mount.filesystem)
        && entry.filesystem != wanted.as_str()
        && Filesystem::ALL.iter().any(|fs| fs.as_str() == entry.filesystem)
    {
        return Err(already(&format!("with {}, not {wanted},", entry.filesystem)));
    }
    Ok(Some(entry.clone()))
}

/// A stage of what is staged: checks that it is staged as wanted, and sees to what may have changed since, the size and the group.
fn stage_again(host: &dyn Host, attacher: &dyn Attacher, stage: &Stage, staging: &Path, entry: &MountEntry) -> Result<()> {
    let Some(mount) = stage.access.mount() else { return Ok(()) };
    let volume = &stage.attach.volume;
    let source = attacher.attach(&stage.attach)?;
    let cannot_write = match &source {
        Source::Device { device, .. } => device.read_only,
        Source::Directory { read_only, .. } | Source::Mount { read_only, .. } => *read_only,
    };
    let wanted = cannot_write || stage.attach.read_only || MountOptions::parse(&mount.flags)?.read_only;
    if wanted != entry.read_only() {
        // Nobody asked for a read-only filesystem, and its mount says that it can be written.
        if !wanted && !entry.options.iter().any(|option| option == "ro") {
            return Err(Error::internal(format!(
                "the {} of volume {volume} has become read-only, which it does after an I/O error; see the kernel log, then unstage it",
                entry.filesystem
            )));
        }
        return Err(Error::already_exists(format!(
            "volume {volume} is staged at {} {} already; unstage it first",
            staging.display(),
            if wanted { "for writing" } else { "read-only" }
        )));
    }
    if !wanted {
        if let Source::Device { device, .. } = &source
            && let Content::Filesystem(found) = host.probe(device)?
        {
            grow(host, staging, found.filesystem, device);
        }
        give_to_group(host, stage, mount, staging)?;
    }
    Ok(())
}

fn show(host: &dyn Host, stage: &Stage, staging: &Path, source: Source) -> Result<()> {
    match (source, &stage.access.kind) {
        (Source::Device { device, .. }, AccessKind::Block) => {
            host.create_target(staging, Shape::Directory)?;
            let target = host.create_target(&mount_point(staging, true), Shape::File)?;
            host.bind_device(&device, &target)
        }
        (Source::Device { device, blank }, AccessKind::Mount(mount)) => {
            show_filesystem(host, stage, mount, staging, &device, blank)
        }
        (Source::Directory { path, read_only }, AccessKind::Mount(mount)) => {
            let options = MountOptions::parse(&mount.flags)?;
            let read_only = read_only || options.read_only;
            let target = host.create_target(staging, Shape::Directory)?;
            host.bind(&path, &target, &options.with_read_only(read_only))?;
            if !read_only {
                give_to_group(host, stage, mount, staging)?;
            }
            Ok(())
        }
        (Source::Mount { make, read_only }, AccessKind::Mount(mount)) => {
            let target = host.create_target(staging, Shape::Directory)?;
            host.attach(&make()?, &target)?;
            if !read_only {
                give_to_group(host, stage, mount, staging)?;
            }
            Ok(())
        }
        (Source::Directory { .. } | Source::Mount { .. }, AccessKind::Block) => {
            Err(Error::invalid(format!("volume {} is a directory and cannot be a raw device", stage.attach.volume)))
        }
    }
}

fn show_filesystem(
    host: &dyn Host,
    stage: &Stage,
    mount: &MountAccess,
    staging: &Path,
    device: &Device,
    blank: Option<bool>,
) -> Result<()> {
    let volume = &stage.attach.volume;
    let options = MountOptions::parse(&mount.flags)?;
    let read_only = options.read_only || stage.attach.read_only || device.read_only;
    let content = match blank {
        // The storage system says that nothing was ever written. Formatting proves that again before it writes, so once is enough.
        Some(true) => Content::Blank,
        _ => host.probe(device)?,
    };
    let filesystem = match content {
        Content::Filesystem(found) => match mount.filesystem {
            Some(wanted) if wanted != found.filesystem => {
                return Err(Error::precondition(format!(
                    "volume {volume} has {} and {wanted} was asked for; ask for {0}, or use a new volume: nothing is reformatted",
                    found.filesystem
                )));
            }
            _ => found.filesystem,
        },
        Content::Foreign(what) => {
            return Err(Error::precondition(format!(
                "volume {volume} is not blank ({what}) and is left as it is; use it as raw block, or wipe it if nobody needs it"
            )));
        }
        content @ (Content::Blank | Content::Unfinished { .. }) => {
            if matches!(content, Content::Blank) && blank == Some(false) {
                return Err(Error::precondition(format!(
                    "volume {volume} looks blank where it was read, but its storage holds data; it is left as it is"
                )));
            }
            if read_only {
                return Err(Error::precondition(format!(
                    "volume {volume} has no filesystem yet and is wanted read-only; write to it first"
                )));
            }
            format(host, stage, mount, device)?
        }
    };
    if !read_only {
        host.check(device, filesystem, stage.attach.deadline)?;
    }
    let target = host.create_target(staging, Shape::Directory)?;
    host.mount(device, filesystem, &options.with_read_only(read_only), &target)?;
    if !read_only {
        grow(host, staging, filesystem, device);
        give_to_group(host, stage, mount, staging)?;
    }
    Ok(())
}

/// A filesystem that is smaller than its device can be used; not to mount it would keep its data from its owner.
fn grow(host: &dyn Host, staging: &Path, filesystem: Filesystem, device: &Device) {
    if let Err(error) = host.grow(staging, filesystem, device) {
        tracing::warn!(path = %staging.display(), error = error.chain(), "the filesystem stays smaller than its volume; NodeExpandVolume tries again");
    }
}

fn format(host: &dyn Host, stage: &Stage, mount: &MountAccess, device: &Device) -> Result<Filesystem> {
    let volume = &stage.attach.volume;
    let (wishes, _) = MkfsParameters::take_from("volume_context", &mut stage.attach.volume_context.clone())?;
    let filesystem = wishes.filesystem(mount.filesystem)?;
    let options = FormatOptions { volume: volume.to_string(), arguments: wishes.arguments(filesystem)? };
    tracing::info!(volume = %volume, %filesystem, device = %device.path.display(), "formatting a blank device");
    host.format(device, filesystem, &options, stage.attach.deadline)?;
    Ok(filesystem)
}

fn give_to_group(host: &dyn Host, stage: &Stage, mount: &MountAccess, staging: &Path) -> Result<()> {
    match mount.group {
        Some(group) => host.give_to_group(staging, group, stage.attach.deadline),
        None => Ok(()),
    }
}

/// Takes a volume off its staging path and off the node. Success when it was never staged.
///
/// The order keeps every byte: write out what is cached, unmount, prove that no mount is left, and only then let the backend
/// flush and take away the device.
pub(crate) fn unstage(host: &dyn Host, attacher: &dyn Attacher, attach: &Attach, path: &Path) -> Result<()> {
    let volume = &attach.volume;
    match host.resolve(path) {
        Ok(staging) => {
            let device = mount_point(&staging, true);
            let view = View::now(host, attacher, volume)?;
            if view.shows(&device)? {
                unmount_all(host, attacher, volume, &device)?;
                host.remove_target(&device)?;
            } else if let Some(entry) = view.at(&staging)?.filter(|entry| !entry.super_read_only()) {
                attacher.answers()?;
                match host.sync(&staging) {
                    // What the server does not know any more takes nothing; keeping it mounted would keep it for ever.
                    Err(error) if remote::is_stale(&error) => {
                        tracing::warn!(volume = %volume, error = error.chain(), "the server does not know the volume any more; it is unmounted as it is");
                    }
                    // Waiting would save nothing, and keep the node from ever being rid of it.
                    Err(error) if host.is_severed(entry)? => {
                        tracing::error!(volume = %volume, error = error.chain(), "the device is gone; what was not written to it is lost");
                    }
                    synced => synced?,
                }
            }
            unmount_all(host, attacher, volume, &staging)?;
            // A call that was killed before it mounted may have left the file.
            host.remove_target(&device)?;
        }
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error),
    }
    step::reached(Step::StagingUnmounted);
    prove_unpublished(host, attacher, attach)?;
    attacher.detach(volume, &attach.node, attach.deadline)
}

/// A target that is still published keeps the volume in use: saying otherwise would let it be attached elsewhere.
///
/// What is left may be another node's, which may leave at this moment: only mounts that were there before and after it was said that
/// no other node has the volume are this node's.
fn prove_unpublished(host: &dyn Host, attacher: &dyn Attacher, attach: &Attach) -> Result<()> {
    let volume: &VolumeId = &attach.volume;
    let left = || -> Result<Vec<(u64, PathBuf)>> {
        let view = View::now(host, attacher, volume)?;
        Ok(view.everywhere()?.into_iter().map(|entry| (entry.id, entry.mount_point.clone())).collect())
    };
    let mut before = left()?;
    loop {
        if before.is_empty() || attacher.is_shared_here(volume, &attach.node)? {
            return Ok(());
        }
        let after = left()?;
        if after == before {
            break;
        }
        before = after;
    }
    let paths: Vec<String> = before.iter().map(|(_, path)| path.display().to_string()).collect();
    Err(Error::precondition(format!("volume {volume} is still published at {}; unpublish it there first", paths.join(", "))))
}
