//! The unix socket that COs connect to.
//!
//! Between `bind` and `listen` a socket has a file but refuses connections; owner, group and mode are set in between, so that
//! nobody can reach it with other rights than the configured ones. A file that a dead process left is removed; one on which
//! somebody answers is not.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use hawser_volume::{Error, Result};
use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen, socket};
use nix::unistd::{Gid, Group, chown};
use tokio::net::UnixListener;

/// A listening socket whose file goes when this is dropped.
#[derive(Debug)]
pub struct Socket {
    /// The listener; taken by the server.
    pub listener: Option<UnixListener>,
    path: PathBuf,
    inode: u64,
}

/// Reads an endpoint: `unix:///path`, `unix:path`, or a path.
pub fn endpoint(text: &str) -> Result<PathBuf> {
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    if path.is_empty() {
        return Err(Error::invalid("the endpoint is empty; give unix:///path/csi.sock"));
    }
    if path.contains("://") {
        return Err(Error::invalid(format!(
            "endpoint {text:?} is not possible: CSI is served on unix sockets only, as in unix:///path/csi.sock"
        )));
    }
    if UnixAddr::new(path).is_err() {
        return Err(Error::invalid(format!("endpoint {text:?} is too long for a unix socket (at most 107 bytes)")));
    }
    Ok(PathBuf::from(path))
}

impl Socket {
    /// Listens at `path` for the owner, and for `group` if one is given (by name or number).
    pub fn open(path: &Path, group: Option<&str>) -> Result<Self> {
        let failed = |what: &str, errno: Errno| Error::unavailable(format!("{what} {}", path.display())).caused_by(errno);
        let group = group.map(group_id).transpose()?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|error| {
                Error::unavailable(format!("make the directory {} for the socket", parent.display())).caused_by(error)
            })?;
        }
        remove_stale(path)?;
        let address = UnixAddr::new(path).map_err(|errno| failed("listen at", errno))?;
        let fd = stream_socket().map_err(|errno| failed("make a socket for", errno))?;
        bind(fd.as_raw_fd(), &address).map_err(|errno| failed("listen at", errno))?;
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|error| Error::unavailable(format!("set the mode of {}", path.display())).caused_by(error))?;
        if let Some(group) = group {
            chown(path, None, Some(group)).map_err(|errno| failed("give the group its right to", errno))?;
        }
        let inode = fs::metadata(path).map_or(0, |metadata| metadata.ino());
        // As many as the kernel allows: Mesos makes a connection for each call, and one that finds no place in the line fails at
        // once (EAGAIN) instead of waiting.
        listen(&fd, Backlog::MAXALLOWABLE).map_err(|errno| failed("listen at", errno))?;
        let listener = UnixListener::from_std(StdListener::from(fd))
            .map_err(|error| Error::unavailable(format!("listen at {}", path.display())).caused_by(error))?;
        Ok(Self { listener: Some(listener), path: path.to_owned(), inode })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another process may have put its own socket here meanwhile.
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "could not remove the socket");
        }
    }
}

fn stream_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

fn group_id(text: &str) -> Result<Gid> {
    if let Ok(number) = text.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(Error::invalid(format!("socket-group: there is no group {text:?} on this machine"))),
        Err(errno) => Err(Error::unavailable(format!("socket-group: look up {text:?}")).caused_by(errno)),
    }
}

/// What is at the place of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Missing,
    /// Something that is no socket.
    Other,
    /// A socket on which nobody listens.
    Stale,
    /// A socket on which somebody listens: this process, unless it does not say so.
    Served(Option<u32>),
}

/// Looks who is at `path`, by connecting to it.
pub fn standing(path: &Path) -> Result<Standing> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Standing::Missing),
        Err(error) => return Err(Error::unavailable(format!("look at {}", path.display())).caused_by(error)),
    };
    if !metadata.file_type().is_socket() {
        return Ok(Standing::Other);
    }
    let address = UnixAddr::new(path).map_err(|errno| Error::invalid(format!("endpoint {}", path.display())).caused_by(errno))?;
    let fd = stream_socket().map_err(|errno| Error::unavailable("make a socket").caused_by(errno))?;
    Ok(match connect(fd.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED) => Standing::Stale,
        Err(Errno::ENOENT) => Standing::Missing,
        Ok(()) => {
            let peer = getsockopt(&fd, PeerCredentials).ok();
            Standing::Served(peer.and_then(|peer| u32::try_from(peer.pid()).ok()).filter(|process| *process != 0))
        }
        // A full backlog (EAGAIN) is an answer, too.
        Err(_) => Standing::Served(None),
    })
}

fn remove_stale(path: &Path) -> Result<()> {
    match standing(path)? {
        Standing::Missing => Ok(()),
        Standing::Other => Err(Error::precondition(format!(
            "{} exists and is not a socket; remove it or choose another endpoint",
            path.display()
        ))),
        Standing::Stale => fs::remove_file(path)
            .map_err(|error| Error::unavailable(format!("remove the stale socket {}", path.display())).caused_by(error)),
        Standing::Served(_) => {
            Err(Error::precondition(format!("another process serves {}; stop it or choose another endpoint", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_paths_with_or_without_a_scheme() {
        for text in ["unix:///run/csi.sock", "unix:/run/csi.sock", "/run/csi.sock"] {
            assert_eq!(endpoint(text).unwrap(), Path::new("/run/csi.sock"));
        }
        for text in ["", "unix://", "tcp://127.0.0.1:1", &format!("/{}", "x".repeat(120))] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("csi.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::open(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Socket::open(&path, None).unwrap_err().to_string().contains("another process"));
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "data").unwrap();
        assert!(Socket::open(&path, None).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }
}
