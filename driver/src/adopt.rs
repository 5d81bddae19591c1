//! `hawser volume adopt`: a volume that something else made is found under a name from then on.

use std::path::PathBuf;
use std::time::Duration;

use hawser_ebs::{Adoption, Ec2, OsEnv};
use hawser_volume::{BackendName, Deadline, Error, ObjectName, Result};

use crate::cli::print;
use crate::config::Config;
use crate::leaked;

/// How long it may take.
const WORK: Duration = Duration::from_secs(900);

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The volume, by its id: vol-0123456789abcdef0.
    volume: String,
    /// The name under which tasks declare it: what REX-Ray had as its tag Name.
    name: String,
    /// The configuration file.
    #[arg(long, env = "HAWSER_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// The backend. Default: the only one of type ebs.
    #[arg(long, value_name = "NAME")]
    backend: Option<BackendName>,
}

/// Writes the name on the volume.
pub async fn run(options: &Options) -> Result<()> {
    let config = Config::load(Some(&options.config))?;
    let (backend, ebs) = leaked::backend(&config, options.backend.as_ref())?;
    let id = options.volume.strip_prefix(&format!("{backend}:")).unwrap_or(&options.volume);
    if !hawser_ebs::volume::is_volume_id(id) {
        return Err(Error::invalid(format!("{id:?} is no id of a volume; EC2's look like vol-0123456789abcdef0")));
    }
    let name: ObjectName = options.name.parse()?;
    let ec2 = Ec2::new(&ebs.client(&OsEnv)?)?;
    let within = Duration::from_secs(ebs.listed_within_seconds);
    let done = match ec2.adopt(&ebs.cluster, id, &name, within, Deadline::after(WORK)).await? {
        Adoption::Written => "adopted",
        Adoption::Known => "was adopted before",
    };
    print(&format!("{backend}:{id} {:?}: {done}\n", options.name))
}
