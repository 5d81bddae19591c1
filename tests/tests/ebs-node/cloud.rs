//! Instances of a simulated EC2 whose volumes are real devices, each with a whole plugin.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hawser_tests::binary::hawser;
use hawser_tests::ec2::devices::Devices;
use hawser_tests::ec2::imds::{Face, Imds};
use hawser_tests::ec2::{Ec2, Ec2Settings, ZONES};
use hawser_tests::rig::{Node, Plan, Plugin, Rig};

/// What everything happens in.
pub struct Cloud {
    // Dropped in this order.
    pub machines: Vec<Machine>,
    pub ec2: Ec2,
    pub rig: Rig,
}

/// An instance.
pub struct Machine {
    pub plugin: Plugin,
    pub devices: Devices,
    pub node: Arc<Node>,
    /// The id of the instance.
    pub instance: String,
    /// What its plugins have in their configuration.
    pub config: String,
    _metadata: Imds,
}

impl Machine {
    /// A command that runs the program there, with what it may do in EC2.
    pub fn command(&self) -> Command {
        command(&self.node)
    }
}

fn command(node: &Node) -> Command {
    let mut command = node.command(hawser());
    command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret");
    command
}

impl Cloud {
    /// So many instances, in one zone.
    pub async fn new(count: usize) -> Self {
        let rig = Rig::start();
        let plan = |number: usize| Plan { memory: 512, ..Plan::new(&format!("n{number}")) };
        let nodes: Vec<Node> = match count {
            1 => rig.nodes_of([plan(1)]).into(),
            2 => rig.nodes_of([plan(1), plan(2)]).into(),
            _ => panic!("a cloud of {count} instances"),
        };
        let ready = Duration::from_millis(200);
        let settings = Ec2Settings { create: ready, attach: ready, detach: ready, ..Ec2Settings::default() };
        let ec2 = Ec2::serve(rig.listen(), settings);
        let store = rig.shared().join("volumes");
        let mut machines = Vec::new();
        for node in nodes {
            let instance = ec2.world().instance(ZONES[0]);
            let metadata = Imds::start(rig.listen(), Face::new(&instance, ZONES[0]));
            let node = Arc::new(node);
            let devices = Devices::follow(&ec2, &instance, Box::new(Arc::clone(&node)), &store);
            let config = format!(
                "backends:\n  ebs:\n    type: ebs\n    region: us-east-1\n    zone: {}\n    endpoint: {}\n    node:\n      metadata: {}\n",
                ZONES[0],
                ec2.address(),
                metadata.address()
            );
            let plugin = Plugin::serve_as(&node, command(&node), "all", &instance, &config).await;
            machines.push(Machine { plugin, devices, node, instance, config, _metadata: metadata });
        }
        Self { machines, ec2, rig }
    }
}
