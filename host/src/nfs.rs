//! Mounting NFS, by system call, to nowhere.
//!
//! A mount is made detached: it has no path, it is in no table of mounts, and it ends with its last descriptor, however the process
//! ends. The controller works in it as it is; the node attaches it to a target. The program `mount.nfs` is executed only where the
//! kernel needs somebody in user space to prepare: NFSv3 with locks, for which it sees to `rpc.statd`. What it mounts is taken from its
//! path at once.
//!
//! Everything here asks a server, so it is done where it can be left behind ([`remote`]).

use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::{Deadline, Error, Kind, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, OpenTreeFlags, UnmountFlags};
use uuid::Uuid;

use crate::errno::{self, Attempt};
use crate::exec::Program;
use crate::mount::words;
use crate::options::MountOptions;
use crate::remote;

/// The versions that are tried, best first, when none is asked for: 4.2 copies on the server, 4.1 has sessions.
const VERSIONS: [&str; 3] = ["4.2", "4.1", "4.0"];

/// Where the helper mounts for the moment that it takes to take the mount from there.
const PASSAGE: &str = "/run/hawser/mount";

/// How long the end of the helper may take when it is killed.
const KILL: Duration = Duration::from_secs(4);

/// How long the look-up of a server's name may take.
const LOOK_UP: Duration = Duration::from_secs(8);

/// A directory of a server, and how to mount it.
#[derive(Debug, Clone)]
pub struct NfsMount {
    /// The server's name or address.
    pub server: String,
    /// The directory there, an absolute path.
    pub path: PathBuf,
    /// The options. What is in them has been checked.
    pub options: MountOptions,
}

