//! The disks of mappings: what the array maps to an SDC appears in its node, and what it unmaps goes, whoever uses it.
//!
//! As with ScaleIO, a mapping is there a moment before its disk, and gone a moment before it. Unlike there, nothing but the disk keeps a
//! node from writing; so a disk comes to one node only when it has gone from another that could write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{ScaleIo, State, World};
use crate::rig::Sdc;
use crate::storage::{self, Follow, Following};

/// The time between two looks when no request comes: a test may change the array itself.
const LOOK: Duration = Duration::from_millis(50);

/// Where the content of volumes and snapshots is: a file for each that was ever mapped, or cut from one that was.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

/// The machines that volumes are shown on, by what each is called there.
#[derive(Default)]
pub(super) struct Machines(BTreeMap<String, Arc<dyn Sdc + Send + Sync>>);

/// Volumes that nobody can write to until this is dropped.
pub(super) struct Held<'a>(Vec<(&'a (dyn Sdc + Send + Sync), Vec<String>)>);

/// Follows the mappings of the SDCs of one machine, until it is dropped.
#[derive(Debug)]
pub struct Devices(Following);

/// A volume that has a disk here.
#[derive(Debug, Clone)]
struct Plugged {
    bytes: u64,
    read_only: bool,
    /// The mappings to the machine's SDCs.
    mappings: BTreeSet<usize>,
}

struct Follower {
    state: Arc<State>,
    sdcs: Vec<String>,
    machine: Arc<dyn Sdc + Send + Sync>,
    store: Store,
    plugged: BTreeMap<String, Plugged>,
    /// How many requests had come when it looked last.
    seen: Option<u64>,
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
            storage::copy(&self.file(from), &self.file(to));
        }
    }

    fn make(&self, id: &str, bytes: u64) -> PathBuf {
        let file = self.file(id);
        File::options().create(true).truncate(false).write(true).open(&file).unwrap().set_len(bytes).unwrap();
        file
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl World {
    /// Has what is written to these volumes wait, on whichever machine they are shown: what is copied of them meanwhile is as it is at one
    /// moment, as what waits was not confirmed to anybody.
    pub(super) fn hold(&self, volumes: &[&str]) -> Held<'_> {
        let of = |place: &String| -> Vec<String> {
            let shown = volumes.iter().filter(|volume| self.shown.contains_key(&((**volume).to_owned(), place.clone())));
            shown.map(|volume| format!("{}-{volume}", self.settings.system)).collect()
        };
        let mut held = Held(Vec::new());
        for (place, machine) in &self.machines.0 {
            let own = of(place);
            machine.hold(&own);
            held.0.push((&**machine, own));
        }
        held
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|(machine, volumes)| machine.release(volumes));
    }
}

impl Devices {
    /// Shows what `array` maps to any of `sdcs` in `machine`, which has an [SDC](Sdc::install_sdc); several are nodes that are one machine.
    /// All machines of one array have one `store`.
    pub fn follow(array: &ScaleIo, sdcs: &[&str], machine: impl Sdc + Send + Sync + 'static, store: &Store) -> Self {
        let machine: Arc<dyn Sdc + Send + Sync> = Arc::new(machine);
        {
            let mut world = array.world();
            world.store = Some(store.clone());
            world.machines.0.insert(sdcs[0].to_owned(), Arc::clone(&machine));
        }
        Self(Following::start(Follower {
            state: Arc::clone(&array.state),
            sdcs: sdcs.iter().map(|sdc| (*sdc).to_owned()).collect(),
            machine,
            store: store.clone(),
            plugged: BTreeMap::new(),
            seen: None,
        }))
    }

    /// Whether it follows: it ends early when a disk cannot be shown, and says why.
    pub fn is_well(&self) -> bool {
        self.0.is_well()
    }
}

impl Follow for Follower {
    fn look(&mut self) {
        if self.seen.is_some() {
            self.wait();
        }
        let (mapped, seen) = self.mapped();
        self.seen = Some(seen);
        // Whoever gets it anew gets another disk.
        let is_gone =
            |(id, before): &(&String, &Plugged)| mapped.get(*id).is_none_or(|now| now.mappings.is_disjoint(&before.mappings));
        let gone: Vec<String> = self.plugged.iter().filter(is_gone).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.machine.unmap(&self.native(&id), &self.store.file(&id));
            self.plugged.remove(&id);
            let place = self.place();
            self.state.world.lock().unwrap().shown.remove(&(id, place));
        }
        for (id, wanted) in mapped {
            match self.plugged.get(&id) {
                Some(before) => {
                    if before.bytes != wanted.bytes {
                        self.machine.grow_unseen(&self.store.file(&id), wanted.bytes);
                    }
                }
                None if self.may_show(&id, wanted.read_only) => {
                    let file = self.store.make(&id, wanted.bytes);
                    if wanted.read_only {
                        self.machine.map_read_only(&self.native(&id), &file);
                    } else {
                        self.machine.map(&self.native(&id), &file);
                    }
                }
                None => continue,
            }
            self.plugged.insert(id, wanted);
        }
    }

    fn end(&mut self) {
        if self.machine.stays() {
            for id in self.plugged.keys() {
                self.machine.unmap(&self.native(id), &self.store.file(id));
            }
        }
        let place = self.place();
        let mut world = self.state.world.lock().unwrap();
        world.shown.retain(|(_, shown), _| *shown != place);
        world.machines.0.remove(&place);
    }
}

impl Follower {
    /// Waits until a request comes that was not seen, or a while.
    fn wait(&self) {
        let world = self.state.world.lock().unwrap();
        drop(self.state.changed.wait_timeout_while(world, LOOK, |world| Some(world.requests) == self.seen).unwrap());
    }

    /// The volumes that the machine has, and how many requests had come.
    fn mapped(&self) -> (BTreeMap<String, Plugged>, u64) {
        let world = self.state.world.lock().unwrap();
        let mut found = BTreeMap::new();
        for volume in world.volumes.values() {
            let mut own = volume.mapped.iter().filter(|mapping| self.sdcs.contains(&mapping.sdc)).peekable();
            if own.peek().is_some() {
                let read_only = own.clone().all(|mapping| mapping.mode == "ReadOnly");
                let mappings = own.map(|mapping| mapping.number).collect();
                found.insert(volume.id.clone(), Plugged { bytes: volume.kib << 10, read_only, mappings });
            }
        }
        (found, world.requests)
    }

    /// What this machine is called where it is noted what is shown: its first SDC.
    fn place(&self) -> String {
        self.sdcs[0].clone()
    }

    /// Notes that the volume is shown here, unless it still is where it could be written, or would be here.
    fn may_show(&self, id: &str, read_only: bool) -> bool {
        let place = self.place();
        let mut world = self.state.world.lock().unwrap();
        let clashes =
            |((other, there), only): (&(String, String), &bool)| other == id && *there != place && !(*only && read_only);
        if world.shown.iter().any(clashes) {
            return false;
        }
        world.shown.insert((id.to_owned(), place), read_only);
        true
    }

    fn native(&self, id: &str) -> String {
        format!("{}-{id}", self.state.settings.system)
    }
}
