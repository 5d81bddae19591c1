//! `hawser bridge`: the Mesos side, one process an agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hawser_bridge::config::BridgeConfig;
use hawser_bridge::door::isolator::Isolator;
use hawser_bridge::door::operator::Desk;
use hawser_bridge::door::{docker, operator};
use hawser_bridge::fence::{Audit, Fence, FenceParts, Limit, Taker, watch};
use hawser_bridge::lifecycle::{Reach, Settings, Tenants};
use hawser_bridge::mesos::master::Patience;
use hawser_bridge::mesos::{Http, Master};
use hawser_bridge::provider::{Provider, ProviderParts};
use hawser_bridge::{Driver, Ledger, Lifecycle, driver};
use hawser_host::{Host, Linux, elsewhere, machine};
use hawser_proto::csi::identity_server::IdentityServer;
use hawser_proto::csi::node_server::NodeServer;
use hawser_proto::hawser::status_server::StatusServer;
use hawser_volume::{Deadline, Error, NodeId, Result};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::page::Page;
use crate::plugin::{Mode, Plugin};
use crate::serve;
use crate::socket::{self, Socket};
use crate::status::{self, Board, Facts};
use crate::telemetry::metrics::bridge::Noted;
use crate::telemetry::spans::Doors;
use crate::telemetry::{Readiness, Telemetry, metrics};

/// How long the driver may take to answer for the first time.
const DRIVER: Duration = Duration::from_secs(120);

/// How long the work of one call may take, whether or not its caller still waits.
const WORK: Duration = Duration::from_secs(900);

/// How long work may go on after the bridge was told to stop.
const GRACE: Duration = Duration::from_secs(60);

/// What the process is, to those who ask.
const ROLE: &str = "bridge";

/// Where below `bridge.mounts` the disks of the resource provider are shown.
const DISKS: &str = "disks";

/// Runs the bridge until `stop` is ready. Mounts stay as they are: a task does not notice that its bridge is restarted.
pub async fn run(
    config: &Config,
    node_id: Option<NodeId>,
    telemetry: &Telemetry,
    page: &Page,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let bridge = &config.bridge;
    for (key, warning) in bridge.warnings() {
        tracing::warn!("bridge.{key}: {warning}");
    }
    let ledger = Ledger::open(&bridge.state)?;
    let own = match &bridge.driver {
        Some(_) => None,
        None => Some(Own::start(config, node_id, telemetry, page).await?),
    };
    let driver = connect(bridge, own.as_ref().map(|own| own.socket.as_path())).await?;
    tracing::info!(driver = driver.name, version = driver.version, node = driver.node_id, can = ?driver.can, "connected to the driver");
    let http = bridge.http()?;
    let audit = Arc::new(Audit::new(bridge.state.join("takeovers.jsonl")));
    let fence = fence(bridge, &http, &driver, &ledger, &audit).await?;
    let board = match &own {
        Some(own) => own.board.clone(),
        None => {
            let node_id = driver.node_id.parse().ok();
            Board::new(Facts { driver_name: driver.name.clone(), role: ROLE, node_id }, None)
        }
    };
    let settings = Settings {
        takeover: bridge.takeover,
        mounts: bridge.mounts.clone(),
        root_path: bridge.root_path.clone(),
        work: WORK,
        patience: bridge.wait_for_holder.0,
        grace: bridge.grace.0,
        boot: machine::boot_id()?,
        agent: Some(bridge.agent(&http)?),
        booted_at: machine::booted_at,
    };
    let agent_of_provider = settings.agent.clone();
    let lifecycle = Lifecycle::new(driver, ledger.clone(), fence.clone(), Arc::new(Containers), settings);
    let noted = Noted::default();
    noted.fence(fence.clone());
    telemetry.metrics.collect(noted.clone());
    metrics::queue::follow(&telemetry.metrics, "bridge", lifecycle.queue());
    reconcile(&lifecycle, &noted).await;
    page.show_board(board.clone());
    board.join(lifecycle.queue().clone(), audit);

    let stopping = CancellationToken::new();
    let mut doors = open_doors(bridge, &lifecycle, &stopping)?;
    doors.push(serve_status(bridge, board, &stopping)?);
    let mut desk = Desk { operator: None, ledger: ledger.clone() };
    if let (Some(config), Some(agent)) = (bridge.provider.clone(), agent_of_provider) {
        let parts = ProviderParts {
            agent,
            master: bridge.mesos_master.clone().map(|masters| Master::new(http.clone(), masters, Patience::default())),
            lifecycle: lifecycle.clone(),
            ledger,
            config,
            root: bridge.mounts.join(DISKS),
            look_every: bridge.reconcile_every.0,
        };
        let (run, words) = Provider::start(parts, stopping.clone().cancelled_owned());
        doors.push(tokio::spawn(run));
        desk.operator = Some(words);
    }
    doors.push(serve_operator(bridge, desk, &stopping)?);
    let regularly = tokio::spawn({
        let (lifecycle, every) = (lifecycle.clone(), bridge.reconcile_every.0);
        async move {
            loop {
                tokio::time::sleep(every).await;
                reconcile(&lifecycle, &noted).await;
            }
        }
    });
    let watched = tokio::spawn(async move {
        if let Some(fence) = fence {
            fence.keep_watch(watch::EVERY).await;
        }
    });
    telemetry.readiness.ready();
    stop.await;
    telemetry.readiness.stopping();
    regularly.abort();
    watched.abort();
    stopping.cancel();
    for door in doors {
        // A connection on which nobody says anything must not keep the bridge.
        let _ = tokio::time::timeout(GRACE, door).await;
    }
    if tokio::time::timeout(GRACE, lifecycle.drain()).await.is_err() {
        tracing::warn!(
            "work is still under way {} s after the signal; it is left behind and taken up at the next start",
            GRACE.as_secs()
        );
    }
    match own {
        Some(own) => own.stop().await,
        None => Ok(()),
    }
}

