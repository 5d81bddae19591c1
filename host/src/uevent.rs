//! What the kernel says of devices that come and go: its broadcasts over netlink (`lib/kobject_uevent.c`).
//!
//! They are a reason to look again and nothing more. A message may be lost (the queue overflows, the process lives in a network
//! namespace of another user), so whoever waits for a device looks from time to time without one too.

use std::os::fd::OwnedFd;
use std::time::Duration;

use hawser_volume::Result;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use crate::errno::Attempt;

/// The group of the kernel's own messages. Those of udev come in group 2, in another form.
const KERNEL: u32 = 1;

/// Longest message (`UEVENT_BUFFER_SIZE`, with room for the header).
const LONGEST: usize = 8 << 10;

/// A message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    /// What happened: `add`, `remove`, `change`, …
    pub action: String,
    /// The device below `/sys`.
    pub path: String,
    /// Which kind of device it is, `block`.
    pub subsystem: String,
    /// The name below `/dev`, `nvme1n1`; not all devices have one.
    pub name: Option<String>,
}

impl Uevent {
    /// Reads a message: `ACTION@PATH`, and pairs `KEY=VALUE`, each ended by a zero byte. Nothing when it is none.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut words = message.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let (action, path) = words.next()?.split_once('@').map(|(action, path)| (action.to_owned(), path.to_owned()))?;
        let (mut subsystem, mut name) = (None, None);
        for word in words {
            match word.split_once('=') {
                Some(("SUBSYSTEM", value)) => subsystem = Some(value.to_owned()),
                Some(("DEVNAME", value)) => name = Some(value.trim_start_matches("/dev/").to_owned()),
                _ => {}
            }
        }
        Some(Self { action, path, subsystem: subsystem?, name })
    }

    /// Whether a disk has come, gone, or changed.
    pub fn is_of_disk(&self) -> bool {
        self.subsystem == "block"
    }
}

/// An ear for them. What happens from its making on is heard.
#[derive(Debug)]
pub struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Begins to listen. `Precondition` or `Unsupported` where the kernel does not let this process.
    pub fn listen() -> Result<Self> {
        let what = || "listen to the kernel's messages of devices".to_owned();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT));
        let socket = socket.attempt(what)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, KERNEL)).attempt(what)?;
        Ok(Self { socket })
    }

    /// Waits until something has happened to a disk, or `patience` is over; returns whether something has.
    pub fn wait(&self, patience: Duration) -> Result<bool> {
        let what = || "wait for the kernel's messages of devices".to_owned();
        let end = std::time::Instant::now() + patience;
        loop {
            while let Some(heard) = self.next().attempt(what)? {
                if heard {
                    return Ok(true);
                }
            }
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).attempt(what),
            }
        }
    }

    /// Whether the next message is one of a disk; nothing when there is none.
    fn next(&self) -> rustix::io::Result<Option<bool>> {
        let mut buffer = [0; LONGEST];
        match rustix::net::recvfrom(&self.socket, &mut buffer, RecvFlags::TRUNC) {
            Ok((read, whole, sender)) => {
                // Any process of root may write to the group; only the kernel has no address.
                let from_kernel =
                    sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok()).is_some_and(|at| at.pid() == 0);
                let message = buffer.get(..read.min(whole)).unwrap_or_default();
                Ok(Some(from_kernel && Uevent::parse(message).is_some_and(|event| event.is_of_disk())))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::INTR) => Ok(Some(false)),
            // Messages were lost: anything may have happened.
            Err(Errno::NOBUFS) => Ok(Some(true)),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDED: &[u8] = b"add@/devices/pci0000:00/0000:00:1f.0/nvme/nvme1/nvme1n1\0ACTION=add\0\
        DEVPATH=/devices/pci0000:00/0000:00:1f.0/nvme/nvme1/nvme1n1\0SUBSYSTEM=block\0MAJOR=259\0MINOR=3\0DEVNAME=nvme1n1\0\
        DEVTYPE=disk\0DISKSEQ=9\0SEQNUM=1201\0";

    #[test]
    fn the_message_of_a_new_disk_is_read() {
        let event = Uevent::parse(ADDED).unwrap();
        assert_eq!((event.action.as_str(), event.name.as_deref()), ("add", Some("nvme1n1")));
        assert!(event.is_of_disk() && event.path.ends_with("/nvme1/nvme1n1"));
        let other = Uevent::parse(b"add@/module/nvme\0ACTION=add\0SUBSYSTEM=module\0").unwrap();
        assert!(!other.is_of_disk() && other.name.is_none());
        // udev's own messages, and what is no message.
        for bad in [&b"libudev\0\xfe\xed\xca\xfe"[..], b"", b"\0\0\0", b"add/x\0SUBSYSTEM=block\0", b"add@/x\0ACTION=add\0"] {
            assert_eq!(Uevent::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn silence_is_waited_for_and_ends() {
        // Where the kernel does not let this process listen there is nothing to try.
        if let Ok(events) = Uevents::listen() {
            events.wait(Duration::from_millis(20)).unwrap();
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Uevent::parse(&bytes);
        }

        #[test]
        fn a_message_that_was_changed_is_read_or_not(at in 0..ADDED.len(), to in any::<u8>(), cut in 0..ADDED.len()) {
            let mut bytes = ADDED.to_vec();
            bytes[at] = to;
            bytes.truncate(cut);
            if let Some(event) = Uevent::parse(&bytes) {
                prop_assert!(!event.action.contains('@'));
            }
        }
    }
}
