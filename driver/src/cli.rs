//! The command line: what was typed, and what it does.

use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use hawser_host::{Host, Linux};
use hawser_volume::{Error, HttpEndpoint, NodeId, Result};
use serde::Serialize;

use crate::bridge;
use crate::client::{self, SnapshotCommand, VolumeCommand};
use crate::config::Config;
use crate::demo;
use crate::doctor;
use crate::http;
use crate::mesos::{self, MesosCommand};
use crate::page::Page;
use crate::plugin::{Mode, Plugin};
use crate::serve::{self, stop_signal};
use crate::socket::{self, Socket};
use crate::telemetry::spans::Exporter;
use crate::telemetry::{self, LogFormat, Telemetry};

/// Exit code for a command line or configuration that must be mended first (EX_USAGE of sysexits.h).
const USAGE: u8 = 64;

/// External storage for tasks, over CSI.
#[derive(Debug, Parser)]
#[command(name = "hawser", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the CSI driver on a unix socket until SIGTERM or SIGINT.
    Serve(Serve),
    /// Run the Mesos side, one process an agent: the volumes that tasks declare are made, attached, mounted and brought back.
    Bridge(Bridge),
    /// What Mesos' docker/volume isolator runs; also when the program is called `dvdcli`.
    Dvdcli(hawser_bridge::door::dvdcli::Options),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show the main job in a minute: a volume is made, used, moved to a second node, grown, snapshotted and cloned, on a
    /// temporary directory of this machine. Needs root; leaves nothing behind.
    Demo,
    /// Measure a CSI driver, this one or any other: latency by RPC, throughput, errors by code. Makes and removes volumes of its
    /// own; do not point it at a driver whose capacity others need at the moment.
    Bench(Box<hawser_bench::Options>),
    /// The Mesos side: what tasks declare, and what agents read.
    #[command(subcommand)]
    Mesos(MesosCommand),
    /// Work with volumes by hand, through the socket of any CSI driver (docs/cli.md).
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Work with snapshots by hand.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Show this node: its id, its place, how many volumes it can have, and which it has.
    Node(client::NodeOptions),
    /// Say where a volume is, who has it, and what to do next. Changes nothing. Exits with 0 when nothing is wrong, with 2 otherwise.
    Why(client::WhyOptions),
    /// Find out what keeps this machine from doing its work: the machine itself (kernel, programs, rights, mounts, clock, sockets), each
    /// storage system step by step, Mesos' agent and master, and what volumes that are gone have left. Each finding comes with what to do
    /// about it. Changes nothing. Exits with 0 when nothing is wrong, with 2 otherwise.
    Doctor(doctor::Options),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
struct Bridge {
    /// The configuration file; its section `bridge` says how.
    #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The id of this node for Hawser's own driver. Beats `driver.node-id` of the configuration; the host name without either.
    #[arg(long, env = "HAWSER_NODE_ID", value_name = "ID")]
    node_id: Option<String>,
    #[command(flatten)]
    http: HttpArgument,
    #[command(flatten)]
    log: Log,
}

#[derive(Debug, clap::Args)]
struct HttpArgument {
    /// Where to serve the status page, metrics and health over HTTP: 127.0.0.1:9810, [::]:9810, or :9810 for every address. Beats `http-endpoint` of the
    /// configuration; nowhere without either.
    #[arg(long, env = "HAWSER_HTTP_ENDPOINT", value_name = "ADDRESS")]
    http_endpoint: Option<HttpEndpoint>,
}

#[derive(Debug, clap::Args)]
struct Log {
    /// How log lines are written.
    #[arg(long, env = "HAWSER_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// Which log lines are written: error, warn, info, debug, trace, or a filter such as hawser_node=debug.
    #[arg(long, env = "HAWSER_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Which services to serve beside Identity.
    #[arg(value_enum, default_value_t)]
    mode: Mode,
    /// The configuration file. Without one there is one backend, `local`, in /var/lib/hawser/local.
    #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen: unix:///path/csi.sock or a path. Beats `driver.endpoint` of the configuration.
    #[arg(long, env = "CSI_ENDPOINT", value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// The id of this node, as the CO will know it. Beats `driver.node-id` of the configuration; the host name without either.
    #[arg(long, env = "HAWSER_NODE_ID", value_name = "ID")]
    node_id: Option<String>,
    #[command(flatten)]
    http: HttpArgument,
    #[command(flatten)]
    log: Log,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a file: every mistake with its line. What is allowed and has not the effect that it seems to have is a warning on standard
    /// error, and no mistake.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Print the configuration in force, defaults included, as a file.
    Show {
        /// The file; without one, what applies when there is none.
        #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Runs the command that was typed.
pub fn run() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    // As Mesos' isolator and mesos-module-dvdi call it, through a link of that name.
    if arguments.first().is_some_and(|program| Path::new(program).file_name() == Some("dvdcli".as_ref())) {
        arguments.insert(1, "dvdcli".into());
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Help and version are asked for, and no mistake.
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let done = match cli.command {
        Command::Serve(serve) => run_serve(serve),
        Command::Bridge(bridge) => run_bridge(bridge),
        Command::Dvdcli(options) => run_dvdcli(options),
        Command::Config(ConfigCommand::Check { file }) => Config::check(&file).and_then(|warnings| {
            let lines: String = warnings.iter().map(|warning| format!("{warning}\n")).collect();
            let _ = std::io::stderr().lock().write_all(lines.as_bytes());
            print(&format!("{}: in order\n", file.display()))
        }),
        Command::Config(ConfigCommand::Show { config }) => {
            Config::load(config.as_deref()).and_then(|config| print(&config.to_yaml()?))
        }
        Command::Demo => runtime().and_then(|runtime| runtime.block_on(demo::run())),
        Command::Bench(options) => runtime().and_then(|runtime| runtime.block_on(run_bench(*options))),
        Command::Mesos(command) => match mesos::run(&command) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Doctor(options) => match runtime().and_then(|runtime| runtime.block_on(doctor::run(&options))) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Volume(command) => return by_hand(client::volume(command)),
        Command::Snapshot(command) => return by_hand(client::snapshot(command)),
        Command::Node(options) => return by_hand(client::node(&options)),
        Command::Why(options) => return by_hand(client::why(&options)),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hawser", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "hawser: {}", error.chain());
            ExitCode::from(if error.kind() == hawser_volume::Kind::Invalid { USAGE } else { 1 })
        }
    }
}

/// What a person does with volumes: its failures have exit codes that scripts can tell apart.
fn by_hand(work: impl Future<Output = Result<ExitCode>>) -> ExitCode {
    match runtime().and_then(|runtime| runtime.block_on(work)) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "hawser: {}", error.chain());
            ExitCode::from(client::exit_code(error.kind()))
        }
    }
}

