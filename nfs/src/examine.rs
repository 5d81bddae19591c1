//! What keeps an export from being worked in: its name, its port, the versions that it offers, and what this machine may do in it. It is
//! mounted to nowhere, as always ([`hawser_host::nfs`]), and nothing is written.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use hawser_host::{Directory, Host, MountOptions, NfsMount};
use hawser_volume::checkup::Check;
use hawser_volume::native::is_digest;
use hawser_volume::{Deadline, Error, Kind, Result};

use crate::config::NfsConfig;
use crate::connection::OWN;
use crate::layout::{EXPORT, HIDDEN, NEW, TRASH, VOLUMES};
use crate::record::VolumeRecord;
use crate::tree::Folders;
use crate::versions;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long all mounts together may take.
const MOUNTS: Duration = Duration::from_secs(12);

/// The versions that are asked for when the configuration names none.
const VERSIONS: [&str; 4] = ["4.2", "4.1", "4.0", "3"];

/// Where NFS answers, and where the services of version 3 are told.
const PORT: u16 = 2049;
const PORTMAP: u16 = 111;

/// Whom a server takes root for that it does not believe to be root.
const NOBODY: u32 = 65534;

/// How many records are read.
const RECORDS_MAX: usize = 1000;

const SQUASH: &str = "export it with no_root_squash to this machine (`exportfs -v` on the server shows what it is exported with)";

/// Looks at the export of `config`, one step after another, as far as they lead. Blocks, for half a minute at most.
pub fn examine(config: &NfsConfig, host: &Arc<dyn Host>) -> Vec<Check> {
    let server = &config.server;
    let (version, port) = (asked(config, &["vers", "nfsvers"]), asked(config, &["port"]).and_then(|port| port.parse().ok()));
    let addresses: Vec<SocketAddr> = match (server.as_str(), port.unwrap_or(PORT)).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(error) => {
            let why = format!("the name {server} leads nowhere: {error}");
            return vec![Check::wrong("the server", why, "correct `server`, or the name service (/etc/resolv.conf)")];
        }
    };
    let mut checks = Vec::new();
    if version.as_deref().is_some_and(|version| version.starts_with('3')) {
        checks.push(portmap(&addresses));
    }
    match reached(&addresses) {
        Ok(address) => checks.push(Check::well("the server", format!("{server} accepts connections at {address}"))),
        Err(why) => {
            let mend =
                "start the NFS server (`systemctl status nfs-server`), open the firewall for TCP port 2049, or correct `server`";
            checks.push(Check::wrong("the server", why, mend));
            return checks;
        }
    }
    let (found, mounted) = mounts(config, version, host);
    checks.extend(found);
    if let Some(root) = mounted {
        checks.extend(inside(&root));
    }
    checks
}

/// The last value that the configuration gives to one of these options.
fn asked(config: &NfsConfig, keys: &[&str]) -> Option<String> {
    let flags = config.mount_options.iter().chain(&config.own_mount_options);
    let mut values = flags.filter_map(|flag| flag.split_once('=')).filter(|(key, _)| keys.contains(key));
    values.next_back().map(|(_, value)| value.to_owned())
}

fn reached(addresses: &[SocketAddr]) -> std::result::Result<SocketAddr, String> {
    let mut refused = "its name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT) {
            Ok(_) => return Ok(*address),
            Err(error) => refused = format!("{address}: {error}"),
        }
    }
    Err(refused)
}

fn portmap(addresses: &[SocketAddr]) -> Check {
    const STEP: &str = "the port mapper";
    let addresses: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(address.ip(), PORTMAP)).collect();
    match reached(&addresses) {
        Ok(address) => Check::well(STEP, format!("accepts connections at {address}")),
        Err(why) => Check::wrong(
            STEP,
            format!("{why}, and NFSv3 asks it where mountd and the lock manager are"),
            "start rpcbind on the server and open TCP port 111, or use NFSv4: leave `vers=3` out",
        ),
    }
}

/// Mounts the export with each version, and gives the first root that was got.
fn mounts(config: &NfsConfig, version: Option<String>, host: &Arc<dyn Host>) -> (Vec<Check>, Option<Directory>) {
    const STEP: &str = "the export";
    let source = format!("{}:{}", config.server, config.path.display());
    let versions = version.map_or_else(|| VERSIONS.map(str::to_owned).to_vec(), |version| vec![version]);
    let deadline = Deadline::after(MOUNTS);
    let (mut offered, mut root, mut refused): (Vec<String>, Option<Directory>, Option<Error>) = (Vec::new(), None, None);
    for version in versions {
        match mounted(config, &version, host, deadline) {
            Ok(directory) => {
                root.get_or_insert(directory);
                offered.push(version);
            }
            Err(error) => {
                let is_silent = matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded);
                if refused.as_ref().is_none_or(|before| before.kind() == Kind::Unsupported) {
                    refused = Some(error);
                }
                if is_silent {
                    break;
                }
            }
        }
    }
    let best = offered.first().cloned();
    let check = match (best, refused) {
        (Some(best), _) if best.starts_with('3') && offered.len() == 1 && asked(config, &["vers", "nfsvers"]).is_none() => {
            Check::wrong(
                STEP,
                format!("{source} is offered as NFSv3 alone, and version 4 is asked for when the configuration names none"),
                "switch version 4 on at the server (/etc/nfs.conf, [nfsd] vers4=y), or add `vers=3` to `mount-options` and `own-mount-options`",
            )
        }
        (Some(_), _) => Check::well(STEP, format!("{source} can be mounted with NFS {}", offered.join(", "))),
        (None, Some(error)) => Check::wrong(STEP, error.chain(), remedy(&error)),
        (None, None) => Check::wrong(STEP, "no version of NFS was tried", "correct `mount-options`"),
    };
    (vec![check], root)
}

