//! Where plugins that Mesos does not start mount volumes: `target_path_root`.
//!
//! Whenever an agent starts, it deletes each entry of that directory of which it has no volume in its records, with everything below
//! it, and through mounts (`VolumeManager::recover` in v1_volume_manager.cpp; stout's `os::rmdir` does not stop at mounts).

use std::fs;
use std::path::{Path, PathBuf};

use hawser_volume::error::shown;

use super::directory::Entry;
use super::plugin::Plugin;
use super::report::Report;

/// How many entries a message names.
const NAMED: usize = 3;

/// Checks the roots of all plugins against each other and against what is on this machine.
pub(super) fn check(plugins: &[Entry<Plugin>], work_dir: Option<&Path>, report: &mut Report) {
    let mut roots: Vec<(PathBuf, &str)> = Vec::new();
    for Entry { file, value: plugin } in plugins {
        let Some((root, place)) = &plugin.target_path_root else { continue };
        if !root.is_absolute() {
            continue;
        }
        let real = resolved(root);
        let findings = report.of(file);
        if let Some((_, other)) = roots.iter().find(|(other, _)| overlap(&real, other)) {
            let text = format!(
                "is within the target_path_root of {other}, or the other way round: an agent deletes at its start what the \
                    other mounted there, with the data; give each plugin a directory of its own"
            );
            findings.mistake(place, text);
        }
        if let Some(work_dir) = work_dir
            && overlap(&real, &resolved(work_dir))
        {
            let text = "and the work_dir of the agent are one within the other, and the agent deletes at its start what it \
                does not know there; give it a directory of its own";
            findings.mistake(place, text);
        }
        if real.exists() && !real.is_dir() {
            findings.mistake(place, "is no directory, so that no volume can be published");
        }
        let strangers = strangers(&real, plugin, work_dir);
        if !strangers.is_empty() {
            let more = strangers.len().saturating_sub(NAMED);
            let named: Vec<String> = strangers.iter().take(NAMED).map(|name| shown(name)).collect();
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!(
                "has {}{rest} in it, which no volume of this plugin put there: the agent DELETES that at its start, with all \
                    data below, \
                 mounted or not; name an empty directory that nothing else uses",
                named.join(", ")
            );
            findings.mistake(place, text);
        }
        roots.push((real, file));
    }
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The path with its links followed, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The names in `root` that an agent would delete.
fn strangers(root: &Path, plugin: &Plugin, work_dir: Option<&Path>) -> Vec<String> {
    let records = work_dir.map(|work_dir| work_dir.join("csi").join(&plugin.kind).join(&plugin.name).join("volumes"));
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut strangers: Vec<String> = entries
        .flatten()
        .filter(|entry| match records.as_ref().filter(|records| records.is_dir()) {
            // A record and its mounts have the same name (src/csi/paths.cpp).
            Some(records) => !records.join(entry.file_name()).is_dir(),
            None => !made_by_mesos(&entry.path()),
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    strangers.sort_unstable();
    strangers
}

/// Whether the directory has nothing but what Mesos makes for a volume.
fn made_by_mesos(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    !names.is_empty() && names.iter().all(|name| name == "staging" || name == "target")
}
