//! What this machine notes of the devices that it was given: whose they are, for when they cannot be asked any more.
//!
//! One file a volume, a line for each thing by which its device may be met again. What is noted of one volume is not true of any other
//! any more, so it is struck there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hawser_host::{Device, DiskName, Trace, durable};
use hawser_volume::{BackendName, Error, Result};

/// The notes of one backend.
#[derive(Debug)]
pub(super) struct Notes {
    place: PathBuf,
    is_volume: fn(&str) -> bool,
    writing: Mutex<()>,
}

impl Notes {
    /// The notes of the backend `name` of a type, whose volumes have native ids that `is_volume` knows; they last until the next boot, as
    /// the table of mounts does.
    pub(super) fn of(kind: &str, name: &BackendName, is_volume: fn(&str) -> bool) -> Self {
        Self::at(Path::new("/run/hawser").join(kind).join(name.as_str()), is_volume)
    }

    fn at(place: PathBuf, is_volume: fn(&str) -> bool) -> Self {
        Self { place, is_volume, writing: Mutex::new(()) }
    }

    /// Notes that `device` is the volume's.
    pub(super) fn write(&self, volume: &str, device: &Device) -> Result<()> {
        let mut lines: BTreeSet<String> = device.traces()?.iter().map(Trace::to_string).collect();
        if let Some(DiskName::Xen { name }) = &device.disk {
            lines.insert(xen(name));
        }
        self.add(volume, lines)
    }

    fn add(&self, volume: &str, lines: BTreeSet<String>) -> Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(&self.place)
            .map_err(|error| Error::internal(format!("make directory {}", self.place.display())).caused_by(error))?;
        for (other, noted) in self.read_all()? {
            let left: BTreeSet<String> = noted.difference(&lines).cloned().collect();
            if other != volume && left.len() < noted.len() {
                self.save(&other, &left)?;
            }
        }
        // What was noted before stays: a node that was removed may still be shown somewhere.
        let before = self.read(volume)?;
        if lines.is_subset(&before) {
            return Ok(());
        }
        self.save(volume, &before.union(&lines).cloned().collect())
    }

    fn save(&self, volume: &str, lines: &BTreeSet<String>) -> Result<()> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        durable::write(&self.place.join(volume), text.as_bytes())
    }

    /// Forgets a volume.
    pub(super) fn remove(&self, volume: &str) -> Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_file(self.place.join(volume)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::internal(format!("remove {}", self.place.join(volume).display())).caused_by(error))
            }
            _ => Ok(()),
        }
    }

    /// Whose what is left of a device is.
    pub(super) fn owner(&self, trace: &Trace) -> Result<Option<String>> {
        self.owner_of(&trace.to_string())
    }

    /// Whose the disk of Xen with this name is.
    pub(super) fn owner_of_xen(&self, name: &str) -> Result<Option<String>> {
        self.owner_of(&xen(name))
    }

    /// The name that a volume has on an instance of Xen.
    pub(super) fn xen_name(&self, volume: &str) -> Result<Option<String>> {
        Ok(self.read(volume)?.iter().find_map(|line| line.strip_prefix("xen ")).map(str::to_owned))
    }

    fn owner_of(&self, line: &str) -> Result<Option<String>> {
        Ok(self.read_all()?.into_iter().find(|(_, lines)| lines.contains(line)).map(|(volume, _)| volume))
    }

    fn read_all(&self) -> Result<Vec<(String, BTreeSet<String>)>> {
        let failed = |error: io::Error| Error::internal(format!("list {}", self.place.display())).caused_by(error);
        let entries = match fs::read_dir(&self.place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            // A file that is being written has another name.
            if let Some(volume) = name.to_str().filter(|name| (self.is_volume)(name)) {
                all.push((volume.to_owned(), self.read(volume)?));
            }
        }
        Ok(all)
    }

    fn read(&self, volume: &str) -> Result<BTreeSet<String>> {
        let path = self.place.join(volume);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(Error::internal(format!("read {}", path.display())).caused_by(error)),
        }
    }
}

fn xen(name: &str) -> String {
    format!("xen {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "vol-0000000000000000a";
    const B: &str = "vol-0000000000000000b";

    fn lines(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn what_is_noted_of_one_is_struck_of_others() {
        let place = tempfile::tempdir().unwrap();
        let notes = Notes::at(place.path().join("ebs"), |name| name.starts_with("vol-"));
        assert_eq!(notes.owner_of("number 259:1").unwrap(), None);
        notes.add(A, lines(&["number 259:1", "node 5:10", "xen xvdba"])).unwrap();
        notes.add(B, lines(&["number 259:1", "node 5:11", "xen xvdba"])).unwrap();
        assert_eq!(notes.owner_of("number 259:1").unwrap().as_deref(), Some(B));
        assert_eq!(notes.owner_of("node 5:10").unwrap().as_deref(), Some(A));
        assert_eq!((notes.xen_name(A).unwrap(), notes.xen_name(B).unwrap().as_deref()), (None, Some("xvdba")));
        // Attached anew, its old node may still be shown.
        notes.add(A, lines(&["node 5:12"])).unwrap();
        assert_eq!(notes.owner_of("node 5:10").unwrap().as_deref(), Some(A));
        notes.remove(A).unwrap();
        notes.remove(A).unwrap();
        assert_eq!(notes.owner_of("node 5:10").unwrap(), None);
        assert_eq!(notes.owner_of_xen("xvdba").unwrap().as_deref(), Some(B));
    }
}
