//! What the kernel says: mounts and loop devices.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Which part of the filesystem it shows.
    pub root: PathBuf,
    /// The type of the filesystem.
    pub filesystem: String,
    /// What is mounted.
    pub source: String,
    /// The options of this mount.
    pub options: Vec<String>,
    /// The options of the filesystem.
    pub super_options: Vec<String>,
}

/// All mounts, in the kernel's order: a later one covers an earlier one on the same path.
pub fn mounts() -> Vec<Mount> {
    table("self")
}

/// The mounts that a process sees.
pub fn mounts_of(process: Pid) -> Vec<Mount> {
    table(&process.as_raw_nonzero().to_string())
}

fn table(process: &str) -> Vec<Mount> {
    let table = fs::read(format!("/proc/{process}/mountinfo")).unwrap();
    table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect()
}

fn parse(line: &[u8]) -> Mount {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| field == b"-").unwrap();
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let list = |field: &[u8]| text(field).split(',').map(str::to_owned).collect();
    Mount {
        root: path(fields[3]),
        point: path(fields[4]),
        options: list(fields[5]),
        filesystem: text(fields[dash + 1]),
        source: text(fields[dash + 2]),
        super_options: list(fields[dash + 3]),
    }
}

/// Undoes the kernel's octal escapes of blanks and backslashes.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *first == b'\\' => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The topmost mount at exactly `path`.
pub fn mount_at(path: &Path) -> Option<Mount> {
    mounts().into_iter().rev().find(|mount| mount.point == path)
}

/// The mounts at or below `path`.
pub fn mounts_below(path: &Path) -> Vec<Mount> {
    mounts().into_iter().filter(|mount| mount.point.starts_with(path)).collect()
}

/// A bound loop device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// The device.
    pub device: PathBuf,
    /// The file that it is bound to, as the kernel remembers it.
    pub file: PathBuf,
}

/// The loop devices that are bound to a file below `path`.
pub fn loops_below(path: &Path) -> Vec<Loop> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").unwrap().flatten() {
        // A device that is freed at this moment has no file any more.
        let Ok(mut file) = fs::read(entry.path().join("loop/backing_file")) else { continue };
        while file.last() == Some(&b'\n') {
            file.pop();
        }
        let file = PathBuf::from(OsString::from_vec(file));
        if file.starts_with(path) {
            found.push(Loop { device: Path::new("/dev").join(entry.file_name()), file });
        }
    }
    found
}

/// Runs a program of the administrator's; panics with what it said unless it succeeds.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/install brings it"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the kernel mounts a btrfs beside another one of which it is a copy: from Linux 6.7 on.
pub fn mounts_copies_of_btrfs() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}

/// Whether this process may grow a mounted ext4, for which the kernel wants CAP_SYS_RESOURCE; root in a container often has not
/// got it.
pub fn may_grow_ext4() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & (1 << CAP_SYS_RESOURCE) != 0
}
