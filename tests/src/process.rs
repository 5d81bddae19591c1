//! A running `hawser serve`.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use hawser_proto::csi;
use hawser_proto::csi::identity_client::IdentityClient;
use tonic::transport::Endpoint;

use crate::binary::hawser;
use crate::daemon::Daemon;
use crate::poll::until_async;

/// One process. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    daemon: Daemon,
    socket: PathBuf,
}

impl Process {
    /// Starts `hawser serve all` with `config` for `node` on `socket`; what it says to standard error is added to `log`. Returns
    /// when the socket answers.
    pub async fn start(config: &Path, node: &str, socket: &Path, log: &Path, filter: &str) -> Self {
        Self::serve(Command::new(hawser()), config, node, socket, log, filter).await
    }

    /// The same with another program than [`hawser`], or with one that runs it, such as a tracer, and leaves it its process id.
    pub async fn serve(mut command: Command, config: &Path, node: &str, socket: &Path, log: &Path, filter: &str) -> Self {
        command.args(["serve", "all", "--node-id", node, "--log", filter, "--config"]).arg(config);
        command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
        let mut process = Self::spawn(command, socket, log);
        process.wait_until_it_answers().await;
        process
    }

    /// Starts `command`, which is to serve `socket`, and does not wait for it.
    pub fn spawn(command: Command, socket: &Path, log: &Path) -> Self {
        Self { daemon: Daemon::spawn(command, log), socket: socket.to_owned() }
    }

    /// Waits until it answers on its socket; panics with the log when the process ends instead.
    pub async fn wait_until_it_answers(&mut self) {
        let socket = self.socket.clone();
        until_async("an answer on the socket", async || {
            assert!(!self.has_ended(), "hawser ended instead of serving:\n{}", self.tail());
            let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap();
            IdentityClient::new(endpoint.connect().await.ok()?).probe(csi::ProbeRequest {}).await.ok()
        })
        .await;
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Deref for Process {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}
