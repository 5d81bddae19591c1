//! A running `hawser serve`.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use hawser_proto::csi;
use hawser_proto::csi::identity_client::IdentityClient;
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Endpoint;

use crate::binary::hawser;
use crate::poll::{until, until_async};

/// How much of a log is shown when a case fails, in lines.
const TAIL: usize = 40;

/// One process. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
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
    pub fn spawn(mut command: Command, socket: &Path, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, socket: socket.to_owned(), log: log.to_owned() }
    }

    /// Waits until it answers on its socket; panics with the log when the process ends instead.
    pub async fn wait_until_it_answers(&mut self) {
        let socket = self.socket.clone();
        until_async("an answer on the socket", async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("hawser ended ({status}) instead of serving:\n{}", self.tail());
            }
            let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap();
            IdentityClient::new(endpoint.connect().await.ok()?).probe(csi::ProbeRequest {}).await.ok()
        })
        .await;
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Everything it said, since it was first started.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The end of what it said.
    pub fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        until("the end of the process", || self.child.try_wait().unwrap())
    }

    /// Stops it as an orchestrator does, and returns how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Stops it as a power failure does, as far as a process can tell.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let status = self.wait();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it had ended before it was killed: {status}\n{}", self.tail());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