fn mounted(config: &NfsConfig, version: &str, host: &Arc<dyn Host>, deadline: Deadline) -> Result<Directory> {
    let is_version = |flag: &&String| !flag.starts_with("vers=") && !flag.starts_with("nfsvers=");
    let own = config.own_mount_options.iter().filter(is_version).cloned();
    let mut flags: Vec<String> = OWN.iter().map(|flag| (*flag).to_owned()).chain(own).collect();
    flags.push(format!("vers={version}"));
    // With locks version 3 is mounted by a program, at a path that others see.
    if version.starts_with('3') && !flags.iter().any(|flag| flag == "nolock") {
        flags.push("nolock".to_owned());
    }
    let mount = NfsMount { server: config.server.clone(), path: config.path.clone(), options: MountOptions::parse(&flags)? };
    let detached = host.mount_nfs(&mount, deadline)?;
    Directory::of_mount(&detached, mount.source().as_ref())
}

fn remedy(error: &Error) -> &'static str {
    match error.kind() {
        Kind::PermissionDenied => {
            "export the directory to this machine's address (/etc/exports, `exportfs -ra`), with sec=sys or what `own-mount-options` says"
        }
        Kind::NotFound => "correct `path`: the server has no such directory, or exports another one (`exportfs -v` there)",
        Kind::Precondition => {
            "load the kernel's NFS client (`modprobe nfsv4`), run as root, or correct `own-mount-options`; see `dmesg`"
        }
        Kind::Unsupported => {
            "switch another version on at the server (/etc/nfs.conf), or ask for one that it has with `vers=` in `own-mount-options`"
        }
        Kind::Invalid => "correct `own-mount-options`",
        _ => {
            "something listens there and does not answer as NFS does: see the server's load and log, and what is on the way (firewall, NAT)"
        }
    }
}

/// What this machine may do, and what is there.
fn inside(root: &Directory) -> Vec<Check> {
    let mut checks = Vec::new();
    let hidden = match root.enter(HIDDEN) {
        Ok(hidden) => hidden,
        Err(error) => {
            return vec![Check::wrong("the content", error.chain(), SQUASH)];
        }
    };
    checks.push(match root.may_write() {
        Ok(true) => Check::well("writing", "the server lets this machine's root write into the export"),
        Ok(false) => Check::wrong("writing", "the server does not let this machine's root write into the export", SQUASH),
        Err(error) => Check::wrong("writing", error.chain(), SQUASH),
    });
    let Some(hidden) = hidden else {
        checks.push(Check::well("the content", "nothing of Hawser's yet: its directory is made when it is needed"));
        return checks;
    };
    match hidden.own_path().metadata() {
        Ok(metadata) if metadata.uid() == NOBODY => checks.push(Check::wrong(
            "root",
            "what this machine's root made there belongs to nobody: the server squashes root, and owners and groups of volumes cannot be set",
            SQUASH,
        )),
        _ => {}
    }
    checks.push(records(&hidden));
    for (name, what) in [(NEW, "half made"), (TRASH, "half removed")] {
        if let Ok(Some(folder)) = hidden.enter(name)
            && let Ok(names) = folder.names()
            && !names.is_empty()
        {
            checks.push(Check::well(
                format!("objects {what}"),
                format!("{}: a controller that runs goes on with them, or removes them when they are old", names.len()),
            ));
        }
    }
    checks
}

fn records(hidden: &Directory) -> Check {
    const STEP: &str = "the records";
    let mend = "run a version that understands it, or bring it back from a backup of the export";
    let read = || -> Result<(usize, bool)> {
        if !Folders::is_known(hidden)? {
            return Err(Error::precondition(format!("{} has no {EXPORT}", hidden.shown().display())));
        }
        let Some(volumes) = hidden.enter(VOLUMES)? else { return Ok((0, true)) };
        let mut count = 0;
        for name in volumes.names()?.iter().filter_map(|name| name.to_str()).filter(|name| is_digest(name)) {
            if count == RECORDS_MAX {
                return Ok((count, false));
            }
            // One that vanished meanwhile is none.
            if let Some(folder) = volumes.enter(name)? {
                versions::latest::<VolumeRecord>(&folder)?;
                count += 1;
            }
        }
        Ok((count, true))
    };
    match read() {
        Ok((count, true)) => Check::well(STEP, format!("of {count} volumes are readable")),
        Ok((count, false)) => Check::well(STEP, format!("of the first {count} volumes are readable")),
        Err(error) => Check::wrong(STEP, error.chain(), mend),
    }
}
