//! `hawser node`.

use std::collections::BTreeMap;

use hawser_volume::Result;
use serde::Serialize;

use super::inspect::pairs;
use super::output::Form;
use super::record::State;
use super::session::ToRead;
use super::table::{Table, plain};
use super::trace::{Mounted, Mounts};
use super::volume::Volume;
use crate::cli::{print, print_json};

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    common: ToRead,
}

/// This node. The fields are those of the JSON output.
#[derive(Debug, Serialize)]
struct Here {
    id: String,
    driver: String,
    version: String,
    /// What it can do, by the names of CSI.
    can: Vec<&'static str>,
    topology: BTreeMap<String, String>,
    /// How many volumes of the driver it can have; nothing for no limit.
    limit: Option<u64>,
    /// What it has; nothing when the driver cannot say.
    volumes: Option<Vec<Had>>,
}

/// A volume that is attached to this node.
#[derive(Debug, Serialize)]
struct Had {
    #[serde(flatten)]
    volume: Volume,
    mounts: Vec<Mounted>,
}

/// Says what this node is and has.
pub(super) async fn run(options: &Options) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(
        session.driver.can.node,
        "say anything of this node: no Node service answers on this socket",
        "Node service",
    )?;
    let driver = &session.driver;
    let info = if driver.node_id.is_empty() { None } else { Some(driver.node_info(session.asking()).await?) };
    let volumes = if driver.can.list && driver.can.list_nodes {
        let mounts = Mounts::read()?;
        let mut had = Vec::new();
        for volume in session.volumes().await?.all.into_iter().filter(|volume| volume.is_on(&driver.node_id)) {
            let mut places = session.places_of_bridge(&volume.id).await?;
            places.own = options.state.places(&driver.name, &volume.id)?.own;
            had.push(Had { mounts: mounts.of(&volume, &places)?, volume });
        }
        Some(had)
    } else {
        None
    };
    let here = Here {
        id: driver.node_id.clone(),
        driver: driver.name.clone(),
        version: driver.version.clone(),
        can: can(&session.driver.can),
        limit: info.as_ref().and_then(|info| u64::try_from(info.max_volumes_per_node).ok()).filter(|limit| *limit > 0),
        topology: info
            .and_then(|info| info.accessible_topology)
            .map(|place| place.segments.into_iter().collect())
            .unwrap_or_default(),
        volumes,
    };
    match session.output.form() {
        Form::Table => print(&text(&here)),
        Form::Json => print_json(&here),
        Form::Name => print(&format!("{}\n", here.id)),
    }
}

fn can(can: &hawser_bridge::driver::Abilities) -> Vec<&'static str> {
    let all = [
        (can.create, "CREATE_DELETE_VOLUME"),
        (can.attach, "PUBLISH_UNPUBLISH_VOLUME"),
        (can.attach_read_only, "PUBLISH_READONLY"),
        (can.list, "LIST_VOLUMES"),
        (can.list_nodes, "LIST_VOLUMES_PUBLISHED_NODES"),
        (can.get, "GET_VOLUME"),
        (can.capacity, "GET_CAPACITY"),
        (can.clone, "CLONE_VOLUME"),
        (can.snapshots, "CREATE_DELETE_SNAPSHOT"),
        (can.list_snapshots, "LIST_SNAPSHOTS"),
        (can.expand, "EXPAND_VOLUME"),
        (can.stage, "STAGE_UNSTAGE_VOLUME"),
    ];
    all.into_iter().filter_map(|(can, name)| can.then_some(name)).collect()
}

fn text(here: &Here) -> String {
    let id = if here.id.is_empty() { "the driver does not say" } else { &here.id };
    let topology = if here.topology.is_empty() { "everywhere".to_owned() } else { pairs(here.topology.iter()) };
    let limit = here.limit.map_or_else(|| "none".to_owned(), |limit| format!("{limit} volumes"));
    let mut text = format!(
        "node      {}\ndriver    {} {}\ntopology  {}\nlimit     {limit}\n",
        plain(id),
        plain(&here.driver),
        plain(&here.version),
        plain(&topology)
    );
    let Some(volumes) = &here.volumes else {
        return text + "volumes   the driver cannot say which nodes have a volume (LIST_VOLUMES_PUBLISHED_NODES)\n";
    };
    text += &format!("volumes   {} attached\n", volumes.len());
    if volumes.is_empty() {
        return text;
    }
    let mut table = Table::new(["NAME", "ID", "SIZE", "MOUNTED AT", "BY"]);
    for Had { volume, mounts } in volumes {
        let (name, id, size) = (volume.name.clone().unwrap_or_default(), volume.id.clone(), volume.size());
        if mounts.is_empty() {
            table.row([name, id, size, String::new(), String::new()]);
            continue;
        }
        for mount in mounts {
            table.row([name.clone(), id.clone(), size.clone(), mount.path.display().to_string(), mount.by.words().to_owned()]);
        }
    }
    format!("{text}\n{table}")
}
