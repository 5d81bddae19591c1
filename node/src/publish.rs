//! Publishing: showing a staged volume at a target path; and the way back.

use std::path::PathBuf;

use hawser_host::step::{self, Step};
use hawser_host::{Host, MountEntry, MountOptions, Shape};
use hawser_volume::{Access, Error, Kind, Result, VolumeId};

use crate::attach::Attacher;
use crate::stage::mount_point;
use crate::view::{View, prove_connected, unmount_all};

/// A volume to be published.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) volume: VolumeId,
    pub(crate) access: Access,
    pub(crate) staging: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

/// Publishes a volume. The second call follows the spec's table (NodePublishVolume): the same target and arguments, OK; the
/// same target and other arguments, `AlreadyExists`; another target, as the access mode allows.
pub(crate) fn publish(host: &dyn Host, attacher: &dyn Attacher, publish: &Publish) -> Result<()> {
    let volume = &publish.volume;
    let not_staged = || {
        Error::precondition(format!(
            "volume {volume} is not staged at {}; NodeStageVolume comes first",
            publish.staging.display()
        ))
    };
    let staging =
        host.resolve(&publish.staging).map_err(|error| if error.kind() == Kind::NotFound { not_staged() } else { error })?;
    let view = View::now(host, attacher, volume)?;
    let block = publish.access.is_block();
    let source = mount_point(&staging, block);
    // An unmounted staging directory is a directory of the root disk: binding it would lose every write.
    let Some(staged) = view.at(&source)? else {
        if view.shows(&mount_point(&staging, !block))? {
            return Err(Error::invalid(format!(
                "volume {volume} is staged {}; publish it in the same way",
                if block { "with a filesystem, not as a raw device" } else { "as a raw device, not with a filesystem" }
            )));
        }
        return Err(not_staged());
    };
    prove_connected(host, volume, staged)?;
    let mount_flags = publish.access.mount().map_or(&[][..], |mount| &mount.flags);
    let options = MountOptions::parse(mount_flags)?;
    let read_only = publish.read_only || options.read_only || publish.access.mode.is_read_only();
    if block && read_only && !is_device_read_only(host, &source)? {
        return Err(Error::precondition(format!(
            "volume {volume} is attached for writing, and a raw device that can be written cannot be published read-only; attach it \
             read-only (ControllerPublishVolume with readonly, or a reader-only access mode)"
        )));
    }
    match host.resolve(&publish.target) {
        Ok(target) => {
            if let Some(there) = view.at(&target)? {
                return same_or_different(publish, staged, there, read_only, block);
            }
        }
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error),
    }
    if !publish.access.mode.allows_many_targets()
        && let Some(other) = other_target(&view, staged)?
    {
        return Err(Error::precondition(format!(
            "volume {volume} is published at {} and {} allows one target only; unpublish it there first",
            other.mount_point.display(),
            publish.access.mode
        )));
    }
    attacher.answers()?;
    let target = host.create_target(&publish.target, if block { Shape::File } else { Shape::Directory })?;
    step::reached(Step::TargetMade);
    host.bind(&source, &target, &options.with_read_only(read_only))?;
    step::reached(Step::TargetMounted);
    Ok(())
}

fn is_device_read_only(host: &dyn Host, path: &std::path::Path) -> Result<bool> {
    host.open_device(path, true)?.is_protected()
}

/// What is staged read-only is published so, whatever was asked.
fn same_or_different(publish: &Publish, staged: &MountEntry, there: &MountEntry, read_only: bool, block: bool) -> Result<()> {
    if block || there.read_only() == (read_only || staged.read_only()) {
        return Ok(());
    }
    Err(Error::already_exists(format!(
        "volume {} is published at {} {} already; unpublish it first",
        publish.volume,
        publish.target.display(),
        if there.read_only() { "read-only" } else { "for writing" }
    )))
}

/// Another target of the volume. What shows the staging mount itself in a second place (propagation into another tree) is none,
/// and neither is a part of it (a subdirectory that somebody bound elsewhere).
fn other_target<'v>(view: &'v View<'_>, staged: &MountEntry) -> Result<Option<&'v MountEntry>> {
    let everywhere = view.everywhere()?;
    Ok(everywhere.into_iter().find(|entry| {
        entry.id != staged.id
            && entry.root == staged.root
            && (staged.peer_group.is_none() || entry.peer_group != staged.peer_group)
    }))
}

/// Takes a volume off a target path and removes the path. Success when it was never published there.
pub(crate) fn unpublish(host: &dyn Host, attacher: &dyn Attacher, volume: &VolumeId, target: &std::path::Path) -> Result<()> {
    let target = match host.resolve(target) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        target => target?,
    };
    unmount_all(host, attacher, volume, &target)?;
    step::reached(Step::TargetUnmounted);
    host.remove_target(&target)
}
