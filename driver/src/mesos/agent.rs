//! `hawser mesos config`: what a Mesos agent reads, checked and written.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use hawser_bridge::agent::write::{self, Door, Wanted};
use hawser_bridge::agent::{self, FileReport, FlagSource, Report, Sources};
use hawser_volume::{Error, Listing, Result};
use serde::Serialize;

use super::{MISTAKES, Output};
use crate::cli::print;
use crate::config::Config;

/// What can be done about an agent's files.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Check what an agent reads: every mistake with its file, its place and its line, what Mesos would do about it, and how to mend
    /// it. Exits with 0 without mistakes, with 2 otherwise.
    ///
    /// A mistake is what ends the agent, what it refuses, and what it drops without a word, such as a misspelt key. A warning is
    /// what works and somebody may regret. Nothing is changed. docs/mesos-agent.md says what the files are.
    #[command(after_help = "Example: hawser mesos config check --flags /etc/default/mesos-agent --flags /etc/mesos-agent")]
    Check(Check),
    /// Print, or write into a directory, what an agent needs for Hawser's doors. What is written passes the check.
    Write(WriteFiles),
}

/// What is to be checked.
#[derive(Debug, Args)]
pub struct Check {
    /// The directory of the agent's --csi_plugin_config_dir. Default: the one that the flags name.
    #[arg(long, value_name = "DIR")]
    csi_plugin_config_dir: Option<PathBuf>,
    /// The directory of the agent's --resource_provider_config_dir. Default: the one that the flags name.
    #[arg(long, value_name = "DIR")]
    resource_provider_config_dir: Option<PathBuf>,
    /// The profiles of disks, as the URI disk profile adaptor reads them.
    #[arg(long, value_name = "FILE")]
    disk_profiles: Option<PathBuf>,
    /// The agent's flags: a file with lines MESOS_FLAG=value or --flag=value, as /etc/default/mesos-agent; or a directory with a
    /// file for each flag, as /etc/mesos-agent. May be given more than once.
    #[arg(long, value_name = "PATH")]
    flags: Vec<PathBuf>,
    /// How the findings are written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// The agent's flags, as on its command line.
    #[arg(last = true, value_name = "AGENT FLAGS")]
    words: Vec<String>,
}

/// What is to be written.
#[derive(Debug, Args)]
pub struct WriteFiles {
    /// For which door. May be given more than once.
    #[arg(long = "for", value_enum, required = true, value_name = "DOOR")]
    doors: Vec<For>,
    /// The configuration file of Hawser; its section `bridge` says where the doors are.
    #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the agent's --isolation is now; what the doors need is added to it.
    #[arg(long, value_name = "ISOLATORS")]
    isolation: Option<String>,
    /// Write the files into this directory, which is made if it is missing. Without it they are printed, as for /etc/hawser/mesos.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Replace files that are there and say something else.
    #[arg(long, requires = "directory")]
    force: bool,
}

/// The doors, as they are called on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum For {
    /// The isolator volume/csi: CSI_VOLUME, Marathon's provider csi.
    Isolator,
    /// The isolator docker/volume with dvdcli, dockerd and podman: DOCKER_VOLUME, Marathon's provider dvdi.
    Docker,
    /// Mesos' own storage provider: disks in offers.
    Provider,
}

/// Runs the command.
///
/// `Invalid` for what cannot be read, `AlreadyExists` for files that would be replaced.
pub fn run(command: &AgentCommand) -> Result<ExitCode> {
    match command {
        AgentCommand::Check(options) => check(options),
        AgentCommand::Write(options) => write(options).map(|()| ExitCode::SUCCESS),
    }
}

