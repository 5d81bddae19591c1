//! A simulated EC2 for one plugin, on the machine that both run on: its nodes are instances that are one machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use rustix::process::Pid;

use super::devices::{Devices, serial};
use super::{Ec2, Ec2Settings, World, ZONES};
use crate::kernel::Loop;
use crate::plugin::{NODE_A, NODE_B};
use crate::poll::until;
use crate::rig::{Disk, Inside};
use crate::storage::{Moment, Storage, runtime};
use crate::workspace::Workspace;

/// Where the nodes of this machine note whose devices they have.
const NOTES: &str = "/run/hawser/ebs/local";

/// An EC2 and its instances.
#[derive(Debug)]
pub struct Beside {
    // Dropped in this order.
    devices: Vec<Devices>,
    ec2: Ec2,
    instances: BTreeMap<&'static str, String>,
    _store: Workspace,
}

impl Beside {
    /// Starts it, with the content of its volumes in a directory within `ground`.
    pub fn start(ground: &Path) -> Self {
        let entered = runtime().enter();
        let ec2 = Ec2::serve(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Ec2Settings::default());
        drop(entered);
        let instances: BTreeMap<_, _> = [NODE_A, NODE_B].map(|name| (name, ec2.world().instance(ZONES[0]))).into();
        let store = Workspace::within(ground);
        let devices =
            instances.values().map(|instance| Devices::follow(&ec2, instance, Box::new(Inside), store.path())).collect();
        Self { devices, ec2, instances, _store: store }
    }
}

impl Beside {
    /// What there is, as of now. Panics when devices do not come and go with it any more.
    fn world(&self) -> MutexGuard<'_, World> {
        assert!(self.devices.iter().all(Devices::is_well), "the devices are not followed any more");
        let mut world = self.ec2.world();
        world.settle();
        world
    }
}

impl Storage for Beside {
    fn node_id(&self, name: &str) -> String {
        self.instances[name].clone()
    }

    fn imagined(&self, what: &str, number: u8) -> String {
        format!("{what}-{:017x}", 0xdead_0000_u64 + u64::from(number))
    }

    fn yaml(&self, _name: &str) -> String {
        let (address, zone) = (self.ec2.address(), ZONES[0]);
        // What this one has made it lists at once; what it does not list has gone.
        format!(
            "    type: ebs\n    region: us-east-1\n    zone: {zone}\n    endpoint: {address}\n    listed-within-seconds: 1\n    \
             node: {{ zone: {zone} }}\n"
        )
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")]
            .map(|(key, value)| (key, value.to_owned()))
            .into()
    }

    fn kill_at(&self, action: &'static str, moment: Moment, process: Pid) {
        self.ec2.kill_at(action, moment, process);
    }

    fn devices(&self) -> Vec<Loop> {
        let settled = || {
            let world = self.world();
            let held = world.volumes.values().filter(|volume| !volume.attachments.is_empty());
            let wanted: BTreeMap<_, _> = held.map(|volume| (serial(&volume.id), u64::from(volume.size) << 30)).collect();
            let had: BTreeMap<_, _> = world.granted.iter().map(|(volume, _)| (serial(volume), volume)).collect();
            let disks: Vec<Disk> = Inside.disks().into_iter().filter(|disk| had.contains_key(&disk.serial)).collect();
            let found = disks.iter().map(|disk| (disk.serial.clone(), disk.bytes)).collect::<BTreeMap<_, _>>();
            let bound = |disk: Disk| Loop { file: PathBuf::from(had[&disk.serial]), device: disk.device };
            (found == wanted && disks.len() == wanted.len()).then(|| disks.into_iter().map(bound).collect())
        };
        until("the devices to be those of the attachments", settled)
    }

    fn left(&self) -> Vec<String> {
        let world = self.world();
        let mut left: Vec<String> = world.volumes.keys().chain(world.snapshots.keys()).cloned().collect();
        left.extend(world.shown.iter().map(|(volume, instance)| format!("the device of {volume} on {instance}")));
        for noted in fs::read_dir(NOTES).into_iter().flatten().flatten() {
            let name = noted.file_name().to_string_lossy().into_owned();
            if world.granted.iter().any(|(volume, _)| name.starts_with(volume)) {
                left.push(format!("a note of {name}"));
            }
        }
        left
    }
}
