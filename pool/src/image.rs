//! Images: sparse files, one a volume or snapshot, and how the content of one gets into another.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_host::{Host, copy, space};
use hawser_volume::{Bytes, Error, Kind, Result};

use crate::record::Provisioning;
use crate::store::io;

/// Most data that is copied while a mounted filesystem stands still, where the pool's filesystem has no reflinks. At the speed
/// of a slow disk this is a pause of about a second; a database survives that.
const STANDSTILL_MAX: Bytes = Bytes::mib(256);

/// How often a filesystem is told to go on until it does, and how long between two tries.
const THAW_TRIES: u32 = 20;
const THAW_PAUSE: Duration = Duration::from_millis(100);

/// More data than this is copied after the call has been answered.
const AT_ONCE_MAX: Bytes = Bytes::mib(64);

/// How the content of an image can be taken at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It shares blocks with its source.
    Shared,
    /// It has been copied.
    Copied,
    /// Nothing writes to the source; copy it while that is so.
    Later,
}

/// Creates an empty image of `size`.
pub(crate) fn create(path: &Path, size: Bytes) -> Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(|e| io("make", path, e))?;
    file.set_len(size.get()).map_err(|e| io(format_args!("make {size} of"), path, e))?;
    Ok(file)
}

/// Brings an image to its final size, sets blocks aside if wanted, and flushes it.
pub(crate) fn finish(file: &File, path: &Path, size: Bytes, provisioning: Provisioning) -> Result<()> {
    file.set_len(size.get()).map_err(|e| io(format_args!("make {size} of"), path, e))?;
    if provisioning == Provisioning::Thick {
        space::reserve(file, size).map_err(|e| e.while_doing(format_args!("set aside {size} for {}", path.display())))?;
    }
    file.sync_all().map_err(|e| io("flush", path, e))
}

/// Where the filesystem of `image` is mounted on this machine, each superblock once.
pub(crate) fn mount_points(host: &dyn Host, image: &Path) -> Result<Vec<PathBuf>> {
    let loops = host.loops_of(image)?;
    if loops.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = host.mounts()?;
    let mut found = Vec::new();
    for device in loops {
        let number = host.open_device(&device, true)?.number;
        // btrfs shows an anonymous device number in mountinfo; its source is the device all the same.
        let entry = mounts.entries().iter().find(|entry| {
            (entry.device == number || entry.source == device) && entry.filesystem != "devtmpfs" && entry.filesystem != "tmpfs"
        });
        found.extend(entry.map(|entry| entry.mount_point.clone()));
    }
    Ok(found)
}

/// Filesystems that stand still as long as this lives.
pub(crate) struct Standstill<'a> {
    host: &'a dyn Host,
    paths: Vec<PathBuf>,
}

impl<'a> Standstill<'a> {
    pub(crate) fn of(host: &'a dyn Host, paths: Vec<PathBuf>) -> Result<Self> {
        let mut still = Self { host, paths: Vec::with_capacity(paths.len()) };
        for path in paths {
            let frozen = host.freeze(&path);
            // Whatever went wrong, it may stand still now and nobody else would let it go on; unless it was somebody else who
            // stopped it.
            if !frozen.as_ref().is_err_and(|error| error.kind() == Kind::Precondition) {
                still.paths.push(path);
            }
            frozen?;
        }
        Ok(still)
    }
}

impl Drop for Standstill<'_> {
    fn drop(&mut self) {
        for path in self.paths.drain(..) {
            // Whoever writes there hangs until this has succeeded.
            let mut tries = 0;
            while let Err(error) = self.host.thaw(&path) {
                tries += 1;
                if tries == THAW_TRIES {
                    tracing::error!(path = %path.display(), error = error.chain(), "could not let the filesystem write again; it hangs until `fsfreeze -u` or a restart");
                    break;
                }
                std::thread::sleep(THAW_PAUSE);
            }
        }
    }
}

/// What happens to the content of an image while it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Nobody has it for writing.
    Idle,
    /// Somebody has, and has been brought to a standstill by the caller.
    Still,
    /// Somebody has, and may be writing.
    Written,
}

/// Takes the content of `source` into `target` as it is at one moment. With `wait`, it is complete on return.
///
/// A reflink is atomic, so whoever writes to the source is only told to write out what it has. Without reflinks the content must
/// stand still while it is copied: a mounted filesystem is frozen if there is little to copy, and anything else is refused
/// rather than copied in pieces of different age.
pub(crate) fn take(host: &dyn Host, source: &Path, target: &File, activity: Activity, wait: bool) -> Result<Taken> {
    let from = File::open(source).map_err(|e| io("open", source, e))?;
    let activity = if activity == Activity::Idle && is_held(host, source)? { Activity::Written } else { activity };
    let mounted = if activity == Activity::Written { write_out(host, source)? } else { Vec::new() };
    if copy::clone_file(&from, target)? {
        return Ok(Taken::Shared);
    }
    let data = copy::data_bytes(&from)?;
    if activity == Activity::Idle && !wait && data > AT_ONCE_MAX {
        return Ok(Taken::Later);
    }
    let too_much = data > STANDSTILL_MAX && activity != Activity::Idle;
    if too_much || (activity == Activity::Written && mounted.is_empty()) {
        return Err(Error::precondition(format!(
            "{} is in use with {data} of data, and the filesystem below it has no reflinks: a copy would mix blocks of different \
             age; detach the volume first, or keep the pool on xfs or btrfs",
            source.display()
        )));
    }
    let _still = Standstill::of(host, mounted)?;
    copy::copy_sparse(&from, target, &|_| ())?;
    Ok(Taken::Copied)
}

/// Whether something on this machine still has the image for writing although no record says so: a mount that lives on in
/// another mount namespace, which no table of mounts shows.
fn is_held(host: &dyn Host, image: &Path) -> Result<bool> {
    for device in host.loops_of(image)? {
        let device = host.open_device(&device, true)?;
        if !device.is_protected()? && device.is_held()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has everything that is cached for an image written to it, and says where it is mounted.
fn write_out(host: &dyn Host, image: &Path) -> Result<Vec<PathBuf>> {
    let mounted = mount_points(host, image)?;
    for path in &mounted {
        host.sync(path)?;
    }
    if mounted.is_empty() {
        for device in host.loops_of(image)? {
            host.open_device(&device, true)?.flush()?;
        }
    }
    Ok(mounted)
}
