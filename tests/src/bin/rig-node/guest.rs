//! The node as the host reaches it: its address in the rig's network, and its kernel, which is a process here.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long a node that has power may be out of reach.
const REACHED_WITHIN: Duration = Duration::from_secs(20);

/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// A node that had power when this was made.
pub struct Guest {
    address: SocketAddr,
    off: watch::Receiver<bool>,
}

impl Guest {
    /// The node whose kernel is the process `kernel`; moves this thread into its network.
    pub fn new(kernel: &str, address: &str) -> io::Result<Self> {
        let id = kernel.parse().ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("not a process id"))?;
        let off = |error: io::Error| io::Error::new(error.kind(), format!("the node is off: {error}"));
        let network = File::open(format!("/proc/{kernel}/ns/net")).map_err(off)?;
        let kernel = pidfd_open(id, PidfdFlags::empty()).map_err(|error| off(error.into()))?;
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        let (tell, off) = watch::channel(false);
        std::thread::spawn(move || {
            wait(&kernel);
            let _ = tell.send(true);
        });
        Ok(Self { address: address.parse().map_err(io::Error::other)?, off })
    }

    /// A connection to its agent.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let began = Instant::now();
        let connection = loop {
            match TcpStream::connect(self.address).await {
                // Somebody asked for the address while the node was off, and the bridge remembers for a moment that nobody has it.
                Err(error) if error.kind() == io::ErrorKind::HostUnreachable && began.elapsed() < REACHED_WITHIN => {
                    tokio::time::sleep(PAUSE).await;
                }
                other => break other?,
            }
        };
        connection.set_nodelay(true)?;
        Ok(connection)
    }

    /// Ends when it has no power any more, which no packet would tell.
    pub async fn off(&self) -> io::Error {
        let _ = self.off.clone().wait_for(|off| *off).await;
        io::Error::other("the node is off")
    }
}

/// Waits until a process has ended; it is readable then (pidfd_open(2)).
fn wait(process: &OwnedFd) {
    while !matches!(poll(&mut [PollFd::new(process, PollFlags::IN)], None), Ok(1)) {}
}
