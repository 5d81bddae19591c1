//! What was typed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hawser_volume::{Bytes, Error, Result};

use crate::operation::Mix;

/// Options of `hawser bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The driver to measure: unix:///path/csi.sock or a path.
    pub endpoint: String,
    /// A second driver: both are measured in turn, and the ratio of the second to the first is printed.
    #[arg(long, value_name = "ENDPOINT")]
    pub compare: Option<String>,
    /// How many operations run at one time; several numbers are measured one after the other.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32")]
    pub concurrency: Vec<usize>,
    /// How many operations to run at each concurrency.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub count: usize,
    /// How often two drivers take turns.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: usize,
    /// What to run: names with weights. lifecycle (create, attach, stage, publish, statistics and back), volume (create and
    /// delete), snapshot (create and delete one of an idle volume), list, capacity, info, probe.
    #[arg(long, value_name = "NAME=WEIGHT,…", default_value = "lifecycle=1")]
    pub mix: Mix,
    /// The size of each volume.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub size: Bytes,
    /// The filesystem of each volume; the driver's default when left out.
    #[arg(long, value_name = "TYPE")]
    pub fs_type: Option<String>,
    /// Use volumes as raw block devices.
    #[arg(long, conflicts_with = "fs_type")]
    pub block: bool,
    /// Parameters for CreateVolume.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = pair)]
    pub parameters: Vec<(String, String)>,
    /// A file with secrets, one KEY=VALUE a line, sent with every call that takes some.
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// A directory that the driver can mount in; a temporary one when left out.
    #[arg(long, value_name = "DIR")]
    pub mount_dir: Option<PathBuf>,
    /// Report the memory of this process (the driver's), idle and at its peak.
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Count the system calls of that process, too, with strace; it runs several times slower meanwhile.
    #[arg(long, requires = "pid")]
    pub syscalls: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// How long to wait for each call, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::invalid(format!("{text:?} must have the form KEY=VALUE"))),
    }
}

impl Options {
    /// The secrets in the file.
    pub(crate) fn read_secrets(&self) -> Result<BTreeMap<String, String>> {
        let Some(file) = &self.secrets else { return Ok(BTreeMap::new()) };
        let text = std::fs::read_to_string(file)
            .map_err(|e| Error::invalid(format!("read the secrets {}", file.display())).caused_by(e))?;
        text.lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| pair(line.trim()).map_err(|_| Error::invalid("a line of the secrets has no form KEY=VALUE")))
            .collect()
    }
}
