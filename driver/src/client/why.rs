//! `hawser why`: where a volume is, who has it, what it waits for, what failed last, and what to do.

mod advice;
mod report;
mod work;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use hawser_volume::{Error, Kind, Result};

use self::report::{OfBridge, Report};
use self::work::Work;
use super::find::Typed;
use super::output::Form;
use super::record::State;
use super::session::{Session, ToRead};
use super::trace::Mounts;
use super::volume::Volume;
use crate::cli::{print, print_json};

/// Exit code when something is wrong: the question itself was answered.
const WRONG: u8 = 2;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The volume: an id, a name, or as much of one as means this volume alone; or a name that a task declared.
    volume: String,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    common: ToRead,
}

/// Says.
pub(super) async fn run(options: &Options) -> Result<ExitCode> {
    let session = options.common.open().await?;
    let bridge = match session.held_by_bridge().await {
        Ok(held) => held.ok_or_else(String::new),
        Err(error) => Err(error.chain()),
    };
    let typed = options.volume.as_str();
    // A name that a task declared may be that of the volume, or of none yet.
    let declared = bridge.as_ref().ok().and_then(|held| held.declared.get(typed));
    let text = declared.and_then(Option::as_deref).unwrap_or(typed);
    let found = match session.volume(text, Typed::Enough).await {
        Ok(volume) => Some(volume),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    let exists = found.is_some();
    let volume = found.unwrap_or_else(|| Volume::bare(text));
    let mut objects: BTreeSet<String> = [volume.id.clone(), typed.to_owned()].into();
    objects.extend(volume.name.clone().filter(|_| exists));
    let work = session.work_on(&objects).await;
    if !exists && work.is_empty() {
        return Err(gone(&bridge, text, declared.is_some()));
    }
    let report = gather(&session, &options.state, volume, exists, bridge, work).await?;
    let next = advice::next(&report);
    match session.output.form() {
        Form::Table => print(&report.text(&next))?,
        Form::Json => print_json(&report.told(&next))?,
        Form::Name => print(&format!("{}\n", report.volume.id))?,
    }
    Ok(if next.is_wrong { ExitCode::from(WRONG) } else { ExitCode::SUCCESS })
}

/// Nobody knows anything of it but, perhaps, the bridge.
fn gone(bridge: &OfBridge, text: &str, is_declared: bool) -> Error {
    let holds = bridge.as_ref().is_ok_and(|held| held.holdings.contains_key(text));
    let words = if holds {
        format!(
            "the driver knows no volume {text}, and the bridge of this node holds it: it was deleted behind the bridge's back. What its tasks have \
             mounted shows storage that is gone; end them"
        )
    } else if is_declared {
        format!(
            "{text} is declared here, and no volume was made for it yet: that happens when a task mounts it for the first time"
        )
    } else {
        format!(
            "there is no volume whose id or name is {text:?}, or has it in it, and no call for one of this name runs, waits or has failed since \
             the driver was started; hawser volume ls lists those that there are"
        )
    };
    Error::not_found(words)
}

async fn gather(session: &Session, state: &State, volume: Volume, exists: bool, bridge: OfBridge, work: Work) -> Result<Report> {
    let driver = &session.driver;
    // What a list says may be older than what the volume itself says.
    let volume = match driver.can.get && exists {
        true => session.look_up(&volume.id, session.asking()).await?.unwrap_or(volume),
        false => volume,
    };
    let record = state.of(&driver.name, &volume.id);
    let (record, unread) = match record {
        Ok(record) => (record, None),
        Err(error) => (None, Some(error.chain())),
    };
    let mut places = super::trace::Places {
        own: record.as_ref().map(|record| record.places()).unwrap_or_default(),
        bridge: vec![session.config.bridge.mounts.clone()],
    };
    if let Some(holding) = bridge.as_ref().ok().and_then(|held| held.holdings.get(&volume.id)) {
        let of_uses = holding.uses.iter();
        let paths = of_uses.flat_map(|(staging, usage)| std::iter::once(staging).chain(&usage.targets).chain(&usage.asked));
        places.bridge.extend(paths.cloned().collect::<Vec<PathBuf>>());
    }
    let mounts = if driver.can.node && exists { Mounts::read()?.of(&volume, &places)? } else { Vec::new() };
    Ok(Report {
        node: driver.node_id.clone(),
        driver: driver.name.clone(),
        volume,
        mounts,
        record,
        unread,
        bridge,
        exists,
        work,
        can: driver.can,
    })
}
