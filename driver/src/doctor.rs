//! `hawser doctor`: whether this machine can do its work, found step by step.
//!
//! What there is to look at stands where the knowledge of it is: in `examine` of each crate. Here it is gathered, all at the same time, and
//! written. Nothing is changed, and nothing that hangs is waited for.

mod backends;
mod mesos;
mod node;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hawser_volume::checkup::{Check, Finding, Step, side_by_side};
use hawser_volume::{BackendName, Error, NodeId, Result};
use serde::Serialize;

use crate::cli::{print, print_json};
use crate::config::Config;
use crate::mesos::Output;
use crate::plugin::Mode;

/// Exit code when something is wrong: the examination itself was done.
const WRONG: u8 = 2;

/// How long one look at this machine may take.
const LOOK: Duration = Duration::from_secs(20);

/// How long one backend may take. The longest way is that of a storage system that answers each question late.
const BACKEND: Duration = Duration::from_secs(60);

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 when nothing is wrong (there may be doubts), 2 when something is, 64 when the configuration or the \
                        command line must be mended first, 1 when the examination failed. docs/doctor.md lists what is looked at."
)]
pub struct Options {
    /// What this machine serves.
    #[arg(value_enum, default_value_t)]
    mode: Mode,
    /// The configuration file. Without one there is one backend, `local`, in /var/lib/hawser/local.
    #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only this backend, and nothing else unless --only says so.
    #[arg(long, value_name = "NAME")]
    backend: Option<BackendName>,
    /// Only this part. May be given more than once. Default: all that this machine serves; mesos if the configuration has a section
    /// `bridge`.
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Where the driver listens. Beats `driver.endpoint` of the configuration.
    #[arg(long, env = "CSI_ENDPOINT", value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// The id of this node. Beats `driver.node-id` of the configuration.
    #[arg(long, env = "HAWSER_NODE_ID", value_name = "ID")]
    node_id: Option<String>,
    /// How the findings are written.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A part of the examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The machine: kernel, programs, rights, mounts, clock, sockets.
    Node,
    /// Each storage system, from this machine.
    Backends,
    /// The agent of this machine, its flags and files, and the master.
    Mesos,
    /// What volumes that are gone have left here.
    Leftovers,
}

/// What was found in one part.
#[derive(Debug, Serialize)]
struct Report {
    /// `node`, `backend`, `mesos` or `leftovers`.
    part: &'static str,
    /// Which backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<BackendName>,
    /// Its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    checks: Vec<Check>,
}

impl Report {
    fn new(part: &'static str, checks: Vec<Check>) -> Self {
        Self { part, backend: None, r#type: None, checks }
    }
}

/// What is examined, as it is configured.
struct Patient {
    config: Config,
    mode: Mode,
    node: Option<NodeId>,
    endpoint: Option<String>,
    /// The file, for commands that are named.
    file: Option<PathBuf>,
}

impl Patient {
    /// Whether the section `bridge` says anything.
    fn has_bridge(&self) -> bool {
        self.config.has_bridge()
    }
}

/// Examines, and says whether something is wrong.
pub async fn run(options: &Options) -> Result<ExitCode> {
    let config = Config::load(options.config.as_deref())?;
    if let Some(name) = options.backend.as_ref().filter(|name| !config.backends.contains_key(name)) {
        let known: Vec<&str> = config.backends.keys().map(BackendName::as_str).collect();
        return Err(Error::invalid(format!("--backend: there is no {name} in the configuration, but {}", known.join(", "))));
    }
    let node = options.node_id.as_ref().map(|id| id.parse()).transpose()?.or_else(|| config.driver.node_id.clone());
    let endpoint = options.endpoint.clone().or_else(|| config.driver.endpoint.clone());
    let patient = Patient { config, mode: options.mode, node, endpoint, file: options.config.clone() };
    let is_wanted = |part: Part| match (options.only.is_empty(), &options.backend) {
        (false, _) => options.only.contains(&part),
        (true, Some(_)) => part == Part::Backends,
        (true, None) => match part {
            Part::Backends => true,
            Part::Node | Part::Leftovers => patient.mode != Mode::Controller,
            Part::Mesos => patient.has_bridge(),
        },
    };
    let (of_node, of_backends, of_mesos, of_leftovers) = tokio::join!(
        when(is_wanted(Part::Node), async { Report::new("node", apart(node::steps(&patient), LOOK).await) }),
        when(is_wanted(Part::Backends), backends::all(&patient, options.backend.as_ref())),
        when(is_wanted(Part::Mesos), async { Report::new("mesos", mesos::examine(&patient).await) }),
        when(is_wanted(Part::Leftovers), async { Report::new("leftovers", apart(node::leftovers(&patient), LOOK).await) }),
    );
    let mut reports = Vec::new();
    reports.extend(of_node);
    reports.extend(of_backends.into_iter().flatten());
    reports.extend(of_mesos);
    reports.extend(of_leftovers);
    match options.output {
        Output::Text => print(&text(&reports))?,
        Output::Json => print_json(&reports)?,
    }
    let is_wrong = reports.iter().flat_map(|report| &report.checks).any(Check::is_wrong);
    Ok(if is_wrong { ExitCode::from(WRONG) } else { ExitCode::SUCCESS })
}

async fn when<T>(is_wanted: bool, work: impl Future<Output = T>) -> Option<T> {
    if is_wanted { Some(work.await) } else { None }
}

/// Does steps that block on threads of their own. The runtime's threads for such work would be waited for at the end, for ever if need be.
async fn apart(steps: Vec<Step>, patience: Duration) -> Vec<Check> {
    let (tell, found) = tokio::sync::oneshot::channel();
    let begun = std::thread::Builder::new().name("doctor".to_owned()).spawn(move || {
        let _ = tell.send(side_by_side(steps, patience));
    });
    let failed = |why: String| vec![Check::wrong("the examination", why, "see what fills this machine, and try again")];
    match begun {
        Ok(_) => found.await.unwrap_or_else(|_| failed("it failed".to_owned())),
        Err(error) => failed(format!("no thread for it: {error}")),
    }
}

fn text(reports: &[Report]) -> String {
    let mut text = String::new();
    let (mut wrong, mut doubtful) = (0, 0);
    for Report { part, backend, r#type, checks } in reports {
        match (backend, r#type) {
            (Some(name), Some(r#type)) => text += &format!("{part} {name} ({type})\n"),
            _ => text += &format!("{part}\n"),
        }
        for Check { step, finding } in checks {
            match finding {
                Finding::Well { found } => text += &format!("  ok     {step}: {found}\n"),
                Finding::Doubtful { why, mend } => {
                    doubtful += 1;
                    text += &format!("  doubt  {step}: {why}\n         {mend}\n");
                }
                Finding::Wrong { why, mend } => {
                    wrong += 1;
                    text += &format!("  WRONG  {step}: {why}\n         {mend}\n");
                }
            }
        }
    }
    text + &match (wrong, doubtful) {
        (0, 0) => "all is well\n".to_owned(),
        (0, doubtful) => format!("nothing is wrong; doubts: {doubtful}\n"),
        (wrong, doubtful) => format!("wrong: {wrong}, doubts: {doubtful}\n"),
    }
}
