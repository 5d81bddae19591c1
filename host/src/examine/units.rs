//! Settings of systemd that take a service's mounts away from everybody else.
//!
//! Whatever gives a unit a view of files of its own puts it into a mount namespace whose mounts do not reach the machine
//! (systemd.exec(5), PrivateMounts=).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hawser_volume::checkup::Check;

/// Where units are, first come first served (systemd.unit(5)).
pub const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Switches that put a unit into a mount namespace of its own.
const SWITCHES: [&str; 8] = [
    "PrivateMounts",
    "PrivateTmp",
    "PrivateDevices",
    "ProtectSystem",
    "ProtectHome",
    "ProtectKernelTunables",
    "ProtectControlGroups",
    "ProtectKernelModules",
];

/// Settings that do so whenever they have a value.
const VALUES: [&str; 9] = [
    "ReadOnlyPaths",
    "ReadWritePaths",
    "InaccessiblePaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "TemporaryFileSystem",
    "RootDirectory",
    "RootImage",
    "MountFlags",
];

/// The units in `directories` that start Hawser.
pub(super) fn all(directories: &[PathBuf]) -> Vec<Check> {
    let mut units: BTreeMap<String, PathBuf> = BTreeMap::new();
    for directory in directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".service") {
                units.entry(name).or_insert(entry.path());
            }
        }
    }
    units.into_iter().filter_map(|(name, file)| unit(&name, &file, directories)).collect()
}

fn unit(name: &str, file: &Path, directories: &[PathBuf]) -> Option<Check> {
    let mut text = fs::read_to_string(file).ok()?;
    if !starts_hawser(&text) {
        return None;
    }
    let mut parts = BTreeMap::new();
    for directory in directories {
        for entry in fs::read_dir(directory.join(format!("{name}.d"))).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "conf") {
                parts.entry(entry.file_name()).or_insert(entry.path());
            }
        }
    }
    for part in parts.values() {
        text.push('\n');
        text.push_str(&fs::read_to_string(part).unwrap_or_default());
    }
    let step = format!("unit {name}");
    let apart = apart(&text);
    Some(if apart.is_empty() {
        Check::well(step, "its mounts are the machine's")
    } else {
        Check::wrong(
            step,
            format!(
                "{} puts it into a mount namespace of its own, and nobody outside sees a volume that it mounts",
                apart.join(" ")
            ),
            format!("`systemctl edit --full {name}`: take that out; then `systemctl restart {name}`"),
        )
    })
}

/// Whether the unit runs the node side: `hawser serve` or `hawser bridge`.
fn starts_hawser(text: &str) -> bool {
    settings(text).any(|(key, value)| {
        let mut words = value.split_whitespace();
        let program = words.next().unwrap_or_default().trim_start_matches(['-', '@', ':', '+', '!']);
        let mut rest = words.skip_while(|word| word.starts_with('-'));
        let command = rest.next();
        key == "ExecStart"
            && Path::new(program).file_name().is_some_and(|name| name == "hawser")
            && matches!(command, Some("serve" | "bridge"))
            && rest.next() != Some("controller")
    })
}

/// The settings by which the unit is apart. The last one of a key counts; lists add up, and an empty value clears them.
fn apart(text: &str) -> Vec<String> {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in settings(text) {
        last.insert(key, value);
    }
    let mut found = Vec::new();
    for (key, value) in last {
        let is_off = matches!(value.to_ascii_lowercase().as_str(), "" | "no" | "false" | "off" | "0" | "shared");
        if !is_off && (SWITCHES.contains(&key) || VALUES.contains(&key)) {
            found.push(format!("{key}={value}"));
        }
    }
    found
}

fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_is_apart_is_told_with_what_makes_it_so() {
        let place = tempfile::tempdir().unwrap();
        let (etc, lib) = (place.path().join("etc"), place.path().join("lib"));
        fs::create_dir_all(etc.join("hawser.service.d")).unwrap();
        fs::create_dir_all(&lib).unwrap();
        let unit = "[Service]\nExecStart=/usr/bin/hawser serve node --config /x\nPrivateTmp=no\n";
        fs::write(lib.join("hawser.service"), unit).unwrap();
        fs::write(lib.join("other.service"), "[Service]\nExecStart=/usr/bin/other serve\nPrivateMounts=yes\n").unwrap();
        fs::write(lib.join("away.service"), "[Service]\nExecStart=/usr/bin/hawser serve controller\nPrivateTmp=yes\n").unwrap();
        let directories = [etc.clone(), lib];
        let found = all(&directories);
        assert!(found.len() == 1 && !found[0].is_wrong(), "{found:?}");
        fs::write(etc.join("hawser.service.d/10.conf"), "[Service]\nPrivateMounts=yes\nProtectSystem=full\n").unwrap();
        let found = all(&directories);
        assert!(format!("{found:?}").contains("PrivateMounts=yes ProtectSystem=full"), "{found:?}");
        // What comes later counts.
        fs::write(etc.join("hawser.service.d/20.conf"), "[Service]\nPrivateMounts=no\nProtectSystem=\n").unwrap();
        assert!(!all(&directories)[0].is_wrong());
    }
}