async fn connect(bridge: &BridgeConfig, own: Option<&Path>) -> Result<Driver> {
    let own = own.map(|path| path.display().to_string());
    let node = own.as_deref().or(bridge.driver.as_deref()).unwrap_or_default();
    let node_channel = driver::channel(node).map_err(|error| error.while_doing("bridge.driver"))?;
    let controller = match &bridge.controller {
        Some(endpoint) => driver::channel(endpoint).map_err(|error| error.while_doing("bridge.controller"))?,
        None => node_channel.clone(),
    };
    Driver::connect(controller, node_channel, Deadline::after(DRIVER))
        .await
        .map_err(|error| error.while_doing(format_args!("connect to the CSI driver at {node}")))
}

/// The judge of whether a volume may be taken from another node; nothing without a master that could be asked.
async fn fence(
    bridge: &BridgeConfig,
    http: &Http,
    driver: &Driver,
    ledger: &Ledger,
    audit: &Arc<Audit>,
) -> Result<Option<Arc<Fence>>> {
    let Some(masters) = bridge.mesos_master.clone() else { return Ok(None) };
    let node = driver.node_id.parse().map_err(|error: Error| error.while_doing("the id of this node"))?;
    let reach = Arc::new(Reach { driver: driver.clone(), ledger: ledger.clone() });
    let parts = FenceParts {
        taker: Taker { node, agent: None },
        master: Master::new(http.clone(), masters, Patience::default()),
        http: http.clone(),
        backend: reach.clone(),
        holders: reach.clone(),
        detach: reach,
        store: Arc::new(ledger.clone()),
        limit: Limit::default(),
        audit: Arc::clone(audit),
    };
    Fence::new(parts).await.map(Some)
}

async fn reconcile(lifecycle: &Lifecycle, noted: &Noted) {
    let compared = lifecycle.reconcile().await;
    noted.compared(compared.as_ref().ok());
    match lifecycle.census().await {
        Ok(census) => noted.census(census),
        Err(error) => tracing::warn!(error = error.chain(), "could not count what the ledger has"),
    }
    match compared {
        Ok(report) => {
            if !report.foreign.is_empty() {
                tracing::info!(volumes = report.foreign.join(", "), "attached to this node by somebody else; left alone");
            }
        }
        Err(error) => tracing::warn!(error = error.chain(), "could not compare what is held with what the driver says"),
    }
}

