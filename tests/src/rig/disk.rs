//! Files that nodes have as disks.

use std::fs::File;
use std::path::{Path, PathBuf};

/// How many disks a node may have: 16 (arch/um/drivers/ubd_kern.c), of which the kernel gives the first to itself when nobody takes it.
const SLOTS: usize = 15;

/// The disks of one node, in their slots.
#[derive(Debug, Default)]
pub struct Disks {
    slots: [Option<Disk>; SLOTS],
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    file: PathBuf,
    serial: String,
}

impl Disks {
    /// Puts a disk into the first free slot, and returns what the kernel has to be told and where the device is in the node.
    pub fn insert(&mut self, file: &Path, serial: &str) -> (String, PathBuf) {
        let text = file.to_str().unwrap();
        assert!(!text.contains([',', ':', ' ']), "{text}: the kernel cannot read a name with these characters");
        assert!(self.slot(file).is_none(), "{text} is attached to this node already");
        let free = self.slots.iter().position(Option::is_none).expect("the node has as many disks as it can have");
        let disk = Disk { file: file.to_owned(), serial: serial.to_owned() };
        let told = disk.told(free);
        self.slots[free] = Some(disk);
        (told, device(free))
    }

    fn slot(&self, file: &Path) -> Option<usize> {
        self.slots.iter().position(|slot| slot.as_ref().is_some_and(|disk| disk.file == file))
    }

    /// The name that the kernel knows a disk by.
    pub fn name(&self, file: &Path) -> String {
        let slot = self.slot(file).unwrap_or_else(|| panic!("{} is not attached to this node", file.display()));
        format!("ubd{}", letter(slot))
    }

    /// Forgets a disk.
    pub fn remove(&mut self, file: &Path) {
        if let Some(slot) = self.slot(file) {
            self.slots[slot] = None;
        }
    }

    /// What a kernel is told about all disks when it starts.
    pub fn told(&self) -> impl Iterator<Item = String> {
        self.slots.iter().enumerate().filter_map(|(slot, disk)| Some(disk.as_ref()?.told(slot)))
    }
}

impl Disk {
    /// `d`: what follows is data and no layer above another file.
    fn told(&self, slot: usize) -> String {
        format!("ubd{}d={},,{}", letter(slot), self.file.display(), self.serial)
    }
}

fn letter(slot: usize) -> char {
    ('b'..='p').nth(slot).unwrap()
}

fn device(slot: usize) -> PathBuf {
    PathBuf::from(format!("/dev/ubd{}", letter(slot)))
}

/// Makes a file full of zeros that takes no space.
pub fn create(path: &Path, bytes: u64) -> PathBuf {
    File::create_new(path).unwrap().set_len(bytes).unwrap();
    path.to_owned()
}
