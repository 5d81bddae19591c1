//! The network between the nodes: a bridge in a namespace from which nothing leads out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::enclosure::{Enclosure, Network as Reach};
use crate::output::Output;

/// The address of this side, for what listens in the rig's network outside of the nodes.
pub const SERVER_SIDE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Memory of the nodes is a file that their kernels execute; it must not be where the machine's own is limited.
const SETUP: &str = "
mount -t tmpfs -o mode=1777,size=100% tmpfs /dev/shm
ip link set lo up
ip link add bridge type bridge
ip addr add 10.99.0.1/24 dev bridge
ip link set bridge up
";

/// The network, and the machine of its own in which the nodes' kernels are processes.
#[derive(Debug)]
pub struct Network {
    enclosure: Enclosure,
    cuts: Mutex<BTreeSet<(u8, u8)>>,
}

impl Network {
    /// A network without nodes.
    pub fn new() -> Self {
        Self { enclosure: Enclosure::new(Reach::None, &[], SETUP), cuts: Mutex::default() }
    }

    /// The address of a node.
    pub fn address(node: u8) -> Ipv4Addr {
        let [a, b, c, _] = SERVER_SIDE.octets();
        Ipv4Addr::new(a, b, c, 10 + node)
    }

    /// The interface on this side of a node's cable.
    pub fn cable(node: u8) -> String {
        format!("cable{node}")
    }

    /// A command that runs `program` in this network.
    pub fn command(&self, program: &str) -> Command {
        self.enclosure.command(program)
    }

    /// Lays the cable to a node.
    pub fn lay_cable(&self, node: u8) {
        let cable = Self::cable(node);
        self.tell("ip", &["-batch", "-"], &format!("tuntap add dev {cable} mode tap\nlink set {cable} master bridge up\n"));
    }

    /// Drops the packets from one node to another.
    pub fn cut(&self, from: u8, to: u8) {
        self.change(|cuts| cuts.insert((from, to)));
    }

    /// Ends that.
    pub fn heal(&self, from: u8, to: u8) {
        self.change(|cuts| cuts.remove(&(from, to)));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<(u8, u8)>) -> bool) {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut cuts);
        let mut rules = String::new();
        for (from, to) in &*cuts {
            writeln!(rules, "iifname {:?} oifname {:?} drop", Self::cable(*from), Self::cable(*to)).unwrap();
        }
        // One transaction, so that no packet slips through.
        let table = format!(
            "add table bridge cuts\ndelete table bridge cuts\n\
             table bridge cuts {{ chain forwarded {{ type filter hook forward priority 0;\n{rules}}}\n}}\n"
        );
        self.tell("nft", &["--file", "-"], &table);
    }

    fn tell(&self, program: &str, arguments: &[&str], text: &str) {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Output::from(child.wait_with_output().unwrap()).well();
    }
}
