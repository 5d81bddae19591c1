//! `hawser volume expand`.

use hawser_proto::csi;
use hawser_volume::{Bytes, Error, Result};
use serde::Serialize;

use super::call::{Answer, Call};
use super::capability::Usage;
use super::find::Typed;
use super::record::State;
use super::session::ToChange;
use super::trace::Mounts;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The volume: an id, a name, or as much of one as means this volume alone.
    volume: String,
    /// The new size, exactly: 20GiB.
    #[arg(value_parser = super::create::size)]
    size: Bytes,
    #[command(flatten)]
    usage: Usage,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    common: ToChange,
}

/// What came of it. The fields are those of the JSON output.
#[derive(Debug, Serialize)]
struct Expanded<'a> {
    id: &'a str,
    name: Option<&'a str>,
    /// The size of the volume.
    bytes: u64,
    /// Whether a node still has to make the filesystem larger.
    pending: bool,
}

/// Makes the volume larger, and its filesystem, if it is `hawser volume mount` that mounted it here.
pub(super) async fn run(options: &Options) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(session.driver.can.expand, "make volumes larger", "EXPAND_VOLUME")?;
    let volume = session.volume(&options.volume, Typed::Enough).await?;
    if let Some(bytes) = volume.bytes.filter(|bytes| *bytes > options.size.get()) {
        return Err(Error::new(
            hawser_volume::Kind::OutOfRange,
            format!("volume {} has {}, and volumes do not become smaller", volume.words(), Bytes::new(bytes)),
        ));
    }
    let record = options.state.of(&session.driver.name, &volume.id)?;
    let capability = match &record {
        Some(record) => csi::VolumeCapability::from(&record.access),
        None => options.usage.capability()?,
    };
    let mut calls = vec![Call::Expand { volume: volume.id.clone(), size: options.size, capability: capability.clone() }];
    if session.driver.can.expand_here
        && let Some(record) = &record
        && let Some(target) = record.paths.keys().next()
    {
        calls.push(Call::ExpandHere {
            volume: volume.id.clone(),
            size: options.size,
            capability,
            target: target.clone(),
            staging: record.staging.clone(),
        });
    }
    if options.common.dry_run {
        return session.plan(&calls);
    }
    let mut pending = false;
    let mut size = options.size;
    for call in &calls {
        let answer = session.make(call).await.map_err(|error| match call {
            Call::ExpandHere { .. } => error.while_doing(format_args!(
                "volume {} has {size}, and its filesystem not yet; the same command tries that again",
                volume.words()
            )),
            _ => error,
        });
        match answer? {
            Answer::Expanded(now, false) => {
                size = now;
                break;
            }
            Answer::Expanded(now, true) => (size, pending) = (now, true),
            _ => pending = false,
        }
    }
    let mut sentence = format!("{} has {size}", volume.words());
    if pending {
        let places = session.places_of_bridge(&volume.id).await?;
        let mounted = !Mounts::read()?.of(&volume, &places)?.is_empty();
        sentence += if mounted || volume.nodes.as_ref().is_some_and(|nodes| !nodes.is_empty()) {
            "; its filesystem grows when its orchestrator calls NodeExpandVolume, or when it is staged the next time"
        } else {
            "; its filesystem grows when it is staged the next time"
        };
    }
    let expanded = Expanded { id: &volume.id, name: volume.name.as_deref(), bytes: size.get(), pending };
    session.output.one(&expanded, &volume.id, &sentence)
}
