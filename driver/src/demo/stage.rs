//! What the demo plays on: a temporary directory, and two plugins that serve in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hawser_host::{Host, Linux, durable};
use hawser_pool::LocalConfig;
use hawser_volume::{Deadline, Error, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::config::{BackendConfig, Config};
use crate::plugin::{Mode, Plugin};
use crate::serve::serve;
use crate::socket::Socket;
use crate::telemetry::Telemetry;

/// The nodes that are played.
pub(super) const NODES: [&str; 2] = ["node-a", "node-b"];

/// A node: its plugin, and the way to it.
#[derive(Debug)]
struct Served {
    name: &'static str,
    channel: Channel,
    task: JoinHandle<Result<()>>,
}

/// The running plugins and their directory.
#[derive(Debug)]
pub(super) struct Stage {
    root: PathBuf,
    nodes: Vec<Served>,
    stop: CancellationToken,
}

impl Stage {
    /// Makes the directory and starts the plugins.
    pub(super) async fn set() -> Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("hawser-demo-")
            .tempdir()
            .map_err(|error| Error::unavailable("make a temporary directory").caused_by(error))?
            .keep();
        let root =
            std::fs::canonicalize(&root).map_err(|error| Error::internal("resolve the temporary directory").caused_by(error))?;
        let mut stage = Self { root, nodes: Vec::new(), stop: CancellationToken::new() };
        for name in NODES {
            if let Err(error) = stage.start(name).await {
                stage.strike().await?;
                return Err(error);
            }
        }
        Ok(stage)
    }

    async fn start(&mut self, name: &'static str) -> Result<()> {
        // The demo's volumes stay nearly empty; promising more than a small disk has does no harm here.
        let local = LocalConfig { root: self.root.join("pool"), overcommit: 1000.0, ..LocalConfig::default() };
        let mut config = Config::default();
        for backend in config.backends.values_mut() {
            *backend = BackendConfig::Local(local.clone());
        }
        let path = self.root.join(format!("{name}.sock"));
        let socket = Socket::open(&path, None)?;
        let host: Arc<dyn Host> = Arc::new(Linux);
        let id = name.parse()?;
        let plugin =
            tokio::task::spawn_blocking(move || Plugin::build(&config, Mode::All, Some(id), &host, &Telemetry::default()))
                .await
                .map_err(|error| Error::internal("start a plugin").caused_by(error))??;
        let task = tokio::spawn(serve(plugin, socket, self.stop.clone().cancelled_owned()));
        let channel = Endpoint::try_from(format!("unix://{}", path.display()))
            .map_err(|error| Error::internal("name the socket").caused_by(error))?
            .connect()
            .await
            .map_err(|error| Error::unavailable("connect to the plugin").caused_by(error))?;
        self.nodes.push(Served { name, channel, task });
        Ok(())
    }

    /// The way to a node's plugin.
    pub(super) fn channel(&self, node: &str) -> Result<Channel> {
        let served = self.nodes.iter().find(|served| served.name == node);
        served.map(|served| served.channel.clone()).ok_or_else(|| Error::internal(format!("{node} plays no part")))
    }

    /// A path for a node's mounts.
    pub(super) fn path(&self, node: &str, what: &str, volume: &str) -> PathBuf {
        self.root.join(node).join(what).join(volume.replace(':', "-"))
    }

    /// Fails if anything of the play is still there.
    pub(super) fn prove_empty(&self) -> Result<()> {
        let volumes = self.root.join("pool").join("volumes");
        let left = std::fs::read_dir(&volumes).map(Iterator::count).unwrap_or_default();
        let mounts = Linux.mounts()?.below(&self.root).len();
        if left + mounts == 0 { Ok(()) } else { Err(Error::internal(format!("{left} volumes and {mounts} mounts are left"))) }
    }

    /// Stops the plugins and removes everything, whatever state the play was left in.
    pub(super) async fn strike(mut self) -> Result<()> {
        self.stop.cancel();
        for served in self.nodes.drain(..) {
            drop(served.channel);
            served.task.await.map_err(|error| Error::internal("stop a plugin").caused_by(error))??;
        }
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || remove(&root)).await.map_err(|error| Error::internal("clean up").caused_by(error))?
    }
}

/// Unmounts, frees and removes everything below `root`.
fn remove(root: &Path) -> Result<()> {
    let host = Linux;
    while let Some(path) = host.mounts()?.below(root).last().map(|entry| entry.mount_point.clone()) {
        host.unmount(&path)?;
    }
    let volumes = root.join("pool").join("volumes");
    for entry in std::fs::read_dir(&volumes).into_iter().flatten().flatten() {
        let image = entry.path().join("image");
        for device in host.loops_of(&image).unwrap_or_default() {
            host.detach_loop(&device, &image, Deadline::after(Duration::from_secs(10)))?;
        }
    }
    durable::remove_tree(root)
}
