//! `hawser volume leaked`: what carries Hawser's tags in a storage system and nobody claims.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_ebs::{EbsConfig, Ec2, OsEnv};
use hawser_volume::{BackendName, Deadline, Error, Result};

use crate::cli::print;
use crate::config::{BackendConfig, Config};

/// How long listing and deleting may take.
const WORK: Duration = Duration::from_secs(3600);

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file.
    #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// The backend. Default: the only one of type ebs.
    #[arg(long, value_name = "NAME")]
    backend: Option<BackendName>,
    /// A file with the ids of the volumes that somebody claims, one a line, as CSI has them or as EC2 has them; - for standard input.
    /// For Kubernetes: kubectl get pv -o jsonpath='{range .items[*]}{.spec.csi.volumeHandle}{"\n"}{end}'
    #[arg(long, value_name = "FILE")]
    claimed: Option<PathBuf>,
    /// Leave out what is younger: it may be about to be claimed.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    older_than: u64,
    /// Delete the volumes and snapshots that are listed. Needs --claimed. Attachments are never ended.
    #[arg(long, requires = "claimed")]
    delete: bool,
}

/// Lists, and deletes if told to.
pub async fn run(options: &Options) -> Result<()> {
    let config = Config::load(Some(&options.config))?;
    let (name, ebs) = backend(&config, options.backend.as_ref())?;
    let claimed = options.claimed.as_deref().map(|file| claimed(file, name)).transpose()?.unwrap_or_default();
    let ec2 = Ec2::new(&ebs.client(&OsEnv)?)?;
    let (deadline, age) = (Deadline::after(WORK), Duration::from_secs(options.older_than.saturating_mul(3600)));
    let mut failed = 0;
    for leak in ec2.leaks(&ebs.cluster, &claimed, age, deadline).await? {
        let done = if options.delete { ec2.delete_leak(&leak, deadline).await } else { Ok(false) };
        match done {
            Ok(false) => print(&format!("{leak}\n"))?,
            Ok(true) => print(&format!("{leak}: deleted\n"))?,
            Err(error) => {
                failed += 1;
                print(&format!("{leak}: {}\n", error.chain()))?;
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Error::unavailable(format!("{failed} could not be deleted"))) }
}

/// The backend of type ebs that is meant.
pub(crate) fn backend<'c>(config: &'c Config, wanted: Option<&BackendName>) -> Result<(&'c BackendName, &'c EbsConfig)> {
    let mut all = config.backends.iter().filter_map(|(name, backend)| match backend {
        BackendConfig::Ebs(ebs) if wanted.is_none_or(|wanted| wanted == name) => Some((name, ebs)),
        _ => None,
    });
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::invalid("there is no such backend of type ebs in the configuration")),
        (Some(_), Some(_)) => Err(Error::invalid("several backends are of type ebs; say which with --backend")),
    }
}

/// The volumes' own ids in the file. A line that is neither is a mistake: what it means would be deleted.
fn claimed(file: &Path, backend: &BackendName) -> Result<BTreeSet<String>> {
    let wrong = |error: std::io::Error| Error::invalid(format!("read {}", file.display())).caused_by(error);
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(wrong)?;
    } else {
        text = std::fs::read_to_string(file).map_err(wrong)?;
    }
    let mut ids = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let id = line.trim();
        match id.split_once(':') {
            None if hawser_ebs::volume::is_volume_id(id) => drop(ids.insert(id.to_owned())),
            Some((owner, native)) if owner == backend.as_str() => drop(ids.insert(native.to_owned())),
            // Another backend's.
            Some((owner, _)) if owner.parse::<BackendName>().is_ok() => {}
            _ => return Err(Error::invalid(format!("{}:{number}: {id:?} is no volume's id", file.display()))),
        }
    }
    Ok(ids)
}