fn open_doors(
    bridge: &BridgeConfig,
    lifecycle: &Lifecycle,
    stopping: &CancellationToken,
) -> Result<Vec<tokio::task::JoinHandle<()>>> {
    let mut doors = Vec::new();
    let (mut socket, plugin) = (open(&bridge.docker_socket)?, lifecycle.clone());
    let listener = socket.listener.take().ok_or_else(|| Error::internal("the socket is served already"))?;
    let stop = stopping.clone().cancelled_owned();
    doors.push(tokio::spawn(async move {
        let _socket = socket;
        docker::serve(plugin, listener, stop).await;
    }));
    if let Some(path) = &bridge.isolator_socket {
        let (mut socket, isolator) = (open(path)?, Isolator::new(lifecycle.clone()));
        let listener = socket.listener.take().ok_or_else(|| Error::internal("the socket is served already"))?;
        let stop = stopping.clone().cancelled_owned();
        doors.push(tokio::spawn(async move {
            let _socket = socket;
            let server = tonic::transport::Server::builder()
                .layer(Doors)
                .add_service(IdentityServer::new(isolator.clone()))
                .add_service(NodeServer::new(isolator))
                .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop);
            if let Err(error) = server.await {
                tracing::error!(%error, "the endpoint for Mesos' isolator ended");
            }
        }));
    }
    Ok(doors)
}

/// The door of operators.
fn serve_operator(bridge: &BridgeConfig, desk: Desk, stopping: &CancellationToken) -> Result<tokio::task::JoinHandle<()>> {
    let mut socket = open(&operator::socket(&bridge.state))?;
    let listener = socket.listener.take().ok_or_else(|| Error::internal("the socket is served already"))?;
    let stop = stopping.clone().cancelled_owned();
    Ok(tokio::spawn(async move {
        let _socket = socket;
        operator::serve(desk, listener, stop).await;
    }))
}

/// Where whoever asks what the bridge does finds it, whichever driver it stands in front of.
fn serve_status(bridge: &BridgeConfig, board: Board, stopping: &CancellationToken) -> Result<tokio::task::JoinHandle<()>> {
    let mut socket = open(&bridge.state.join(status::SOCKET))?;
    let listener = socket.listener.take().ok_or_else(|| Error::internal("the socket is served already"))?;
    let stop = stopping.clone().cancelled_owned();
    Ok(tokio::spawn(async move {
        let _socket = socket;
        let server = tonic::transport::Server::builder()
            .add_service(StatusServer::new(board))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop);
        if let Err(error) = server.await {
            tracing::error!(%error, "the endpoint for the bridge's status ended");
        }
    }))
}

/// The containers of this machine, by their mounts.
#[derive(Debug)]
struct Containers;

impl Tenants for Containers {
    fn elsewhere(&self, volumes: &[Vec<PathBuf>]) -> Result<Vec<Option<String>>> {
        let found = elsewhere::elsewhere(volumes)?;
        Ok(found.into_iter().map(|sight| sight.map(|sight| sight.to_string())).collect())
    }
}

fn open(path: &Path) -> Result<Socket> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .map_err(|error| Error::unavailable(format!("make the directory {}", parent.display())).caused_by(error))?;
    }
    Socket::open(path, None)
}

/// Hawser's own driver, served by this process on a socket of its own.
struct Own {
    socket: PathBuf,
    board: Board,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<Result<()>>,
}

impl Own {
    async fn start(config: &Config, node_id: Option<NodeId>, telemetry: &Telemetry, page: &Page) -> Result<Self> {
        let host: Arc<dyn Host> = Arc::new(Linux);
        let path = match &config.driver.endpoint {
            Some(endpoint) => socket::endpoint(endpoint)?,
            None => config.bridge.state.join("csi.sock"),
        };
        // The bridge is ready when its doors are open, not when its driver is.
        let telemetry = Telemetry { readiness: Readiness::default(), ..telemetry.clone() };
        let mut plugin = Plugin::build(config, Mode::All, node_id, &host, &telemetry)?;
        plugin.board = plugin.board.in_role(ROLE);
        page.show(&plugin);
        let board = plugin.board.clone();
        let socket = Socket::open(&path, config.driver.socket_group.as_deref())?;
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve::serve(plugin, socket, stop.clone().cancelled_owned()));
        Ok(Self { socket: path, board, stop, served })
    }

    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        match self.served.await {
            Ok(served) => served,
            Err(error) => Err(Error::internal("the driver's server panicked; see the log").caused_by(error)),
        }
    }
}