/// Writes to standard output; a reader that has gone away is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| Error::internal("write to standard output").caused_by(error)),
    }
}

/// Writes a value as JSON to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::internal("write JSON").caused_by(error))?;
    print(&format!("{text}\n"))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().min(4)))
        .build()
        .map_err(|error| Error::internal("start the async runtime").caused_by(error))
}

async fn run_bench(options: hawser_bench::Options) -> Result<()> {
    let token = tokio_util::sync::CancellationToken::new();
    let stop = stop_signal().await?;
    let cancel = token.clone();
    tokio::spawn(async move {
        stop.await;
        cancel.cancel();
    });
    hawser_bench::run(options, token).await
}

/// Begins with logs, and with traces if the environment asks for them; what is returned sends the last of them when it is dropped.
fn begin_telling(runtime: &tokio::runtime::Runtime, log: &Log) -> Result<Option<Exporter>> {
    let _entered = runtime.enter();
    let exporter = Exporter::from_env(|name| std::env::var(name).ok())?;
    telemetry::init(log.log_format, &log.log, exporter.as_ref())?;
    Ok(exporter)
}

fn run_bridge(arguments: Bridge) -> Result<()> {
    let runtime = runtime()?;
    let _exporter = begin_telling(&runtime, &arguments.log)?;
    let config = Config::load(arguments.config.as_deref())?;
    let node_id: Option<NodeId> = arguments.node_id.map(|id| id.parse()).transpose()?;
    runtime.block_on(async {
        let stop = stop_signal().await?;
        let endpoint = arguments.http.http_endpoint.or(config.bridge.http_endpoint);
        let telemetry = Telemetry::of_process(endpoint.is_some());
        let page = Page::new(&telemetry);
        let work = bridge::run(&config, node_id, &telemetry, &page, stop);
        http::beside(endpoint, &telemetry, page.router(), work).await
    })
}

fn run_dvdcli(options: hawser_bridge::door::dvdcli::Options) -> Result<()> {
    let said = runtime()?.block_on(hawser_bridge::door::dvdcli::run(options))?;
    if said.is_empty() { Ok(()) } else { print(&format!("{said}\n")) }
}

fn run_serve(arguments: Serve) -> Result<()> {
    let runtime = runtime()?;
    let _exporter = begin_telling(&runtime, &arguments.log)?;
    let config = Config::load(arguments.config.as_deref())?;
    let endpoint = arguments.endpoint.as_ref().or(config.driver.endpoint.as_ref()).ok_or_else(|| {
        Error::invalid(
            "no endpoint: give --endpoint unix:///path/csi.sock, set CSI_ENDPOINT, or set driver.endpoint in the configuration",
        )
    })?;
    let path = socket::endpoint(endpoint)?;
    let node_id: Option<NodeId> = arguments.node_id.map(|id| id.parse()).transpose()?;
    let host: Arc<dyn Host> = Arc::new(Linux);
    runtime.block_on(async {
        // A signal must find its handler as soon as anybody can know of this process.
        let stop = stop_signal().await?;
        let http_endpoint = arguments.http.http_endpoint.or(config.driver.http_endpoint);
        let telemetry = Telemetry::of_process(http_endpoint.is_some());
        let page = Page::new(&telemetry);
        // Before anything that may take long, so that whoever looks can see that the process lives.
        let work = async {
            let plugin = Plugin::build(&config, arguments.mode, node_id, &host, &telemetry)?;
            page.show(&plugin);
            let socket = Socket::open(&path, config.driver.socket_group.as_deref())?;
            tracing::info!(
                socket = %path.display(),
                mode = ?arguments.mode,
                plugin = %config.driver.name,
                backends = plugin.identity.manifest.get("backends").map(String::as_str).unwrap_or_default(),
                version = env!("CARGO_PKG_VERSION"),
                "serving"
            );
            serve::serve(plugin, socket, stop).await
        };
        http::beside(http_endpoint, &telemetry, page.router(), work).await
    })
}
