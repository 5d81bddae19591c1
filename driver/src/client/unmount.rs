//! `hawser volume unmount`.

use std::path::{Path, PathBuf};

use hawser_volume::{Error, Kind, Result};
use serde::Serialize;

use super::call::Call;
use super::find::{Named, Typed, find};
use super::mount::place;
use super::record::{Attachment, Record, State, put_back, reached};
use super::session::{Session, ToChange};
use super::table::Table;
use super::trace::{Maker, Mounts, Places};
use super::volume::Volume;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What `hawser volume mount` mounted: the volume, at all its paths, or one path.
    #[arg(required_unless_present = "all", value_name = "VOLUME|PATH")]
    what: Vec<String>,
    /// Everything that `hawser volume mount` mounted.
    #[arg(long, conflicts_with = "what")]
    all: bool,
    /// What is not mounted is a success.
    #[arg(short, long)]
    idempotent: bool,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    common: ToChange,
}

/// What came of it. The fields are those of the JSON output.
#[derive(Debug, Serialize)]
struct Unmade {
    id: String,
    name: Option<String>,
    paths: Vec<PathBuf>,
    attachment: Attachment,
}

/// Takes down.
pub(super) async fn run(options: &Options) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(session.driver.can.node, "unmount anything: no Node service answers on this socket", "Node service")?;
    let state = options.state.open()?;
    let _lock = state.lock(session.deadline)?;
    let records = state.all(&session.driver.name)?;
    let mut wanted: Vec<(Record, Vec<PathBuf>)> = Vec::new();
    if options.all {
        wanted.extend(records.iter().map(|record| (record.clone(), record.paths.keys().cloned().collect())));
    }
    for text in &options.what {
        match meant(&records, text) {
            Ok(one) => wanted.push(one),
            Err(error) if options.idempotent && error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if options.common.dry_run {
        let mut calls = Vec::new();
        for (record, paths) in &wanted {
            calls.extend(self::calls(&session, record, paths, &Mounts::read()?)?);
        }
        return session.plan(&calls);
    }
    let mut done = Vec::new();
    for (record, paths) in wanted {
        let unmade =
            Unmade { id: record.volume.clone(), name: record.name.clone(), paths: paths.clone(), attachment: record.attachment };
        take_down(&session, &state, record, &paths).await?;
        done.push(unmade);
    }
    session.output.done(
        &done,
        |unmade| &unmade.id,
        |all| {
            let mut table = Table::new(["UNMOUNTED", "ID", "PATHS", "ATTACHMENT"]);
            for unmade in all {
                let paths: Vec<String> = unmade.paths.iter().map(|path| path.display().to_string()).collect();
                let attachment = match unmade.attachment {
                    Attachment::Mine => "detached",
                    Attachment::Before => "left, as it was before",
                    Attachment::Unknown => "left, as the driver cannot say whose it is",
                    Attachment::None => "",
                };
                table.row([unmade.name.clone().unwrap_or_default(), unmade.id.clone(), paths.join(","), attachment.to_owned()]);
            }
            table
        },
        "nothing is mounted by `hawser volume mount`",
    )
}

/// The record that `text` means, and which of its paths.
fn meant(records: &[Record], text: &str) -> Result<(Record, Vec<PathBuf>)> {
    let all_of = |record: &Record| (record.clone(), record.paths.keys().cloned().collect());
    if let Some(record) = records.iter().find(|record| record.id() == text || record.is_called(text)) {
        return Ok(all_of(record));
    }
    if text.contains('/') {
        let path = place(Path::new(text))?;
        if let Some(record) = records.iter().find(|record| record.paths.contains_key(&path)) {
            return Ok((record.clone(), vec![path]));
        }
        let mounted = Mounts::read()?;
        return Err(match mounted.top(&path) {
            Some(there) => Error::precondition(format!(
                "{} ({} {}) is not what `hawser volume mount` mounted; whoever did has to unmount it",
                path.display(),
                there.filesystem,
                there.source.display()
            )),
            None => Error::not_found(format!("nothing is mounted at {}", path.display())),
        });
    }
    match find("mounted volume", records, text, Typed::Enough) {
        Ok(record) => Ok(all_of(record)),
        Err(error) if error.kind() == Kind::NotFound => Err(Error::not_found(format!(
            "`hawser volume mount` mounted no volume whose id or name is {text:?}, or has it in it, and nothing else is taken down"
        ))),
        Err(error) => Err(error),
    }
}

/// The calls that take down `paths`, and all of it with the last one.
fn calls(session: &Session, record: &Record, paths: &[PathBuf], mounts: &Mounts) -> Result<Vec<Call>> {
    let volume = &record.volume;
    let mut calls = Vec::new();
    for path in paths {
        record.refuse_foreign(path, mounts)?;
        calls.push(Call::Unpublish { volume: volume.clone(), target: path.clone() });
    }
    if record.paths.keys().all(|path| paths.contains(path)) {
        calls.extend(session.driver.can.stage.then(|| Call::Unstage { volume: volume.clone(), staging: record.staging.clone() }));
        if record.attachment == Attachment::Mine {
            calls.push(Call::Detach { volume: volume.clone(), node: session.driver.node_id.clone() });
        }
    }
    Ok(calls)
}

/// Takes `paths` down, and with the last one all that was made. What is killed in between is finished by the same again.
pub(super) async fn take_down(session: &Session, state: &State, mut record: Record, paths: &[PathBuf]) -> Result<()> {
    let calls = calls(session, &record, paths, &Mounts::read()?)?;
    let is_all = record.paths.keys().all(|path| paths.contains(path));
    for call in &calls {
        match call {
            Call::Unstage { .. } => refuse_used(&record)?,
            // Somebody else detached it, or another node has it by now: that attachment is not ours.
            Call::Detach { .. } if !still_here(session, &record).await? => continue,
            _ => {}
        }
        session.make(call).await?;
        reached(call.method());
        if let Call::Unpublish { target, .. } = call {
            put_back(target, record.paths.get(target).and_then(Option::as_ref))?;
            reached("put-back");
            if !is_all {
                record.paths.remove(target);
                state.put(&record)?;
            }
        }
    }
    if is_all {
        state.forget(&record)?;
    }
    Ok(())
}

/// `Precondition` when somebody else uses by now what was staged here: taking it down would take it from them.
fn refuse_used(record: &Record) -> Result<()> {
    let volume = Volume::of_record(record);
    let places = Places { own: record.places(), bridge: Vec::new() };
    let others = Mounts::read()?.of(&volume, &places)?;
    let others: Vec<String> =
        others.into_iter().filter(|mount| mount.by != Maker::Person).map(|mount| mount.path.display().to_string()).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::precondition(format!(
        "volume {} is mounted at {} by others meanwhile; it is unmounted from its paths, and stays staged and attached for them. When \
         that is unmounted, give the command again",
        record.words(),
        others.join(", ")
    )))
}

async fn still_here(session: &Session, record: &Record) -> Result<bool> {
    let can = session.driver.can;
    if !(can.get || can.list) {
        return Ok(true);
    }
    let volume = session.look_up(&record.volume, session.asking()).await?;
    Ok(volume.is_some_and(|volume| volume.is_on(&session.driver.node_id)))
}
