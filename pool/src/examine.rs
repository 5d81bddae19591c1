//! What keeps a directory from being a pool, found without touching it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use hawser_host::{MountTable, copy, usage};
use hawser_volume::Bytes;
use hawser_volume::checkup::Check;

use crate::config::LocalConfig;
use crate::layout::{LOCK, Layout, Shelf};
use crate::record::{FORMAT, VolumeRecord};
use crate::store::{Kind, PoolRecord, read_record, require_unused};

/// What is younger may be somebody's who is at work at this moment.
const AT_WORK: Duration = Duration::from_secs(600);

const CHOOSE: &str = "name another directory in `root`";

/// Looks at the root of a pool, or at what it would be made in. Blocks.
pub fn examine(config: &LocalConfig) -> Vec<Check> {
    let root = &config.root;
    let Some(there) = root.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()) else {
        return vec![Check::wrong("the root", "it is no absolute path", CHOOSE)];
    };
    if !there.is_dir() {
        return vec![Check::wrong("the root", format!("{} is no directory", there.display()), CHOOSE)];
    }
    let there = match fs::canonicalize(there) {
        Ok(there) => there,
        Err(error) => return vec![Check::wrong("the root", format!("{} cannot be resolved: {error}", there.display()), CHOOSE)],
    };
    let mut checks = Vec::new();
    if root.is_dir() {
        checks.push(pool(config, &there));
    } else {
        checks.push(Check::well("the root", format!("{} is made at the first start", root.display())));
    }
    checks.push(filesystem(&there));
    if config.kind == Kind::Image {
        checks.push(sharing(&there));
    }
    checks.push(capacity(config, &there));
    checks
}

/// Whether what is there is a pool that this version understands, or nothing.
fn pool(config: &LocalConfig, root: &Path) -> Check {
    const STEP: &str = "the root";
    let layout = Layout::new(root.to_owned());
    let place = layout.pool_record();
    let text = match fs::read(&place) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match require_unused(root) {
                Ok(()) => Check::well(STEP, format!("{} is empty, and becomes a pool at the first start", root.display())),
                Err(error) => Check::wrong(STEP, error.chain(), CHOOSE),
            };
        }
        Err(error) => {
            return Check::wrong(STEP, format!("{} cannot be read: {error}", place.display()), "run it as root; see `dmesg`");
        }
    };
    let record: PoolRecord = match serde_json::from_slice(&text) {
        Ok(record) => record,
        Err(error) => {
            let why = format!("{} is not a pool record: {error}", place.display());
            return Check::wrong(STEP, why, "bring it back from a backup; its volumes are not used without it");
        }
    };
    if record.format > FORMAT {
        let why = format!("{} was made by a newer version (format {}, this is {FORMAT})", root.display(), record.format);
        return Check::wrong(STEP, why, "run that version");
    }
    if record.kind != config.kind {
        let why = format!("{} holds volumes of kind {:?}, and `kind` says otherwise", root.display(), record.kind);
        return Check::wrong(STEP, why, "correct `kind`, or name another `root`");
    }
    let folder = layout.shelf(Shelf::Volumes);
    let mut count = 0;
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        match read_record::<VolumeRecord>(&entry.path()) {
            Ok(Some(_)) => count += 1,
            Ok(None) => {}
            Err(error) => {
                return Check::wrong(
                    STEP,
                    error.chain(),
                    "bring that record back from a backup; its volume is not used without it",
                );
            }
        }
    }
    Check::well(STEP, format!("{} is a pool with {count} volumes", root.display()))
}

