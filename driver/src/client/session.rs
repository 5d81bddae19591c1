//! A connection to a driver, for the time of one command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_bridge::{Driver, driver};
use hawser_volume::{Deadline, Error, Result};
use tokio::net::UnixStream;

use crate::config::Config;
use crate::socket;

use super::output::Output;
use super::progress::Progress;

/// Where a driver listens if nobody says.
pub(super) const SOCKET: &str = "/run/hawser/csi.sock";

/// How long a driver may take to say what it knows.
const ASKING: Duration = Duration::from_secs(30);

/// What was typed about the driver.
#[derive(Debug, Clone, clap::Args)]
pub struct Connection {
    /// Where the driver listens, ours or anybody's: unix:///path/csi.sock or a path. Without it `driver.endpoint` of the configuration, or
    /// where a bridge of this configuration serves its driver, or /run/hawser/csi.sock.
    #[arg(long, env = "CSI_ENDPOINT", value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// Where its Controller service listens, if that is another process.
    #[arg(long, env = "HAWSER_CONTROLLER", value_name = "ENDPOINT")]
    controller: Option<String>,
    /// The configuration file, for the endpoint.
    #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to wait for all of it. What was begun goes on; the same command finds it finished.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    timeout: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 30s or 5m"))
}

/// What every command takes that only looks.
#[derive(Debug, Clone, clap::Args)]
pub struct ToRead {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

impl ToRead {
    /// Connects.
    pub(super) async fn open(&self) -> Result<Session> {
        self.connection.open(self.output).await
    }
}

/// What every command takes that changes something.
#[derive(Debug, Clone, clap::Args)]
pub struct ToChange {
    /// Print the calls that would be made, and make none.
    #[arg(long, alias = "dryRun")]
    pub(super) dry_run: bool,
    #[command(flatten)]
    read: ToRead,
}

impl ToChange {
    /// Connects.
    pub(super) async fn open(&self) -> Result<Session> {
        self.read.open().await
    }
}

/// A driver that answers.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) driver: Driver,
    pub(super) output: Output,
    pub(super) progress: Progress,
    pub(super) config: Config,
    /// Until when the command may take.
    pub(super) deadline: Deadline,
}

impl Connection {
    /// Connects. Nobody on the socket is an error at once: a person is told, and does not wait for somebody to come.
    pub(super) async fn open(&self, output: Output) -> Result<Session> {
        let config = Config::load(self.config.as_deref())?;
        let (node, controller) = self.endpoints(&config)?;
        for (path, option) in [(Some(&node), "--endpoint"), (controller.as_ref(), "--controller")] {
            if let Some(path) = path {
                reach(path, option).await?;
            }
        }
        let channel = |path: &Path| driver::channel(&path.display().to_string());
        let node = channel(&node)?;
        let controller = controller.as_deref().map(channel).transpose()?.unwrap_or_else(|| node.clone());
        let progress = Progress::new(output.is_table());
        let deadline = Deadline::after(self.timeout);
        let shown = progress.during("asking the driver what it can do");
        let driver = Driver::connect_any(controller, node, deadline.earlier(Deadline::after(ASKING))).await?;
        drop(shown);
        Ok(Session { driver, output, progress, config, deadline })
    }

    /// The sockets of the node's half and, where it is another one, of the controller's.
    fn endpoints(&self, config: &Config) -> Result<(PathBuf, Option<PathBuf>)> {
        let read = |text: &String| {
            let path = socket::endpoint(text)?;
            std::path::absolute(&path).map_err(|error| Error::invalid(format!("endpoint {text:?}")).caused_by(error))
        };
        let controller = self.controller.as_ref().map(read).transpose()?;
        if let Some(endpoint) = self.endpoint.as_ref().or(config.driver.endpoint.as_ref()) {
            return Ok((read(endpoint)?, controller));
        }
        if let Some(controller) = controller {
            return Ok((controller, None));
        }
        if let Some(endpoint) = &config.bridge.driver {
            return Ok((read(endpoint)?, config.bridge.controller.as_ref().map(read).transpose()?));
        }
        let of_bridge = config.bridge.state.join("csi.sock");
        let usual = PathBuf::from(SOCKET);
        Ok((if !usual.exists() && of_bridge.exists() { of_bridge } else { usual }, None))
    }
}

async fn reach(path: &Path, option: &str) -> Result<()> {
    let Err(error) = UnixStream::connect(path).await else { return Ok(()) };
    let words = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such socket; is the driver running (hawser serve, hawser bridge)? If it listens elsewhere, say where with"
        }
        std::io::ErrorKind::ConnectionRefused => {
            "nobody serves this socket any more; start the driver, or say where another one listens with"
        }
        std::io::ErrorKind::PermissionDenied => {
            "you may not use this socket; run the command as root, or say where another driver listens with"
        }
        _ => "the socket cannot be used; is it a driver's? Otherwise say where one listens with",
    };
    Err(Error::unavailable(format!("{}: {words} {option}", path.display())).caused_by(error))
}

impl Session {
    /// Until when a question may take.
    pub(super) fn asking(&self) -> Deadline {
        self.deadline.earlier(Deadline::after(ASKING))
    }

    /// `Unsupported`, with what the driver lacks, unless it `can`.
    pub(super) fn demand(&self, can: bool, what: &str, capability: &str) -> Result<()> {
        if can {
            return Ok(());
        }
        Err(Error::unsupported(format!("driver {} cannot {what} (it has no {capability})", self.driver.name)))
    }

    /// The node that a command without `--node` means. `Unsupported` where no Node service answers.
    pub(super) fn this_node(&self) -> Result<&str> {
        if self.driver.node_id.is_empty() {
            return Err(Error::unsupported(format!(
                "driver {} does not say which node this is (no Node service on this socket); name the node with --node, or the socket of \
                 the Node service with --endpoint",
                self.driver.name
            )));
        }
        Ok(&self.driver.node_id)
    }
}
