//! `hawser volume inspect`.

use hawser_volume::{Bytes, Result};

use super::find::Typed;
use super::session::ToRead;
use super::table::plain;
use super::volume::{Source, Volume};

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The volume: an id, a name, or as much of one as means this volume alone.
    volume: String,
    #[command(flatten)]
    common: ToRead,
}

/// Shows.
pub(super) async fn run(options: &Options) -> Result<()> {
    let session = options.common.open().await?;
    let volume = session.volume(&options.volume, Typed::Enough).await?;
    session.output.one(&volume, &volume.id, &text(&volume))
}

/// All that is known of a volume, a line each.
pub(super) fn text(volume: &Volume) -> String {
    let mut lines = vec![("id", volume.id.clone())];
    lines.push(("name", volume.name.clone().unwrap_or_else(|| "the driver does not say".to_owned())));
    let size = |bytes: u64| {
        let words = Bytes::new(bytes).to_string();
        if words == format!("{bytes}B") { words } else { format!("{words} ({bytes} bytes)") }
    };
    lines.push(("size", volume.bytes.map_or_else(|| "the driver does not say".to_owned(), size)));
    lines.push(("status", volume.status.as_str().to_owned()));
    lines.push((
        "nodes",
        match volume.nodes.as_deref() {
            None => "the driver does not say".to_owned(),
            Some([]) => "none".to_owned(),
            Some(nodes) => nodes.join(", "),
        },
    ));
    if let Some(condition) = &volume.condition {
        lines.push(("condition", format!("{}: {}", if condition.abnormal { "WRONG" } else { "ok" }, condition.message)));
    }
    match &volume.source {
        Some(Source::Snapshot(id)) => lines.push(("source", format!("snapshot {id}"))),
        Some(Source::Volume(id)) => lines.push(("source", format!("volume {id}"))),
        None => {}
    }
    lines.extend(volume.topology.iter().map(|place| ("topology", pairs(place.iter()))));
    lines.extend(volume.context.iter().map(|(key, value)| ("context", format!("{key}={value}"))));
    lines.iter().map(|(key, value)| format!("{key:<10} {}", plain(value))).collect::<Vec<_>>().join("\n")
}

/// Keys with their values.
pub(super) fn pairs<'a>(map: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    map.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}