fn check(options: &Check) -> Result<ExitCode> {
    let mut flags: Vec<FlagSource> = options.flags.iter().cloned().map(FlagSource::Path).collect();
    if !options.words.is_empty() {
        flags.push(FlagSource::Words(options.words.clone()));
    }
    let sources = Sources {
        csi_plugins: options.csi_plugin_config_dir.clone(),
        providers: options.resource_provider_config_dir.clone(),
        profiles: options.disk_profiles.clone(),
        flags,
        path: std::env::var_os("PATH"),
    };
    if sources.is_empty() {
        return Err(Error::invalid(
            "there is nothing to check: give --flags, --csi-plugin-config-dir, --resource-provider-config-dir, \
                --disk-profiles, or the \
             agent's flags after --",
        ));
    }
    let report = agent::check(&sources)?;
    match options.output {
        Output::Text => tell(&report)?,
        Output::Json => {
            let told = serde_json::to_string_pretty(&Told { files: report.files().collect() })
                .map_err(|error| Error::internal("write the findings as JSON").caused_by(error))?;
            print(&format!("{told}\n"))?;
        }
    }
    Ok(if report.mistakes() == 0 { ExitCode::SUCCESS } else { ExitCode::from(MISTAKES) })
}

#[derive(Serialize)]
struct Told<'r> {
    files: Vec<FileReport<'r>>,
}

fn tell(report: &Report) -> Result<()> {
    let _ = std::io::stderr().lock().write_all(report.to_string().as_bytes());
    let mut lines = String::new();
    for FileReport { file, mistakes, warnings, .. } in report.files() {
        let counted = match (mistakes.len(), warnings.len()) {
            (0, 0) => "in order".to_owned(),
            (mistakes, warnings) => format!("{mistakes} mistakes, {warnings} warnings"),
        };
        lines.push_str(&format!("{file}: {counted}\n"));
    }
    print(&lines)
}

fn write(options: &WriteFiles) -> Result<()> {
    let config = Config::load(options.config.as_deref())?;
    let path = options.config.as_deref().map(std::path::absolute).transpose();
    let path = path.map_err(|error| Error::invalid("find the configuration").caused_by(error))?;
    let directory = options.directory.as_deref().map(std::path::absolute).transpose();
    let directory = directory.map_err(|error| Error::invalid("find the directory").caused_by(error))?;
    let doors: Vec<Door> = options
        .doors
        .iter()
        .map(|door| match door {
            For::Isolator => Door::Isolator,
            For::Docker => Door::Docker,
            For::Provider => Door::Provider,
        })
        .collect();
    if doors.contains(&Door::Provider) {
        divide(&config)?;
    }
    let wanted = Wanted {
        doors: &doors,
        bridge: &config.bridge,
        plugin: config.driver.name.as_str(),
        backends: config.backends.keys().map(ToString::to_string).collect(),
        config: path.as_deref(),
        isolation: options.isolation.as_deref(),
        directory: directory.as_deref().unwrap_or_else(|| write::DIRECTORY.as_ref()),
    };
    let files = write::files(&wanted)?;
    match &directory {
        None => {
            let shown: Vec<String> = files.iter().map(|file| format!("==> {} <==\n{}", file.path.display(), file.text)).collect();
            print(&shown.join("\n"))
        }
        Some(directory) => {
            let written = write::into_directory(&files, directory, options.force)?;
            let lines: Vec<String> = files
                .iter()
                .map(|file| {
                    let what = if written.contains(&file.path) { "written" } else { "is there already" };
                    format!("{}: {what}\n", file.path.display())
                })
                .collect();
            print(&lines.concat())
        }
    }
}

/// Refuses a configuration with which Mesos' own storage provider would offer, on each agent, every volume of all of them: a framework may
/// delete what it is offered.
fn divide(config: &Config) -> Result<()> {
    let shared = config.backends.iter().filter(|(_, backend)| backend.is_shared()).map(|(name, _)| name.as_str());
    let shared: Vec<&str> = shared.collect();
    if shared.is_empty() || config.driver.list_volumes == Listing::None {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "driver.list-volumes is all, and agents share the backends {}: each of them would offer all their volumes, and frameworks could \
         delete each other's data; set driver.list-volumes to none",
        shared.join(", ")
    )))
}