/// A mount that is attached to nothing. It ends with this value unless it is attached to a target.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl NfsMount {
    /// The source, as mountinfo shows it: `server:/path`.
    pub fn source(&self) -> String {
        let server = if self.server.contains(':') { format!("[{}]", self.server) } else { self.server.clone() };
        format!("{server}:{}", self.path.display())
    }

    /// Mounts it. `Unavailable` when the server cannot be found or does not answer by `deadline`, `NotFound` when it does not export
    /// the directory, `PermissionDenied` when it does not export it to this machine, `Precondition` when this kernel cannot.
    pub fn mount(&self, deadline: Deadline) -> Result<Detached> {
        // The helper is killed when its time is over, and then its own words are worth more than that nobody answered.
        let grace = if self.needs_helper() { KILL } else { Duration::ZERO };
        let (mount, patience) = (self.clone(), deadline.remaining() + grace);
        remote::within(&format!("{} (mount)", self.source()), patience, move || mount.mount_now(deadline))
    }

    fn mount_now(&self, deadline: Deadline) -> Result<Detached> {
        if self.needs_helper() {
            return self.mount_by_helper(deadline);
        }
        let address = self.address(deadline)?;
        if self.options.has("vers") || self.options.has("nfsvers") {
            return self.mount_by_call(address, None);
        }
        let mut refused = None;
        for version in VERSIONS {
            match self.mount_by_call(address, Some(version)) {
                Err(error) if error.kind() == Kind::Unsupported => refused = Some(error),
                other => return other,
            }
        }
        Err(refused.unwrap_or_else(|| Error::internal("no version of NFS to try")))
    }

    fn version(&self) -> Option<&str> {
        self.options.superblock().filter(|(key, _)| matches!(*key, "vers" | "nfsvers")).find_map(|(_, value)| value)
    }

    fn needs_helper(&self) -> bool {
        self.version().is_some_and(|version| version.starts_with('3')) && !self.options.has("nolock")
    }

    /// The server's address. The resolver has no deadline of its own (it asks each of its servers several times), so it is left behind
    /// when it takes too long, under its own name: that is not the silence of the NFS server.
    fn address(&self, deadline: Deadline) -> Result<IpAddr> {
        if let Ok(address) = self.server.parse() {
            return Ok(address);
        }
        let name = self.server.clone();
        remote::within(&format!("the look-up of the name {name}"), LOOK_UP.min(deadline.remaining()), move || {
            let unknown = || Error::unavailable(format!("the name of the NFS server {name} cannot be resolved"));
            let mut found = (name.as_str(), 2049).to_socket_addrs().map_err(|error| unknown().caused_by(error))?;
            found.next().map(|address| address.ip()).ok_or_else(unknown)
        })
    }

    /// What else has to be there for the options, if mounting fails.
    fn advice(&self) -> &'static str {
        let has = |key: &str, wanted: fn(&str) -> bool| {
            self.options.superblock().any(|(known, value)| known == key && value.is_some_and(wanted))
        };
        if has("xprtsec", |value| value != "none") {
            "; xprtsec needs Linux 6.5 or later and tlshd on this machine, with a certificate that the server takes"
        } else if has("sec", |value| value.contains("krb5")) {
            "; sec=krb5 needs rpc.gssd on this machine, with a key or a ticket that the server takes"
        } else {
            ""
        }
    }

    fn mount_by_call(&self, address: IpAddr, version: Option<&str>) -> Result<Detached> {
        let what = || format!("mount {}", self.source());
        let is_v3 = self.version().is_some_and(|version| version.starts_with('3'));
        let filesystem = if is_v3 { "nfs" } else { "nfs4" };
        let context = rustix::mount::fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| {
            let error = errno::error(format!("{}: ask the kernel for {filesystem}", what()), errno);
            if errno == rustix::io::Errno::NODEV { error.with_kind(Kind::Precondition) } else { error }
        })?;
        let address = address.to_string();
        let mut settings: Vec<(&str, Option<&str>)> = self.options.superblock().collect();
        settings.push(("addr", Some(&address)));
        settings.extend(version.map(|version| ("vers", Some(version))));
        settings.extend(self.options.read_only.then_some(("ro", None)));
        for (key, value) in settings {
            let set = match value {
                Some(value) => rustix::mount::fsconfig_set_string(&context, key, value),
                None => rustix::mount::fsconfig_set_flag(&context, key),
            };
            set.map_err(|errno| {
                let error = errno::error(
                    format!("{}: option {key} is refused{}{}", what(), words(&context, &self.options), self.advice()),
                    errno,
                );
                match errno {
                    // The option is right, and this kernel has not got it.
                    rustix::io::Errno::INVAL if key == "xprtsec" => error.with_kind(Kind::Precondition),
                    rustix::io::Errno::INVAL | rustix::io::Errno::RANGE => error.with_kind(Kind::Invalid),
                    _ => error,
                }
            })?;
        }
        rustix::mount::fsconfig_set_string(&context, "source", self.source())
            .and_then(|()| rustix::mount::fsconfig_create(&context))
            .map_err(|errno| {
                let error = errno::error(format!("{}{}{}", what(), words(&context, &self.options), self.advice()), errno);
                error.with_kind(refusal(errno))
            })?;
        let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, self.options.attributes()).attempt(what)?;
        Ok(Detached(mount))
    }

    fn mount_by_helper(&self, deadline: Deadline) -> Result<Detached> {
        let place = Path::new(PASSAGE).join(Uuid::new_v4().to_string());
        let what = || format!("mount {}", self.source());
        std::fs::create_dir_all(&place).attempt(|| format!("make directory {}", place.display()))?;
        let mut options: Vec<String> = self
            .options
            .superblock()
            .map(|(key, value)| value.map_or(key.to_owned(), |value| format!("{key}={value}")))
            .collect();
        if self.options.read_only {
            options.push("ro".to_owned());
        }
        let run = || {
            let outcome = Program::new("mount.nfs")
                .argument(self.source())
                .argument(&place)
                .arguments(["-o", &options.join(",")])
                .run(deadline)?;
            if outcome.code == Some(0) {
                return Ok(());
            }
            let error = Error::unavailable(format!("{}: mount.nfs ended with {}: {}", what(), outcome.status, outcome.output));
            // Its words are the only thing by which a refusal can be told from silence.
            let refused = ["access denied", "No such file", "Protocol not supported", "rpc.statd is not running"]
                .iter()
                .any(|w| outcome.output.contains(w));
            Err(if refused { error.with_kind(Kind::Precondition) } else { error })
        };
        let take = || {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            rustix::mount::open_tree(rustix::fs::CWD, &place, flags).attempt(what)
        };
        let taken = run().and_then(|()| take());
        // What could not be taken is not to stay; and what was taken has a second mount now.
        let _ = rustix::mount::unmount(&place, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(&place);
        let mount = taken?;
        crate::ioctl::mount_make_private(&mount, self.options.attributes(), self.options.cleared()).attempt(what)?;
        Ok(Detached(mount))
    }
}

/// What it means when the kernel could not mount.
fn refusal(errno: rustix::io::Errno) -> Kind {
    use rustix::io::Errno;
    match errno {
        Errno::PROTONOSUPPORT | Errno::PROTOTYPE => Kind::Unsupported,
        Errno::ACCESS | Errno::PERM => Kind::PermissionDenied,
        Errno::NOENT => Kind::NotFound,
        Errno::INVAL => Kind::Precondition,
        Errno::NODEV | Errno::NOSYS => Kind::Precondition,
        _ => Kind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(server: &str, options: &[&str]) -> NfsMount {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        NfsMount { server: server.to_owned(), path: "/export".into(), options: MountOptions::parse(&options).unwrap() }
    }

    #[test]
    fn the_source_is_written_as_the_kernel_shows_it() {
        assert_eq!(mount("nfs.example", &[]).source(), "nfs.example:/export");
        assert_eq!(mount("fe80::1", &[]).source(), "[fe80::1]:/export");
    }

    #[test]
    fn the_helper_is_for_version_3_with_locks_alone() {
        for (options, helper) in [
            (&["vers=3"][..], true),
            (&["nfsvers=3", "hard"], true),
            (&["vers=3", "nolock"], false),
            (&["vers=4.1"], false),
            (&["sec=krb5p"], false),
            (&[], false),
        ] {
            assert_eq!(mount("x", options).needs_helper(), helper, "{options:?}");
        }
    }

    #[test]
    fn a_name_that_nobody_knows_is_unavailable() {
        let error = mount("no-such-host.invalid", &[]).address(Deadline::after(LOOK_UP)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }
}
