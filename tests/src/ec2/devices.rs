//! The devices of attachments: what the simulator attaches to an instance appears in its machine, and what it detaches goes.
//!
//! As on EC2, an attachment is called so a moment before its device is there, and it has ended only when its device is gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::model::{Answer, Hold, World};
use super::query::Query;
use super::{Ec2, State};
use crate::rig::Nvme;
use crate::storage::{Follow, Following, copy};

/// The time between two looks when no request comes: a test may change the world itself.
const LOOK: Duration = Duration::from_millis(50);

/// Follows the attachments of one instance, until it is dropped: its machine is off then.
#[derive(Debug)]
pub struct Devices(Following);

/// One instance and its machine.
struct Follower {
    state: Arc<State>,
    instance: String,
    machine: Box<dyn Nvme + Send>,
    store: PathBuf,
    plugged: BTreeMap<String, u32>,
    /// How many requests had come when it looked last.
    seen: Option<u64>,
}

impl Devices {
    /// Shows what `ec2` attaches to `instance` in `machine`. The content of volumes and snapshots is in `store`, a directory that the
    /// machine sees at the same path; all instances of one simulator have the same.
    pub fn follow(ec2: &Ec2, instance: &str, machine: Box<dyn Nvme + Send>, store: &Path) -> Self {
        fs::create_dir_all(store).unwrap();
        let state = Arc::clone(&ec2.state);
        assert_eq!(state.store.get_or_init(|| store.to_owned()), store, "an EC2 has one store");
        let (instance, store, plugged) = (instance.to_owned(), store.to_owned(), BTreeMap::new());
        Self(Following::start(Follower { state, instance, machine, store, plugged, seen: None }))
    }

    /// Whether it follows: it ends early when a device cannot be plugged, and says why.
    pub fn is_well(&self) -> bool {
        self.0.is_well()
    }
}

impl Follow for Follower {
    fn look(&mut self) {
        if self.seen.is_some() {
            self.wait();
        }
        self.seen = Some(self.follow());
    }

    fn end(&mut self) {
        if self.machine.stays() {
            for id in self.plugged.keys() {
                self.machine.unplug(&self.file(id), &serial(id));
            }
        }
        self.forget();
    }
}

impl Follower {
    /// Waits until a request comes that was not seen, or a while.
    fn wait(&self) {
        let world = self.state.world.lock().unwrap();
        drop(self.state.changed.wait_timeout_while(world, LOOK, |world| Some(world.requests) == self.seen).unwrap());
    }

    /// Makes the machine as the world is; returns how many requests that had seen.
    fn follow(&mut self) -> u64 {
        let (attached, seen) = self.attached();
        let gone: Vec<String> = self.plugged.keys().filter(|id| !attached.contains_key(*id)).cloned().collect();
        for id in gone {
            self.machine.unplug(&self.file(&id), &serial(&id));
            self.plugged.remove(&id);
            self.state.world.lock().unwrap().shown.remove(&(id, self.instance.clone()));
        }
        for (id, size) in attached {
            let bytes = u64::from(size) << 30;
            match self.plugged.insert(id.clone(), size) {
                None => {
                    self.make(&id, bytes);
                    self.machine.plug(&self.file(&id), &serial(&id));
                }
                Some(before) if before != size => self.machine.resize(&self.file(&id), &serial(&id), bytes),
                Some(_) => {}
            }
        }
        seen
    }

    /// Nothing holds its attachments any more: it is off, or about to be.
    fn forget(&self) {
        self.state.world.lock().unwrap().shown.retain(|(_, instance)| *instance != self.instance);
    }

    /// The volumes that the instance has, with their sizes in GiB, and how many requests had come.
    fn attached(&self) -> (BTreeMap<String, u32>, u64) {
        let mut world = self.state.world.lock().unwrap();
        world.settle();
        let mut attached = BTreeMap::new();
        for volume in world.volumes.values() {
            let here = |hold: &Hold| matches!(hold, Hold::Attaching(_) | Hold::Attached | Hold::Busy);
            if volume.attachments.iter().any(|held| held.instance == self.instance && here(&held.hold)) {
                attached.insert(volume.id.clone(), volume.size);
            }
        }
        let shown: Vec<_> = attached.keys().map(|id| (id.clone(), self.instance.clone())).collect();
        world.shown.extend(shown);
        (attached, world.requests)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.store.join(id)
    }

    /// Makes the content of a volume that is attached for the first time, and lets one be larger than it was.
    fn make(&self, id: &str, bytes: u64) {
        let file = self.file(id);
        if !file.exists() {
            let source = self.state.world.lock().unwrap().source_of(id);
            match source.map(|source| self.file(&source)).filter(|source| source.exists()) {
                Some(source) => copy(&source, &file),
                None => drop(File::create_new(&file).unwrap()),
            }
        }
        File::options().write(true).open(&file).unwrap().set_len(bytes).unwrap();
    }
}

impl State {
    /// Has the world act. What is cut has its content when it is said that it was cut.
    pub(crate) fn act(&self, action: &str, query: &Query) -> Answer {
        let mut world = self.world.lock().unwrap();
        let done = world.act(action, query);
        if done.is_ok() && matches!(action, "CreateSnapshot" | "CopyVolumes") {
            self.keep_cuts(&world);
        }
        self.changed.notify_all();
        done
    }

    /// Keeps what volumes have when they are cut, as snapshots or copies. One that was never attached has nothing. On a filesystem with
    /// reflinks it is one moment of what is being written.
    fn keep_cuts(&self, world: &World) {
        let Some(store) = self.store.get() else { return };
        for (cut, volume) in world.cut() {
            let (file, source) = (store.join(cut), store.join(volume));
            if !file.exists() && source.exists() {
                copy(&source, &file);
            }
        }
    }
}

/// The serial number of a volume's device.
pub(super) fn serial(id: &str) -> String {
    id.replacen('-', "", 1)
}
