//! A simulated array for one plugin, on the machine that both run on: its nodes are SDCs that are one machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Pid;

use super::devices::{Devices, Store};
use super::{ScaleIo, ScaleIoSettings, USER};
use crate::kernel::Loop;
use crate::plugin::{NODE_A, NODE_B};
use crate::poll::until;
use crate::rig::{Inside, Sdc};
use crate::storage::{Moment, Storage, runtime};
use crate::workspace::Workspace;

/// Where the nodes of this machine note whose disks they have.
const NOTES: &str = "/run/hawser/scaleio/local";

/// An array and its SDCs.
#[derive(Debug)]
pub struct Beside {
    // Dropped in this order.
    devices: Devices,
    array: ScaleIo,
    /// The GUIDs of the SDCs by their names.
    guids: BTreeMap<&'static str, String>,
    _store: Workspace,
}

impl Beside {
    /// Starts it, with the content of its volumes in a directory within `ground`.
    pub fn start(ground: &Path) -> Self {
        // The driver has the disks of all arrays, and knows them by this.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let system = format!("14dbbf56{:08x}", NEXT.fetch_add(1, Ordering::Relaxed));
        let entered = runtime().enter();
        let settings = ScaleIoSettings { system, ..ScaleIoSettings::default() };
        let array = ScaleIo::serve(vec![TcpListener::bind("127.0.0.1:0").unwrap()], settings);
        drop(entered);
        let sdcs = [NODE_A, NODE_B].map(|name| (name, array.world().sdc(Some(name))));
        let ids = sdcs.each_ref().map(|(_, (id, _))| &**id);
        let store = Workspace::within(ground);
        Inside.install_sdc(&sdcs[0].1.1);
        let devices = Devices::follow(&array, &ids, Inside, &Store::at(store.path()));
        let guids = sdcs.iter().map(|(name, (_, guid))| (*name, guid.clone())).collect();
        Self { devices, array, guids, _store: store }
    }
}

impl Storage for Beside {
    fn node_id(&self, name: &str) -> String {
        name.to_owned()
    }

    /// Snapshots are volumes.
    fn imagined(&self, _what: &str, number: u8) -> String {
        format!("{}-{:016x}", self.array.world().settings.system, 0xdead_0000_u64 + u64::from(number))
    }

    /// The driver says who the one SDC is that it is; each node is told to be another.
    fn yaml(&self, name: &str) -> String {
        format!(
            "    type: scaleio\n    systems:\n      - gateways: {:?}\n        user: {USER}\n        password-file: {}\n        ca-file: {}\n    \
             node: {{ guid: {} }}\n",
            self.array.addresses(),
            self.array.password_file().display(),
            self.array.ca_file().display(),
            self.guids[name]
        )
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn kill_at(&self, action: &'static str, moment: Moment, process: Pid) {
        self.array.kill_at(action, moment, process);
    }

    /// Their sizes are not compared: a disk has a new one when the SDC is told to look.
    fn devices(&self) -> Vec<Loop> {
        let settled = || {
            let world = self.array.world();
            let system = &world.settings.system;
            let held = world.volumes.values().filter(|volume| !volume.mapped.is_empty());
            let wanted: BTreeSet<String> = held.map(|volume| format!("{system}-{}", volume.id)).collect();
            let disks = Inside.disks_of_sdc().into_iter().filter(|disk| disk.file.to_string_lossy().starts_with(system.as_str()));
            let disks: Vec<Loop> = disks.collect();
            let found: BTreeSet<String> = disks.iter().map(|disk| disk.file.to_string_lossy().into_owned()).collect();
            (found == wanted).then_some(disks)
        };
        until("the disks to be those of the mappings", settled)
    }

    fn left(&self) -> Vec<String> {
        assert!(self.devices.is_well(), "the disks are not followed any more");
        let world = self.array.world();
        assert!(world.shared.is_empty(), "two nodes could write to {:?}", world.shared);
        let mut left: Vec<String> = world.volumes.keys().cloned().collect();
        left.extend(world.shown.keys().map(|(volume, _)| format!("the disk of {volume}")));
        for noted in fs::read_dir(NOTES).into_iter().flatten().flatten() {
            let name = noted.file_name().to_string_lossy().into_owned();
            if name.starts_with(&world.settings.system) {
                left.push(format!("a note of {name}"));
            }
        }
        left
    }
}
