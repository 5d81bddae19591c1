//! Whether others see what is mounted here.
//!
//! A process in a mount namespace of its own (a container; a service of systemd with PrivateMounts= and the like) mounts for itself
//! alone, unless the mount that its target is on is in a group that it shares with the machine (mount_namespaces(7)).

use std::fs;
use std::path::{Path, PathBuf};

use hawser_volume::Result;
use hawser_volume::checkup::Check;

use crate::mountinfo::{MountEntry, MountTable};

/// Looks at all directories below which volumes are mounted for others.
pub fn all(seen: &[PathBuf]) -> Vec<Check> {
    let own = is_own_namespace();
    let table = match MountTable::read() {
        Ok(table) => table,
        Err(error) => return vec![Check::wrong("mount propagation", error.chain(), "mount /proc")],
    };
    seen.iter().map(|path| one(path, own, &table)).collect()
}

fn one(path: &Path, own: Option<bool>, table: &MountTable) -> Check {
    let step = format!("mount propagation of {}", path.display());
    let mount = match mount_of(path, table) {
        Ok(mount) => mount,
        Err(why) => return Check::doubtful(step, why, "see `findmnt -o TARGET,PROPAGATION`"),
    };
    let at = mount.mount_point.display();
    let share = format!("`mount --make-rshared {at}` on the machine, at each boot");
    match (mount.peer_group, own) {
        (Some(_), _) => Check::well(step, format!("shared (at {at})")),
        (None, Some(true)) => Check::wrong(
            step,
            format!(
                "the mount at {at} is private, and this process has a mount namespace of its own: nobody outside sees a volume"
            ),
            format!(
                "{share}; and in the container `mountPropagation: Bidirectional`, under systemd neither PrivateMounts= nor MountFlags="
            ),
        ),
        (None, Some(false)) => Check::doubtful(
            step,
            format!("the mount at {at} is private: a container that was started before a volume is mounted does not see it"),
            share,
        ),
        (None, None) => Check::doubtful(
            step,
            format!(
                "the mount at {at} is private, and whether this process has a mount namespace of its own is not seen: if so, nobody \
                     outside sees a volume"
            ),
            share,
        ),
    }
}

fn mount_of<'t>(path: &Path, table: &'t MountTable) -> std::result::Result<&'t MountEntry, String> {
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let real = fs::canonicalize(there).map_err(|error| format!("it cannot be looked at: {error}"))?;
    real.ancestors().find_map(|ancestor| table.top(ancestor)).ok_or_else(|| "it is on no mount that is seen here".to_owned())
}

/// Whether the process `process` has another mount namespace than the machine's first process; nothing when that is not seen.
pub fn is_apart(process: u32) -> Option<bool> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    Some(namespace("1")? != namespace(&process.to_string())?)
}

fn is_own_namespace() -> Option<bool> {
    // In a container with processes of its own, process 1 is not the machine's.
    match crate::elsewhere::sees_every_process() {
        Ok(()) => is_apart(std::process::id()),
        Err(_) => Some(true),
    }
}

/// The groups of mounts that a process shares with others, as [`MountEntry::peer_group`] has them, at `path`.
pub fn is_shared_for(process: u32, path: &Path) -> Result<bool> {
    use crate::errno::Attempt;
    let contents = fs::read(format!("/proc/{process}/mountinfo")).attempt(|| format!("read the mounts of process {process}"))?;
    let table = MountTable::parse(&contents)?;
    Ok(path.ancestors().find_map(|ancestor| table.top(ancestor)).is_some_and(|mount| mount.peer_group.is_some()))
}
