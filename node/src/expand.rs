//! The node's part of an expansion: see the new size, and let the filesystem fill it.

use std::path::{Path, PathBuf};

use hawser_host::step::{self, Step};
use hawser_host::{Content, Host, MountEntry};
use hawser_volume::{Bytes, Error, Kind, Result, SizeRange, VolumeId};

use crate::attach::{Attach, Attacher, Source};
use crate::view::{View, prove_connected};

/// A volume to be expanded on this node.
#[derive(Debug)]
pub(crate) struct Expand {
    pub(crate) attach: Attach,
    pub(crate) path: PathBuf,
    pub(crate) range: Option<SizeRange>,
}

/// Expands a volume to the size that its backend has given it, and returns that.
pub(crate) fn expand(host: &dyn Host, attacher: &dyn Attacher, expand: &Expand) -> Result<Bytes> {
    let volume = &expand.attach.volume;
    let path = mounted_path(host, attacher, volume, &expand.path)?;
    // Another device of the volume, which may have come since, says nothing of the one that is shown here.
    match View::now(host, attacher, volume)?.at(&path)? {
        Some(entry) => prove_connected(host, volume, entry)?,
        None => return Err(not_here(volume, &expand.path)),
    }
    let size = attacher.rescan(volume, &expand.attach.node, expand.range.map(|range| range.required()))?;
    step::reached(Step::DeviceGrown);
    if let Some(range) = expand.range
        && size < range.required()
    {
        return Err(Error::unavailable(format!(
            "volume {volume} has {size} on this node and {range} was asked for; ControllerExpandVolume comes first"
        )));
    }
    let view = View::now(host, attacher, volume)?;
    let Some(entry) = view.at(&path)? else { return Err(not_here(volume, &expand.path)) };
    if entry.filesystem == "devtmpfs" || entry.filesystem == "tmpfs" || entry.super_read_only() {
        return Ok(size);
    }
    let through = writable(&view, entry)?;
    if let Source::Device { device, .. } = attacher.attach(&expand.attach)?
        && let Content::Filesystem(found) = host.probe(&device)?
    {
        host.grow(through, found.filesystem, &device)?;
    }
    Ok(size)
}

/// Where the filesystem that `shown` shows can be written: the kernel grows it through no other mount, and a target that was published
/// read-only is none.
fn writable<'v>(view: &'v View<'_>, shown: &'v MountEntry) -> Result<&'v Path> {
    let everywhere = if shown.read_only() { view.everywhere()? } else { Vec::new() };
    let other = everywhere.into_iter().find(|entry| !entry.read_only() && entry.root == shown.root);
    Ok(&other.unwrap_or(shown).mount_point)
}

/// The path as the kernel writes it, if this volume is mounted there: the path itself, or the device below a staging path.
pub(crate) fn mounted_path(host: &dyn Host, attacher: &dyn Attacher, volume: &VolumeId, path: &Path) -> Result<PathBuf> {
    let resolved = host.resolve(path).map_err(|error| match error.kind() {
        // csi-sanity asks with a relative path and wants NOT_FOUND.
        Kind::NotFound | Kind::Invalid => not_here(volume, path),
        _ => error,
    })?;
    let view = View::now(host, attacher, volume)?;
    for candidate in [resolved.clone(), crate::stage::mount_point(&resolved, true)] {
        if view.shows(&candidate)? {
            return Ok(candidate);
        }
    }
    Err(not_here(volume, path))
}

fn not_here(volume: &VolumeId, path: &Path) -> Error {
    Error::not_found(format!("volume {volume} is not mounted at {}", path.display()))
}
