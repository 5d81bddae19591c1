//! `hawser doctor`: what keeps a backend from working, found step by step.

use std::path::PathBuf;
use std::process::ExitCode;

use hawser_controller::backend::scaleio::ScaleIo;
use hawser_volume::checkup::{Check, Finding};
use hawser_volume::{BackendName, Error, Result};
use serde::Serialize;

use crate::cli::{print, print_json};
use crate::config::{BackendConfig, Config};
use crate::mesos::Output;

/// Exit code when something is wrong: the examination itself was done.
const WRONG: u8 = 2;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file.
    #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// The backend. Default: each of type scaleio.
    #[arg(long, value_name = "NAME")]
    backend: Option<BackendName>,
    /// How the findings are written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What was found of a backend.
#[derive(Debug, Serialize)]
struct Report {
    backend: BackendName,
    checks: Vec<Check>,
}

/// Examines, and says whether something is wrong.
pub async fn run(options: &Options) -> Result<ExitCode> {
    let config = Config::load(Some(&options.config))?;
    let wanted = |name: &BackendName| options.backend.as_ref().is_none_or(|wanted| wanted == name);
    let mut reports = Vec::new();
    for (name, backend) in config.backends.iter().filter(|(name, _)| wanted(name)) {
        if let BackendConfig::ScaleIo(scaleio) = backend {
            reports.push(Report { backend: name.clone(), checks: ScaleIo::examine(name, scaleio).await });
        }
    }
    if reports.is_empty() {
        return Err(Error::invalid("there is no such backend of type scaleio in the configuration, and others are not examined"));
    }
    match options.output {
        Output::Text => reports.iter().try_for_each(|report| print(&text(report)))?,
        Output::Json => print_json(&reports)?,
    }
    let is_wrong = reports.iter().flat_map(|report| &report.checks).any(Check::is_wrong);
    Ok(if is_wrong { ExitCode::from(WRONG) } else { ExitCode::SUCCESS })
}

fn text(report: &Report) -> String {
    let mut text = format!("{}\n", report.backend);
    for Check { step, finding } in &report.checks {
        match finding {
            Finding::Well { found } => text += &format!("  ok     {step}: {found}\n"),
            Finding::Doubtful { why, mend } => text += &format!("  doubt  {step}: {why}\n         {mend}\n"),
            Finding::Wrong { why, mend } => text += &format!("  WRONG  {step}: {why}\n         {mend}\n"),
        }
    }
    text
}
