//! Unmounting what is on another machine: a ladder, climbed only as far as nothing can be lost.
//!
//! ```text
//!   normal ──▶ forced ──▶ detached
//!            only where nothing can be written: read-only, the filesystem or the mount with all others of it
//! ```
//!
//! A normal unmount that is not the last of its filesystem is this kernel's own affair and never waits for a server. The last one waits
//! until everything written is with the server, and must: whoever forces or detaches it throws away what was written, or leaves it to be
//! written at some time, over what another node has written since. So a volume that may have unwritten data stays mounted while its
//! server is silent, which is said at once, and is unmounted by the same call when the server is back.

use std::io;
use std::path::Path;
use std::time::Duration;

use hawser_volume::{Error, Kind, Result};
use rustix::mount::UnmountFlags;

use crate::mountinfo::{MountEntry, MountTable};
use crate::target::Place;
use crate::{busy, errno, remote};

/// How long a rung may take.
const RUNG: Duration = Duration::from_secs(8);

/// A way to unmount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    Normal,
    Forced,
    Detached,
}

impl Rung {
    fn flags(self) -> UnmountFlags {
        UnmountFlags::NOFOLLOW
            | match self {
                Rung::Normal => UnmountFlags::empty(),
                Rung::Forced => UnmountFlags::FORCE,
                Rung::Detached => UnmountFlags::DETACH,
            }
    }

    fn word(self) -> &'static str {
        match self {
            Rung::Normal => "a normal unmount",
            Rung::Forced => "a forced unmount",
            Rung::Detached => "detaching",
        }
    }
}

/// The rungs that are safe for a mount: where nothing can have been written, all of them.
fn rungs(entry: &MountEntry, table: &MountTable) -> &'static [Rung] {
    let nothing_written = entry.super_read_only() || table.with_device(entry.device).iter().all(|mount| mount.read_only());
    if nothing_written { &[Rung::Normal, Rung::Forced, Rung::Detached] } else { &[Rung::Normal] }
}

/// Unmounts the remote filesystem at `place`, of which `entry` is the table's line.
pub(crate) fn unmount(place: &Place, entry: &MountEntry, table: &MountTable) -> Result<()> {
    let mut tried = Vec::new();
    let mut last = None;
    for rung in rungs(entry, table) {
        match climb(place, entry, *rung) {
            Ok(()) => {
                tracing::info!(path = %place.path.display(), source = %entry.source.display(), rung = rung.word(), "unmounted");
                return Ok(());
            }
            Err(error) => {
                tried.push(format!("{}: {}", rung.word(), error.chain()));
                last = Some(error);
            }
        }
    }
    let kind = last.map_or(Kind::Internal, |error| error.kind());
    let advice = if tried.len() > 1 {
        ""
    } else {
        "; nothing is forced, as what was written and is not with the server yet would be lost"
    };
    Err(Error::new(kind, format!("unmount {}: {}{advice}", place.path.display(), tried.join("; "))))
}

fn climb(place: &Place, entry: &MountEntry, rung: Rung) -> Result<()> {
    let path = place.by_descriptor();
    let held = place.parent.try_clone().map_err(|error| errno::error("hold a directory", error))?;
    let id = entry.id;
    let shown = place.path.clone();
    let work = move || {
        // The descriptor in the path belongs to the caller, who may have gone.
        let path = crate::device::descriptor_path(&held).join(path.file_name().unwrap_or_default());
        let unmount =
            || match rustix::mount::unmount(&path, rung.flags()) {
                // Between a forced or abandoned attempt and now it may have gone; and another mount is not ours to take away.
                Err(error) if !still_there(id, &shown) => {
                    if matches!(error, rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) { Ok(()) } else { Err(error) }
                }
                other => other,
            };
        busy::asked_again(unmount, |errno| *errno == rustix::io::Errno::BUSY).map_err(|errno| {
            let cause = io::Error::from(errno);
            match cause.raw_os_error() {
                Some(libc::EBUSY) => Error::precondition("it is in use; end what uses it").caused_by(cause),
                _ => errno::error("the kernel refuses", cause),
            }
        })
    };
    remote::within(&format!("unmounting {}", place.path.display()), RUNG, work)
}

fn still_there(id: u64, path: &Path) -> bool {
    MountTable::read().map_or(true, |table| table.at(path).iter().any(|entry| entry.id == id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &str) -> MountTable {
        MountTable::parse(lines.as_bytes()).unwrap()
    }

    #[test]
    fn what_may_have_been_written_is_never_forced() {
        let ladder = |lines: &str| {
            let table = table(lines);
            rungs(&table.entries()[0], &table)
        };
        let all = &[Rung::Normal, Rung::Forced, Rung::Detached][..];
        assert_eq!(ladder("9 1 0:50 / /a rw - nfs4 s:/x rw,hard\n"), [Rung::Normal]);
        assert_eq!(ladder("9 1 0:50 / /a rw - nfs4 s:/x ro,hard\n"), all);
        // Published read-only, staged for writing.
        assert_eq!(ladder("9 1 0:50 / /a ro - nfs4 s:/x rw\n8 1 0:50 / /b rw - nfs4 s:/x rw\n"), [Rung::Normal]);
        assert_eq!(ladder("9 1 0:50 / /a ro - nfs4 s:/x rw\n8 1 0:50 / /b ro - nfs4 s:/x rw\n"), all);
        assert_eq!(ladder("9 1 0:50 / /a ro - nfs4 s:/x rw\n8 1 0:51 / /b rw - nfs4 s:/y rw\n"), all);
    }
}