fn filesystem(there: &Path) -> Check {
    const STEP: &str = "the filesystem of the root";
    let table = match MountTable::read() {
        Ok(table) => table,
        Err(error) => return Check::wrong(STEP, error.chain(), "mount /proc"),
    };
    let Some(mount) = there.ancestors().find_map(|ancestor| table.top(ancestor)) else {
        return Check::doubtful(STEP, "it is on no mount that is seen here", "see `findmnt`");
    };
    let name = mount.filesystem.as_str();
    match name {
        "overlay" => Check::wrong(
            STEP,
            "it is an overlay, as the files of a container are: volumes would go with the container, and their data with them",
            format!("show the container a directory of the machine there (hostPath, a bind mount): {}", there.display()),
        ),
        "tmpfs" | "ramfs" => Check::doubtful(
            STEP,
            format!("it is a {name}: volumes are in memory, and gone after a reboot"),
            "name a directory on a disk in `root`",
        ),
        _ if mount.read_only() => Check::wrong(
            STEP,
            format!("{} is mounted read-only", mount.mount_point.display()),
            "`mount -o remount,rw`; see `dmesg` for why",
        ),
        _ => Check::well(STEP, format!("{name}, mounted at {}", mount.mount_point.display())),
    }
}

/// Whether snapshots share blocks.
fn sharing(there: &Path) -> Check {
    const STEP: &str = "snapshots";
    match copy::can_share(there) {
        Ok(true) => Check::well(STEP, "share blocks with their volume (reflink): they take no time and no space"),
        Ok(false) => Check::well(STEP, "are copies, as the filesystem has no reflink; on xfs or btrfs they would take no time"),
        Err(error) => {
            Check::wrong(STEP, error.chain(), "see whether the directory is full, read-only, or not this process's to write")
        }
    }
}

fn capacity(config: &LocalConfig, there: &Path) -> Check {
    const STEP: &str = "capacity";
    let bytes = match usage::usage(there) {
        Ok(usage) => usage.bytes,
        Err(error) => return Check::wrong(STEP, error.chain(), "see `dmesg`"),
    };
    let (free, total) = (Bytes::new(bytes.available).about(), Bytes::new(bytes.total).about());
    match config.capacity {
        Some(promised) if promised > total => Check::doubtful(
            STEP,
            format!("`capacity` is {promised}, and the filesystem has {total}: what is promised beyond that cannot be written"),
            format!("set `capacity` to {total} or less, or make the filesystem larger"),
        ),
        _ if free.get() == 0 => Check::wrong(
            STEP,
            "the filesystem is full, and what volumes write fails",
            format!("make room: `df -h {}`", there.display()),
        ),
        Some(promised) => Check::well(STEP, format!("{promised}; the filesystem has {total}, of which {free} are free")),
        None => Check::well(STEP, format!("{free} are free of {total}")),
    }
}

/// What calls that were cut short left in the pool: objects half made and half removed. Blocks.
pub fn leftovers(config: &LocalConfig) -> Vec<Check> {
    let layout = Layout::new(config.root.clone());
    if !layout.pool_record().exists() {
        return Vec::new();
    }
    let kinds = [(layout.new_objects(), "half made"), (layout.trash(), "half removed")];
    kinds.into_iter().map(|(folder, what)| left(&folder, what)).collect()
}

fn left(folder: &Path, what: &str) -> Check {
    let step = format!("objects {what} in {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten(),
        Err(error) => return Check::wrong(step, format!("it cannot be listed: {error}"), "run it as root; see `dmesg`"),
    };
    let is_old = |entry: &fs::DirEntry| {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        age.is_some_and(|age| age > AT_WORK)
    };
    let (old, young): (Vec<_>, Vec<_>) = entries.filter(|entry| entry.file_name() != LOCK).partition(is_old);
    match (old.len(), young.len()) {
        (0, 0) => Check::well(step, "none"),
        (0, young) => Check::well(
            step,
            format!("{young}, younger than {} minutes: somebody may be at work on them", AT_WORK.as_secs() / 60),
        ),
        (old, _) => Check::doubtful(
            step,
            format!("{old} that nobody finishes any more, and they take space"),
            "restart the driver: it removes them at its start (`systemctl restart hawser`)",
        ),
    }
}
