//! The disks of mappings: what the array maps to an SDC appears in its node, and what it unmaps goes, whoever uses it.
//!
//! As with ScaleIO, a mapping is there a moment before its disk, and gone a moment before it. Unlike there, nothing but the disk keeps a
//! node from writing; so a disk comes to one node only when it has gone from another that could write.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{ScaleIo, State};
use crate::output::Output;
use crate::rig::Node;

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Where the content of volumes and snapshots is: a file for each that was ever mapped, or cut from one that was.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

/// Follows the mappings of one SDC, until it is dropped.
#[derive(Debug)]
pub struct Devices {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A mapping that has a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plugged {
    bytes: u64,
    read_only: bool,
}

struct Follower {
    state: Arc<State>,
    sdc: String,
    node: Arc<Node>,
    store: Store,
    plugged: BTreeMap<String, Plugged>,
}

impl Store {
    /// In a directory that the nodes see at the same path.
    pub fn at(place: &Path) -> Self {
        fs::create_dir_all(place).unwrap();
        Self(place.to_owned())
    }

    fn file(&self, id: &str) -> PathBuf {
        self.0.join(id)
    }

    /// Gives one volume what another one has. One that was never mapped has nothing.
    pub(super) fn copy(&self, from: &str, to: &str) {
        if self.file(from).exists() {
            let mut copy = Command::new("cp");
            copy.args(["--sparse=always", "--reflink=auto"]).args([self.file(from), self.file(to)]);
            Output::from(copy.output().unwrap()).well();
        }
    }

    fn make(&self, id: &str, bytes: u64) -> PathBuf {
        let file = self.file(id);
        File::options().create(true).truncate(false).write(true).open(&file).unwrap().set_len(bytes).unwrap();
        file
    }
}

impl Devices {
    /// Shows what `array` maps to `sdc` in `node`, which has an [SDC](Node::install_sdc). All nodes of one array have one `store`.
    pub fn follow(array: &ScaleIo, sdc: &str, node: Arc<Node>, store: &Store) -> Self {
        array.world().store = Some(store.clone());
        let state = Arc::clone(&array.state);
        let mut follower = Follower { state, sdc: sdc.to_owned(), node, store: store.clone(), plugged: BTreeMap::new() };
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                follower.look();
                std::thread::sleep(LOOK);
            }
            follower.state.world.lock().unwrap().shown.retain(|(_, sdc), _| *sdc != follower.sdc);
        });
        Self { end, thread: Some(thread) }
    }

    /// Whether it follows: it ends early when a disk cannot be shown, and says why.
    pub fn is_well(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let followed = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = followed
            && !std::thread::panicking()
        {
            panic!("the disks were not followed to the end");
        }
    }
}

impl Follower {
    fn look(&mut self) {
        let mapped = self.mapped();
        let gone: Vec<String> = self.plugged.keys().filter(|id| !mapped.contains_key(*id)).cloned().collect();
        for id in gone {
            self.node.unmap(&self.native(&id), &self.store.file(&id));
            self.plugged.remove(&id);
            self.state.world.lock().unwrap().shown.remove(&(id, self.sdc.clone()));
        }
        for (id, wanted) in mapped {
            match self.plugged.get(&id) {
                None if self.may_show(&id, wanted) => {
                    let file = self.store.make(&id, wanted.bytes);
                    if wanted.read_only {
                        self.node.map_read_only(&self.native(&id), &file);
                    } else {
                        self.node.map(&self.native(&id), &file);
                    }
                    self.plugged.insert(id, wanted);
                }
                Some(before) if before.bytes != wanted.bytes => {
                    self.node.grow_unseen(&self.store.file(&id), wanted.bytes);
                    self.plugged.insert(id, wanted);
                }
                _ => {}
            }
        }
    }

    /// The volumes that the SDC has.
    fn mapped(&self) -> BTreeMap<String, Plugged> {
        let world = self.state.world.lock().unwrap();
        let mut found = BTreeMap::new();
        for volume in world.volumes.values() {
            if let Some(mapping) = volume.mapped.iter().find(|mapping| mapping.sdc == self.sdc) {
                found.insert(volume.id.clone(), Plugged { bytes: volume.kib << 10, read_only: mapping.mode == "ReadOnly" });
            }
        }
        found
    }

    /// Notes that the volume is shown here, unless it still is where it could be written, or would be here.
    fn may_show(&self, id: &str, wanted: Plugged) -> bool {
        let mut world = self.state.world.lock().unwrap();
        let clashes = |((other, sdc), read_only): (&(String, String), &bool)| {
            other == id && *sdc != self.sdc && !(*read_only && wanted.read_only)
        };
        if world.shown.iter().any(clashes) {
            return false;
        }
        world.shown.insert((id.to_owned(), self.sdc.clone()), wanted.read_only);
        true
    }

    fn native(&self, id: &str) -> String {
        format!("{}-{id}", self.state.settings.system)
    }
}
