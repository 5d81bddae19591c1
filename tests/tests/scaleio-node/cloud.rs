//! Nodes with SDCs of a simulated array, each with a whole plugin: what the array maps has a disk.

use std::fs;
use std::sync::Arc;

use hawser_tests::binary::hawser;
use hawser_tests::rig::{Node, Plan, Plugin, Rig, Sdc};
use hawser_tests::scaleio::devices::{Devices, Store};
use hawser_tests::scaleio::{ScaleIo, ScaleIoSettings, USER};

/// What everything happens in.
pub struct Cloud {
    // Dropped in this order.
    pub machines: Vec<Machine>,
    pub array: ScaleIo,
    pub store: Store,
    config: String,
    pub rig: Rig,
}

/// A node.
pub struct Machine {
    pub plugin: Option<Plugin>,
    pub devices: Option<Devices>,
    pub node: Arc<Node>,
    /// The array's id of its SDC.
    pub sdc: String,
    guid: String,
}

impl Cloud {
    /// Nodes of these names.
    pub async fn new<const N: usize>(names: [&str; N]) -> Self {
        let rig = Rig::start();
        let nodes = rig.nodes_of(names.map(|name| Plan { memory: 512, ..Plan::new(name) }));
        let array = ScaleIo::serve(vec![rig.listen(), rig.listen()], ScaleIoSettings::default());
        // Where the nodes see it.
        let seen = |file: &std::path::Path| {
            let copy = rig.shared().join(file.file_name().unwrap());
            fs::copy(file, &copy).unwrap();
            copy
        };
        let config = format!(
            "backends:\n  sio:\n    type: scaleio\n    systems:\n      - gateways: {:?}\n        user: {USER}\n        password-file: {}\n        \
             ca-file: {}\n",
            array.addresses(),
            seen(&array.password_file()).display(),
            seen(&array.ca_file()).display()
        );
        let store = Store::at(&rig.shared().join("volumes"));
        let mut cloud = Self { machines: Vec::new(), array, store, config, rig };
        for node in nodes {
            let (sdc, guid) = cloud.array.world().sdc(Some(node.name()));
            cloud.machines.push(Machine { plugin: None, devices: None, node: Arc::new(node), sdc, guid });
        }
        for number in 0..N {
            cloud.begin(number).await;
        }
        cloud
    }

    /// Starts what a node has when it is on.
    pub async fn begin(&mut self, number: usize) {
        let (array, store, machine) = (&self.array, &self.store, &mut self.machines[number]);
        machine.node.install_sdc(&machine.guid);
        machine.devices = Some(Devices::follow(array, &[&machine.sdc], Arc::clone(&machine.node), store));
        machine.plugin = Some(Plugin::serve(&machine.node, machine.node.command(hawser()), &self.config).await);
    }

    /// Whether nothing is left of volumes: on the array, and in the nodes.
    pub fn is_clean(&self) {
        assert!(self.array.world().volumes.is_empty(), "{:?}", self.array.world().volumes);
        for machine in &self.machines {
            assert!(machine.devices().is_well());
            assert_eq!(machine.node.shell("grep scini /proc/self/mountinfo || true; cat /dev/scini"), "");
        }
    }
}

impl Machine {
    pub fn plugin(&self) -> &Plugin {
        self.plugin.as_ref().unwrap()
    }

    pub fn devices(&self) -> &Devices {
        self.devices.as_ref().unwrap()
    }

    /// Its power fails.
    pub fn dies(&mut self) {
        self.plugin = None;
        self.devices = None;
        self.node.kill();
    }
}
