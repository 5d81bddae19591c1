//! Machines with kernels of their own: User-Mode Linux, one process of this machine for each, started from Debian's packages.
//!
//! They have what the kernel here may lack (NFS, NVMe), they die and freeze like machines, and what separates them is a network. The
//! root of each is this machine's, read-only, with its changes in its own memory, so that it has every program at its place;
//! `tests/rig/install` brings the kernel.
//!
//! # How to write a test with it
//!
//! ```no_run
//! use hawser_tests::rig::{NfsServer, Rig};
//!
//! let rig = Rig::start();
//! let [storage, n1, n2] = rig.nodes(["storage", "n1", "n2"]); // boot at the same time
//! let server = NfsServer::on(storage);
//! let export = server.export("v1", "rw,no_root_squash");
//! for node in [&n1, &n2] {
//!     node.shell(&format!("mkdir /mnt/v && mount -t nfs4 -o soft,timeo=30 {export} /mnt/v"));
//! }
//! n1.shell("echo hello > /mnt/v/letter");
//! rig.cut(&n2, server.node()); // no packet passes from now on
//! rig.heal(&n2, server.node());
//! n1.kill(); // the power fails
//! n1.boot();
//! assert_eq!(n2.run(["cat", "/mnt/v/letter"]).well(), "hello");
//! ```
//!
//! * A [`Node`] is on from its beginning until it is dropped, or until [`Node::kill`].
//! * [`Node::command`] is a [`Command`](std::process::Command) that runs a program in the node as if that ran here: environment, working
//!   directory, what it reads and says, its status, signals to it. So everything that takes a command works:
//!   [`Daemon`](crate::daemon::Daemon), [`Output`](crate::output::Output), [`Process`](crate::process::Process).
//! * [`Plugin`] is `hawser serve` in a node, with its socket on this side; [`Node::forward`] does that for any socket.
//! * [`Rig::shared`] is a directory that every node and this side have at the same path. Contents cross; sockets, pipes and locks do
//!   not, and mounts are the node's own. Everything below `/tmp`, `/run`, `/dev` is the node's own too, but for `target`, the
//!   sources and [`Rig::shared`].
//! * [`Node::attach`] plugs a file in as a disk, [`Node::attach_nvme`] as a volume of EBS, [`Node::map`] as one of ScaleIO.
//! * [`Rig::listen`] is a listener of the test's own in the nodes' network, for a storage system that the test plays.
//! * Nodes that are going to lose their server mount with `soft,timeo=30`; a hard mount waits for ever, as it should.
//! * [`inside::enter`] runs a whole suite in a node: the test's program itself, for which nothing is special then.
//!
//! A rig takes everything with it that it made, also when the test is killed: its processes and its network are in namespaces
//! that end with the test, and the directory that remains then is swept by the next one.
//!
//! A system call takes about 50 times as long as here, and there is one processor; what only computes is as fast.

mod disk;
pub mod inside;
mod machine;
mod mconsole;
mod network;
mod nfs;
mod node;
mod nvme;
mod plugin;
mod power;
pub mod protocol;
mod sdc;
pub mod setting;
mod site;
mod solo;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

pub use machine::{Inside, Machine};
pub use nfs::{Export, NfsServer};
pub use node::{Node, Plan};
pub use nvme::{Disk, Inconstant, Nvme};
pub use plugin::Plugin;
pub use sdc::{Sdc, sdc_disks};
pub use solo::{Given, Solo};

use network::Network;
use site::Site;

/// A group of nodes and the network between them.
#[derive(Debug)]
pub struct Rig {
    shared: Arc<Ground>,
}

/// What the nodes stand on; there as long as one of them is.
#[derive(Debug)]
struct Ground {
    // Dropped in this order: nobody works in a directory that is removed.
    network: Network,
    site: Site,
    nodes: AtomicU8,
}

impl Rig {
    /// A rig without nodes.
    pub fn start() -> Self {
        let site = Site::new();
        Self { shared: Arc::new(Ground { network: Network::new(), site, nodes: AtomicU8::new(0) }) }
    }

    /// Boots a node; returns when it runs programs.
    pub fn node(&self, name: &str) -> Node {
        let [node] = self.nodes([name]);
        node
    }

    /// Boots nodes at the same time.
    pub fn nodes<const N: usize>(&self, names: [&str; N]) -> [Node; N] {
        self.nodes_of(names.map(Plan::new))
    }

    /// The same for nodes that are not as usual.
    pub fn nodes_of<const N: usize>(&self, plans: [Plan; N]) -> [Node; N] {
        let nodes = plans.map(|plan| Node::new(Arc::clone(&self.shared), self.next_number(), plan));
        for node in &nodes {
            node.power_on();
        }
        for node in &nodes {
            node.wait_until_it_is_up();
        }
        nodes
    }

    fn next_number(&self) -> u8 {
        self.shared.nodes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Drops all packets between two nodes from now on, silently.
    pub fn cut(&self, a: &Node, b: &Node) {
        self.shared.network.cut(a.number(), b.number());
        self.shared.network.cut(b.number(), a.number());
    }

    /// Drops all packets from one node to another, silently; those of the other direction pass.
    pub fn cut_one_way(&self, from: &Node, to: &Node) {
        self.shared.network.cut(from.number(), to.number());
    }

    /// Lets the packets between two nodes pass again, in both directions.
    pub fn heal(&self, a: &Node, b: &Node) {
        self.shared.network.heal(a.number(), b.number());
        self.shared.network.heal(b.number(), a.number());
    }

    /// A listener of this process that the nodes reach, at its [address](TcpListener::local_addr): for the API of a storage system
    /// that the test plays itself.
    pub fn listen(&self) -> TcpListener {
        self.shared.network.listen()
    }

    /// A directory that all nodes and this side see at the same path and may write to.
    pub fn shared(&self) -> &Path {
        self.shared.site.shared()
    }

    /// A new file for [`Node::attach`], full of zeros; it takes space only as it is written.
    pub fn disk(&self, name: &str, bytes: u64) -> PathBuf {
        disk::create(&self.shared.site.disks().join(name), bytes)
    }
}
