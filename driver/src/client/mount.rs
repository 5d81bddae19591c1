//! `hawser volume mount`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hawser_host::{Host, Linux, durable};
use hawser_volume::{Error, Kind, Result};
use serde::Serialize;

use super::attach::{explain, refuse_held, to_use};
use super::call::{Answer, Call};
use super::capability::Usage;
use super::find::Typed;
use super::record::{Attachment, Directory, Record, State, reached};
use super::session::{Session, ToChange};
use super::trace::{Maker, Mounts, refuse_mounted};
use super::unmount::take_down;
use super::volume::Volume;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The volume: an id, a name, or as much of one as means this volume alone.
    volume: String,
    /// Where: an empty directory, or a path that is not there yet in a directory that is.
    path: PathBuf,
    #[command(flatten)]
    usage: Usage,
    /// For reading only.
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    common: ToChange,
}

/// What came of it. The fields are those of the JSON output.
#[derive(Debug, Serialize)]
struct Made<'a> {
    id: &'a str,
    name: Option<&'a str>,
    path: &'a Path,
    attachment: Attachment,
}

/// Mounts. What fails is taken down again; what is killed is finished by the same command, or undone by `unmount`.
pub(super) async fn run(options: &Options) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(session.driver.can.node, "mount anything: no Node service answers on this socket", "Node service")?;
    let path = place(&options.path)?;
    let state = options.state.open()?;
    let _lock = state.lock(session.deadline)?;
    let volume = session.volume(&options.volume, Typed::Enough).await?;
    let known = state.of(&session.driver.name, &volume.id)?;
    let is_new = !known.as_ref().is_some_and(|record| record.paths.contains_key(&path));
    let record = record(&session, options, &state, &volume, known.clone(), &path).await?;
    let calls = calls(&session, options, &volume, &record, &path)?;
    if options.common.dry_run {
        return session.plan(&calls);
    }
    state.put(&record)?;
    reached("recorded");
    durable::create_dir(&record.staging)?;
    if let Err(error) = make(&session, calls).await {
        let error = explain(error, &volume);
        // Only what this command added: what was mounted before stays as it is, whatever keeps the driver from saying so again.
        if !is_new {
            return Err(error);
        }
        return Err(match take_down(&session, &state, record, std::slice::from_ref(&path)).await {
            Ok(()) => error,
            Err(left) => error.while_doing(format_args!(
                "not mounted, and not all of it could be taken down again ({}); `hawser volume unmount {}` tries again",
                left.chain(),
                volume.id
            )),
        });
    }
    let made = Made { id: &volume.id, name: volume.name.as_deref(), path: &path, attachment: record.attachment };
    session.output.one(&made, &volume.id, &format!("{} is mounted at {}", volume.words(), path.display()))
}

/// The path as the kernel will write it.
pub(super) fn place(typed: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(typed).map_err(|error| Error::invalid(format!("path {}", typed.display())).caused_by(error))?;
    Linux.resolve(&absolute).map_err(|error| match error.kind() {
        Kind::NotFound => Error::not_found(format!(
            "the directory {} does not exist; make it first",
            absolute.parent().unwrap_or(Path::new("/")).display()
        )),
        _ => error,
    })
}

/// What is on record once this is mounted. Refuses whatever would harm somebody.
async fn record(
    session: &Session,
    options: &Options,
    state: &State,
    volume: &Volume,
    known: Option<Record>,
    path: &Path,
) -> Result<Record> {
    let access = options.usage.access()?;
    let mounts = Mounts::read()?;
    let mut record = match known {
        Some(record) if record.access != access || record.read_only != options.read_only => {
            return Err(Error::already_exists(format!(
                "volume {} is mounted in another way already (mode or options); unmount it first: hawser volume unmount {}",
                volume.words(),
                volume.id
            )));
        }
        Some(record) => record,
        None => {
            refuse_held(volume, &session.driver.node_id, access.mode.is_single_node())?;
            Record {
                driver: session.driver.name.clone(),
                volume: volume.id.clone(),
                name: volume.name.clone(),
                access: access.clone(),
                read_only: options.read_only,
                context: volume.context.clone(),
                attachment: attachment(session, volume),
                staging: state.staging(&session.driver.name, &volume.id),
                paths: BTreeMap::new(),
            }
        }
    };
    let mut places = session.places_of_bridge(&volume.id).await?;
    places.own = record.places();
    let others: Vec<_> = mounts.of(volume, &places)?.into_iter().filter(|mount| mount.by != Maker::Person).collect();
    refuse_mounted(volume, &others, "not mounted a second time")?;
    session.refuse_held_by_bridge(volume, "not mounted").await?;
    match record.paths.get(path) {
        // Begun before; perhaps done.
        Some(_) if mounts.top(path).is_some() => record.refuse_foreign(path, &mounts)?,
        Some(_) => {
            Directory::to_mount_on(path)?;
        }
        None => {
            if let Some(there) = mounts.top(path) {
                return Err(Error::precondition(format!(
                    "{} has a mount already ({} {}); give another path",
                    path.display(),
                    there.filesystem,
                    there.source.display()
                )));
            }
            if !record.paths.is_empty() && !access.mode.allows_many_targets() {
                let paths: Vec<String> = record.paths.keys().map(|path| path.display().to_string()).collect();
                return Err(Error::precondition(format!(
                    "volume {} is mounted at {}, and {} allows one path; unmount it there first, or mount it with --access \
                     SINGLE_NODE_MULTI_WRITER",
                    volume.words(),
                    paths.join(", "),
                    access.mode
                )));
            }
            record.paths.insert(path.to_owned(), Directory::to_mount_on(path)?);
        }
    }
    Ok(record)
}

fn attachment(session: &Session, volume: &Volume) -> Attachment {
    if !session.driver.can.attach {
        return Attachment::None;
    }
    match &volume.nodes {
        None => Attachment::Unknown,
        Some(_) if volume.is_on(&session.driver.node_id) => Attachment::Before,
        Some(_) => Attachment::Mine,
    }
}

fn calls(session: &Session, options: &Options, volume: &Volume, record: &Record, path: &Path) -> Result<Vec<Call>> {
    let usage = to_use(volume, &options.usage, options.read_only, record.staging.clone())?;
    let (can, node) = (session.driver.can, session.driver.node_id.clone());
    let attach = can.attach.then(|| Call::Attach { volume: Box::new(usage.clone()), node });
    let stage = can.stage.then(|| Call::Stage(Box::new(usage.clone())));
    let publish = Call::Publish { volume: Box::new(usage), target: path.to_owned() };
    Ok(attach.into_iter().chain(stage).chain([publish]).collect())
}

/// Makes the calls; what attaching answers is told to those after it.
async fn make(session: &Session, calls: Vec<Call>) -> Result<()> {
    let mut told = None;
    for mut call in calls {
        if let (Call::Stage(volume) | Call::Publish { volume, .. }, Some(context)) = (&mut call, &told) {
            volume.publish_context = Clone::clone(context);
        }
        if let Answer::Attached(context) = session.make(&call).await? {
            told = Some(context);
        }
        reached(call.method());
    }
    Ok(())
}
