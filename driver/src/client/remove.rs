//! `hawser volume rm`.

use hawser_volume::{Error, Result};

use super::call::Call;
use super::find::{Typed, doomed};
use super::session::ToChange;
use super::trace::{Mounts, refuse_mounted};

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The volumes, each by its full id or its full name. A part is refused: what is deleted is gone.
    #[arg(required = true)]
    volumes: Vec<String>,
    /// A volume that does not exist is a success.
    #[arg(short, long)]
    idempotent: bool,
    #[command(flatten)]
    common: ToChange,
}

/// Deletes. Nothing is deleted unless all that was typed is understood, and nothing that a node has.
pub(super) async fn run(options: &Options) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(session.driver.can.create, "delete volumes", "CREATE_DELETE_VOLUME")?;
    let doomed = doomed(&options.volumes, options.idempotent, async |text| session.volume(text, Typed::Whole).await).await?;
    for volume in &doomed {
        if let Some(nodes) = volume.nodes.as_deref().filter(|nodes| !nodes.is_empty()) {
            return Err(Error::precondition(format!(
                "nothing is deleted: volume {} is attached to {}; whoever uses it there has to be done with it first (hawser why, hawser \
                 volume unmount, hawser volume detach)",
                volume.words(),
                nodes.join(", ")
            )));
        }
        let places = session.places_of_bridge(&volume.id).await?;
        refuse_mounted(volume, &Mounts::read()?.of(volume, &places)?, "nothing is deleted")?;
    }
    let calls: Vec<Call> = doomed.iter().map(|volume| Call::DeleteVolume(volume.id.clone())).collect();
    if options.common.dry_run {
        return session.plan(&calls);
    }
    for call in &calls {
        session.make(call).await?;
    }
    session.output.done(
        &doomed,
        |volume| &volume.id,
        |all| {
            let mut table = super::table::Table::new(["DELETED", "ID", "SIZE"]);
            for volume in all {
                table.row([volume.name.clone().unwrap_or_default(), volume.id.clone(), volume.size()]);
            }
            table
        },
        "there is no such volume; nothing is to be deleted",
    )
}
