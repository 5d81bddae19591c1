//! An NFS server: the kernel's own, in a node, with a disk that outlives the node's power.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Node, disk};
use crate::ground::Ground;
use crate::kernel::run;

/// The size of the disk.
const SIZE: u64 = 16 << 30;

/// Where the trees of the exports are, in the node.
const TREES: &str = "/srv/trees";

/// Mounts the disk and serves what is on it.
///
/// * Clients are remembered on the disk, so that one of them can reclaim its locks after a crash of the server.
/// * The paths of exports begin at [`TREES`] (`rootdir`), for NFSv3 as for NFSv4.
/// * Ten seconds are the shortest lease and grace period that the kernel takes (fs/nfsd/nfsctl.c). The locks of
///   NFSv3, which nobody is to use here (`nolock`), have a period of their own, in which NFSv4 gives no new locks either.
const START: &str = r#"
mkdir -p /srv
mount "$1" /srv
mkdir -p /srv/trees /srv/state /run/sendsigs.omit.d
cp --no-clobber --recursive /var/lib/nfs/. /srv/state
mount --bind /srv/state /var/lib/nfs
mkdir -p /run/rpc_pipefs /var/lib/nfs/nfsdcld
modprobe nfsd
mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
echo 10 > /proc/fs/nfsd/nfsv4leasetime
echo 10 > /proc/fs/nfsd/nfsv4gracetime
echo 3 > /proc/sys/fs/nfs/nlm_timeout
echo 3 > /proc/sys/fs/nfs/nlm_grace_period
mkdir -p /etc/nfs.conf.d
printf '[general]\npipefs-directory=/run/rpc_pipefs\n[exports]\nrootdir=/srv/trees\n' > /etc/nfs.conf
rpcbind -w
nfsdcld
"#;
const SERVE: &str = "exportfs -r; rpc.nfsd 4; rpc.mountd";
const STOP: &str = "rpc.nfsd 0; pkill -x rpc.mountd; exportfs -f";

/// A server. It ends with its node, when this is dropped.
#[derive(Debug)]
pub struct NfsServer {
    node: Node,
    device: PathBuf,
    exports: Mutex<BTreeMap<String, String>>,
}

/// What a client mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The server's address.
    pub server: Ipv4Addr,
    /// The path, the same for each version of the protocol.
    pub path: String,
}

impl fmt::Display for Export {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(form, "{}:{}", self.server, self.path)
    }
}

impl NfsServer {
    /// Serves from an xfs, which can share blocks between files and has quotas of projects.
    pub fn on(node: Node) -> Self {
        Self::with(node, Ground::Xfs)
    }

    /// Serves from a filesystem on a new disk.
    pub fn with(node: Node, ground: Ground) -> Self {
        let file = disk::create(&node.own().join("exports"), SIZE);
        let file_name = file.to_str().unwrap();
        match ground {
            Ground::Ext4 => run("mkfs.ext4", &["-q", "-E", "nodiscard", file_name]),
            Ground::Xfs => run("mkfs.xfs", &["-q", "-m", "reflink=1", file_name]),
            Ground::Nfs | Ground::Devices => panic!("an export is served from a disk"),
        };
        let device = node.attach(&file, "exports");
        let server = Self { node, device, exports: Mutex::default() };
        server.start();
        server
    }

    /// The node that it runs in: to freeze, to cut off, to look into.
    pub fn node(&self) -> &Node {
        &self.node
    }

    fn start(&self) {
        self.node.run(["sh", "-euc", START, "sh", self.device.to_str().unwrap()]).well();
        self.serve();
    }

    /// Goes on after [`Self::stop`].
    pub fn serve(&self) {
        self.write_exports();
        self.node.shell(SERVE);
    }

    /// Stops to serve; the node stays on.
    pub fn stop(&self) {
        self.node.shell(STOP);
    }

    /// Takes the power from it.
    pub fn kill(&self) {
        self.node.kill();
    }

    /// Boots it after [`Self::kill`], and serves what was on its disk, with the grace period that clients need to reclaim.
    pub fn boot(&self) {
        self.node.boot();
        self.start();
    }

    /// Exports a directory, made if it is missing, to everybody; `options` are those of exports(5).
    pub fn export(&self, name: &str, options: &str) -> Export {
        self.node.run(["mkdir", "-p", self.tree(name).to_str().unwrap()]).well();
        self.exports().insert(name.to_owned(), options.to_owned());
        self.publish();
        Export { server: self.node.address(), path: format!("/{name}") }
    }

    /// Ends an export; what is in it stays.
    pub fn unexport(&self, name: &str) {
        self.exports().remove(name);
        self.publish();
    }

    /// Where an export's tree is in the [node](Self::node), for a look from outside of NFS.
    pub fn tree(&self, name: &str) -> PathBuf {
        Path::new(TREES).join(name)
    }

    fn exports(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.exports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self) {
        self.write_exports();
        self.node.shell("exportfs -r");
    }

    fn write_exports(&self) {
        let lines: String = self.exports().iter().map(|(name, options)| format!("/{name} *({options})\n")).collect();
        self.node.run(["sh", "-euc", "printf %s \"$1\" > /etc/exports", "sh", &lines]).well();
    }
}
