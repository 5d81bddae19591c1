//! Who else sees what is mounted: containers, which have it in mount namespaces of their own.
//!
//! A container engine binds a volume into its container's namespace. That bind is in no table but those of the container's
//! processes, it outlives the mount that it was made of, and it is there for exactly as long as the container lives, whatever became
//! of the engine.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hawser_volume::{Error, Result};

use crate::device::DeviceNumber;
use crate::errno::Attempt;
use crate::mountinfo::{MountEntry, MountTable};
use crate::target::Place;

/// The number of the namespace of processes in which the machine was booted (linux/proc_ns.h, `PROC_PID_INIT_INO`).
pub(crate) const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// A mount that some process sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The process.
    pub process: u32,
    /// The mount point, seen from that process's root.
    pub path: PathBuf,
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} has it at {}", self.process, self.path.display())
    }
}

/// For each of `volumes`, which are the paths that one volume is mounted at here: somebody who has it mounted at another path too, in
/// whichever mount namespace. What shows these very paths below another directory, as a container that sees the whole machine
/// does, is not meant: it goes when they are unmounted.
///
/// Namespaces in which no process lives are not looked at; containers have processes. `Unsupported` when this process does not see all
/// processes of the machine, and an error when it may not look: nobody found is an answer only when everybody was asked.
pub fn elsewhere(volumes: &[Vec<PathBuf>]) -> Result<Vec<Option<Sight>>> {
    sees_every_process()?;
    let own = MountTable::read()?;
    let volumes = volumes.iter().map(|paths| Volume::of(paths, &own)).collect::<Result<Vec<_>>>()?;
    let mut found = vec![None; volumes.len()];
    let mut asked = HashSet::new();
    for process in processes()? {
        // A process sees the mounts of its namespace that are below its root. Which those are, unlike the mounts, is told only to whom
        // it may be traced by; then its mounts are read even if they were read before.
        let view = view(process).ok();
        if view.as_ref().is_some_and(|view| asked.contains(view)) {
            continue;
        }
        let Some(contents) = lives(std::fs::read(format!("/proc/{process}/mountinfo")))? else { continue };
        if contents.is_empty() {
            continue;
        }
        let table = MountTable::parse(&contents)?;
        for (volume, found) in volumes.iter().zip(&mut found) {
            let other = table.entries().iter().find(|entry| volume.is_elsewhere(entry));
            *found = found.take().or_else(|| other.map(|entry| Sight { process, path: entry.mount_point.clone() }));
        }
        asked.extend(view);
    }
    Ok(found)
}

/// What is mounted at the paths of one volume.
struct Volume {
    paths: Vec<PathBuf>,
    shown: Vec<(DeviceNumber, PathBuf)>,
}

impl Volume {
    fn of(paths: &[PathBuf], own: &MountTable) -> Result<Self> {
        let mut volume = Self { paths: Vec::new(), shown: Vec::new() };
        for path in paths {
            let path = match Place::of(path) {
                Ok(place) => place.path,
                Err(error) if error.kind() == hawser_volume::Kind::NotFound => continue,
                Err(error) => return Err(error),
            };
            volume.shown.extend(own.at(&path).into_iter().map(|entry| (entry.device, entry.root.clone())));
            volume.paths.push(path);
        }
        Ok(volume)
    }

    fn is_elsewhere(&self, entry: &MountEntry) -> bool {
        let is_it = self.shown.iter().any(|(device, root)| entry.device == *device && entry.root.starts_with(root));
        is_it && !self.paths.iter().any(|path| is_copy(&entry.mount_point, path))
    }
}

/// Whether `point` is `path` itself, perhaps below another directory.
fn is_copy(point: &Path, path: &Path) -> bool {
    point.ends_with(path.strip_prefix("/").unwrap_or(path))
}

pub(crate) fn sees_every_process() -> Result<()> {
    let namespace = std::fs::metadata("/proc/self/ns/pid").attempt(|| "look at /proc/self/ns/pid".into())?.ino();
    if namespace == FIRST_NAMESPACE {
        return Ok(());
    }
    Err(Error::unsupported(
        "this process does not see all processes of the machine; run it outside of containers, or with the host's process namespace",
    ))
}

fn processes() -> Result<Vec<u32>> {
    let read = || "read /proc".to_owned();
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").attempt(read)? {
        processes.extend(entry.attempt(read)?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(processes)
}

fn view(process: u32) -> io::Result<(PathBuf, PathBuf)> {
    let link = |name: &str| std::fs::read_link(format!("/proc/{process}/{name}"));
    Ok((link("ns/mnt")?, link("root")?))
}

/// What was read of a process; nothing when it has ended, or ends.
fn lives<T>(read: io::Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::EINVAL)) => Ok(None),
        read => read.map(Some).attempt(|| "look at the mounts of other processes".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
1 0 254:0 / / rw - ext4 /dev/root rw\n\
2 1 7:3 / /m/a/mount rw shared:7 - ext4 /dev/loop3 rw\n\
3 1 7:3 / /rootfs/m/a/mount rw master:7 - ext4 /dev/loop3 rw\n\
4 1 7:3 /sub /data rw - ext4 /dev/loop3 rw\n\
5 1 7:4 / /other rw - ext4 /dev/loop4 rw\n";

    #[test]
    fn only_the_same_files_at_another_path_count() {
        let table = MountTable::parse(TABLE).unwrap();
        let seen = |root: &str| -> Vec<u64> {
            let shown = vec![(DeviceNumber { major: 7, minor: 3 }, PathBuf::from(root))];
            let volume = Volume { paths: vec!["/m/a/mount".into()], shown };
            table.entries().iter().filter(|entry| volume.is_elsewhere(entry)).map(|entry| entry.id).collect()
        };
        assert_eq!(seen("/"), [4]);
        assert_eq!(seen("/sub"), [4]);
        // Another directory of the same filesystem.
        assert_eq!(seen("/su"), [] as [u64; 0]);
    }

    #[test]
    fn nobody_else_has_what_is_not_mounted() {
        assert_eq!(elsewhere(&[vec!["/nosuch/path".into()], Vec::new()]).unwrap(), [None, None]);
    }
}
