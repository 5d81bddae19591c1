//! `hawser mesos`: the bridge's view of what tasks declare, and of what agents read.

mod agent;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use hawser_bridge::Finding;
use hawser_bridge::door::operator;
use hawser_bridge::plan::Plan;
use hawser_bridge::provider::Unoffered;
use hawser_volume::{Bytes, Error, Result};

use crate::cli::{print, print_json};
use crate::config::Config;

/// Exit code for a file with mistakes: the command did its work, and the answer is no.
const MISTAKES: u8 = 2;

/// The largest file that is read. Marathon takes no request of that size.
const FILE_MAX: Bytes = Bytes::mib(16);

/// What can be asked about declarations and agents.
#[derive(Debug, Subcommand)]
pub enum MesosCommand {
    /// Show what a file declares: each volume, the CSI calls that it comes to, every mistake and every hazard with its place.
    /// Nothing is called. Exits with 0 without mistakes, with 2 otherwise.
    ///
    /// Read are Marathon apps and groups, Mesos' TaskInfo, TaskGroupInfo, ExecutorInfo, ContainerInfo and Volume, the calls of its
    /// v1 API that carry them, and Docker's requests for a volume. docs/declarations.md explains what they can say.
    Plan {
        /// The file, in JSON; `-` for standard input.
        file: PathBuf,
        /// How the plan is written.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Have a volume offered to frameworks by this machine's agent, with what is in it: one that another agent's resource provider made
    /// and that outlives that agent. Frameworks see it as a RAW disk with its id, and make a disk to be used of it with CREATE_DISK and
    /// a profile. Refused while an agent that is there offers it, or a node has it that may be alive.
    ///
    /// The bridge of this machine must run. May be given again whenever it is uncertain whether it was done.
    Adopt {
        /// The volume, by its id.
        volume: String,
        /// The configuration file of the bridge.
        #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// List the volumes that no agent offers: which one there is to adopt. Volumes that tasks use through Marathon, Docker or `volume/csi`
    /// are among them, as they are in no offer.
    ///
    /// The bridge of this machine must run.
    Unoffered {
        /// How the list is written.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
        /// The configuration file of the bridge.
        #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// What a Mesos agent reads: its flags, CSI plugins, storage providers and profiles.
    #[command(subcommand)]
    Config(agent::AgentCommand),
}

/// How a plan or a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people: the result on standard output, mistakes and warnings on standard error.
    #[default]
    Text,
    /// For programs: all in one object.
    Json,
}

/// Runs the command.
///
/// `Invalid` for a file that cannot be read.
pub fn run(command: &MesosCommand) -> Result<ExitCode> {
    match command {
        MesosCommand::Plan { file, output } => plan(file, *output),
        MesosCommand::Adopt { volume, config } => adopt(volume, config.as_deref()),
        MesosCommand::Unoffered { output, config } => unoffered(*output, config.as_deref()),
        MesosCommand::Config(command) => agent::run(command),
    }
}

/// Asks the bridge that is configured in this file.
fn ask<T>(config: Option<&Path>, question: impl AsyncFnOnce(&Path) -> Result<T>) -> Result<T> {
    let config = Config::load(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::unavailable("start the command").caused_by(error))?;
    let answer = runtime.block_on(question(&config.bridge.state));
    answer.map_err(|error| error.while_doing("ask the bridge of this machine, which must run and have `bridge.provider`"))
}

fn adopt(volume: &str, config: Option<&Path>) -> Result<ExitCode> {
    ask(config, async |state| operator::ask_to_adopt(state, volume).await)?;
    print(&format!("{volume} is offered by this machine's agent\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn unoffered(output: Output, config: Option<&Path>) -> Result<ExitCode> {
    let volumes = ask(config, async |state| operator::ask_for_unoffered(state).await)?;
    match output {
        Output::Text => {
            for Unoffered { volume, bytes, nodes } in volumes {
                let size = bytes.map_or_else(|| "of unknown size".to_owned(), |bytes| Bytes::new(bytes).to_string());
                let place = if nodes.is_empty() { "on no node".to_owned() } else { format!("on {}", nodes.join(", ")) };
                print(&format!("{volume}  {size}  {place}\n"))?;
            }
        }
        Output::Json => print_json(&volumes)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(file: &Path, output: Output) -> Result<ExitCode> {
    let (name, text) = read(file)?;
    let plan = Plan::of(&text);
    match output {
        Output::Text => {
            print(&plan.to_string())?;
            tell(&name, &plan);
        }
        Output::Json => {
            print_json(&plan)?;
        }
    }
    Ok(if plan.mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(MISTAKES) })
}

/// The text of the file, and how messages name it.
fn read(file: &Path) -> Result<(String, String)> {
    let stdin = file == Path::new("-");
    let name = if stdin { "standard input".to_owned() } else { file.display().to_string() };
    let wrong = |error: std::io::Error| Error::invalid(format!("read {name}")).caused_by(error);
    let mut bytes = Vec::new();
    let limit = FILE_MAX.get() + 1;
    if stdin {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(wrong)?;
    } else {
        File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(wrong)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length == limit) {
        return Err(Error::invalid(format!("{name} is larger than {FILE_MAX}, which no declaration is")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::invalid(format!("{name} is not UTF-8, as JSON must be")).caused_by(error.utf8_error()))?;
    Ok((name, text))
}

/// Findings as compilers write them, so that editors find the line.
fn tell(name: &str, plan: &Plan) {
    let mut lines = String::new();
    let warnings = plan.warnings.iter().map(|finding| ("warning", finding));
    let mut findings: Vec<_> = plan.mistakes.iter().map(|finding| ("mistake", finding)).chain(warnings).collect();
    findings.sort_by_key(|(_, finding)| finding.place.line);
    for (kind, Finding { place, text }) in findings {
        let line = place.line.map(|line| format!(":{line}")).unwrap_or_default();
        lines.push_str(&format!("{name}{line}: {kind}: {}: {text}\n", place.path));
    }
    if plan.left_out > 0 {
        lines.push_str(&format!("{name}: and {} more\n", plan.left_out));
    }
    if plan.claims.is_empty() && plan.mistakes.is_empty() {
        lines.push_str(&format!("{name}: declares no volume that is for Hawser\n"));
    }
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}
