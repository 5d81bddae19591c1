//! `hawser volume ls`.

use hawser_volume::Result;

use super::find::Typed;
use super::session::ToRead;
use super::table::Table;
use super::volume::{Status, Volume};

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these: ids, names, or as much of them as means one volume alone.
    volumes: Vec<String>,
    /// Only those that this node has.
    #[arg(long)]
    attached: bool,
    /// Only those that no node has.
    #[arg(long, conflicts_with = "attached")]
    available: bool,
    #[command(flatten)]
    common: ToRead,
}

/// Lists.
pub(super) async fn run(options: &Options) -> Result<()> {
    let session = options.common.open().await?;
    if options.attached {
        session.this_node()?;
    }
    if options.attached || options.available {
        session.demand(session.driver.can.list_nodes, "say which nodes have a volume", "LIST_VOLUMES_PUBLISHED_NODES")?;
    }
    let shown = session.progress.during("ListVolumes");
    let mut listed = session.volumes().await?;
    drop(shown);
    if !options.volumes.is_empty() {
        let wanted: Result<Vec<&Volume>> =
            options.volumes.iter().map(|text| listed.find("volume", text, Typed::Enough)).collect();
        let ids: Vec<String> = wanted?.into_iter().map(|volume| volume.id.clone()).collect();
        listed.all.retain(|volume| ids.contains(&volume.id));
    }
    listed.all.retain(|volume| {
        (!options.attached || volume.status == Status::Attached) && (!options.available || volume.status == Status::Available)
    });
    session.output.list(&listed.all, |volume| &volume.id, table)?;
    listed.all_there()
}

pub(super) fn table(all: &[Volume]) -> Table {
    let mut table = Table::new(["NAME", "ID", "SIZE", "STATUS", "NODES", "CONDITION"]);
    for volume in all {
        let condition = volume
            .condition
            .as_ref()
            .map(|condition| if condition.abnormal { condition.message.clone() } else { "ok".to_owned() });
        table.row([
            volume.name.clone().unwrap_or_default(),
            volume.id.clone(),
            volume.size(),
            volume.status.as_str().to_owned(),
            volume.nodes.as_ref().map(|nodes| nodes.join(",")).unwrap_or_default(),
            condition.unwrap_or_default(),
        ]);
    }
    table
}
