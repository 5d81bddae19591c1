//! `hawser volume attach` and `hawser volume detach`.

use std::path::PathBuf;

use hawser_bridge::driver::{Context, Use};
use hawser_volume::{Error, Kind, Result};
use serde::Serialize;

use super::call::Call;
use super::capability::Usage;
use super::find::Typed;
use super::record::State;
use super::session::{Session, ToChange};
use super::trace::{Mounts, refuse_mounted};
use super::volume::Volume;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Attach {
    /// The volume: an id, a name, or as much of one as means this volume alone.
    volume: String,
    /// The node. Without it this one.
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    #[command(flatten)]
    usage: Usage,
    /// For reading only.
    #[arg(long)]
    read_only: bool,
    /// Refused: what another node has is taken from it by no command. See docs/takeover.md.
    #[arg(long, hide = true)]
    force: bool,
    #[command(flatten)]
    common: ToChange,
}

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Detach {
    /// The volume: an id, a name, or as much of one as means this volume alone.
    volume: String,
    /// The node. Without it this one.
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// You have seen to it that nothing on that node uses the volume. Needed for another node than this one, whose mounts cannot be seen
    /// from here.
    #[arg(long, requires = "node")]
    unused: bool,
    /// Refused: what another node has is taken from it by no command. See docs/takeover.md.
    #[arg(long, hide = true)]
    force: bool,
    /// A volume that does not exist is a success. One that is not attached is so always.
    #[arg(short, long)]
    idempotent: bool,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    common: ToChange,
}

/// What came of it. The fields are those of the JSON output.
#[derive(Debug, Serialize)]
struct Moved<'a> {
    id: &'a str,
    name: Option<&'a str>,
    node: &'a str,
    attached: bool,
}

/// The refusal of `--force`.
fn no_force(volume: &Volume, node: &str) -> Error {
    let elsewhere = volume.elsewhere(node);
    let holder =
        if elsewhere.is_empty() { "no other node has it".to_owned() } else { format!("{} has it", elsewhere.join(", ")) };
    Error::invalid(format!(
        "--force is not taken: of volume {}, {holder}. A volume is taken from another node only when that node is proved dead, by the bridge \
         (docs/takeover.md); two nodes that write to one filesystem destroy it",
        volume.words()
    ))
}

/// Refuses a volume that another node has and that only one may have.
pub(super) fn refuse_held(volume: &Volume, node: &str, is_single_node: bool) -> Result<()> {
    let elsewhere = volume.elsewhere(node);
    if elsewhere.is_empty() || !is_single_node {
        return Ok(());
    }
    let holders = elsewhere.join(", ");
    Err(Error::precondition(format!(
        "volume {} is attached to {holders}. If {holders} is alive, end there what uses it and detach it (hawser why {} says who). If it is \
         dead, the bridge takes the volume over as soon as that is proved (docs/takeover.md); no option of this command does",
        volume.words(),
        volume.id
    )))
}

/// A volume that is to be used, in the words of the driver's client.
pub(super) fn to_use(volume: &Volume, usage: &Usage, read_only: bool, staging: PathBuf) -> Result<Use> {
    Ok(Use {
        id: volume.id.clone(),
        context: volume.context.clone(),
        capability: usage.capability()?,
        read_only,
        publish_context: Context::new(),
        staging,
    })
}

/// Attaches.
pub(super) async fn attach(options: &Attach) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(
        session.driver.can.attach,
        "attach volumes: they need not be, mount them right away",
        "PUBLISH_UNPUBLISH_VOLUME",
    )?;
    let node = node(&session, options.node.as_deref())?;
    let volume = session.volume(&options.volume, Typed::Enough).await?;
    if options.force {
        return Err(no_force(&volume, &node));
    }
    if options.read_only {
        session.demand(session.driver.can.attach_read_only, "attach volumes read-only", "PUBLISH_READONLY")?;
    }
    refuse_held(&volume, &node, options.usage.access()?.mode.is_single_node())?;
    let wanted = to_use(&volume, &options.usage, options.read_only, PathBuf::new())?;
    let call = Call::Attach { volume: Box::new(wanted), node: node.clone() };
    if options.common.dry_run {
        return session.plan(&[call]);
    }
    session.make(&call).await.map_err(|error| explain(error, &volume))?;
    let moved = Moved { id: &volume.id, name: volume.name.as_deref(), node: &node, attached: true };
    session.output.one(&moved, &volume.id, &format!("{} is attached to {node}", volume.words()))
}

/// Adds where to go on when another node turned out to have the volume.
pub(super) fn explain(error: Error, volume: &Volume) -> Error {
    if error.kind() != Kind::Precondition {
        return error;
    }
    let kind = error.kind();
    Error::new(kind, format!("{}. `hawser why {}` says who has it and what to do", error.chain(), volume.id))
}

fn node(session: &Session, typed: Option<&str>) -> Result<String> {
    match typed {
        Some("") => Err(Error::invalid("--node is empty; give a node's id, or leave it out for this one")),
        Some(node) => Ok(node.to_owned()),
        None => session.this_node().map(str::to_owned),
    }
}

/// Detaches.
pub(super) async fn detach(options: &Detach) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(session.driver.can.attach, "attach or detach volumes", "PUBLISH_UNPUBLISH_VOLUME")?;
    let node = node(&session, options.node.as_deref())?;
    let volume = match session.volume(&options.volume, Typed::Enough).await {
        Ok(volume) => volume,
        Err(error) if options.idempotent && error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if options.force {
        return Err(no_force(&volume, &node));
    }
    let is_here = node == session.driver.node_id;
    if is_here {
        refuse_used_here(&session, &volume, &options.state).await?;
    } else if !options.unused {
        return Err(Error::precondition(format!(
            "whether {node} uses volume {} cannot be seen from here. End there what uses it, or run the command there; or say --unused, if \
             you have seen to it that nothing is mounted. A node that is dead is for the bridge (docs/takeover.md)",
            volume.words()
        )));
    }
    let is_attached = volume.nodes.is_none() || volume.is_on(&node);
    let calls: Vec<Call> =
        is_attached.then(|| Call::Detach { volume: volume.id.clone(), node: node.clone() }).into_iter().collect();
    if options.common.dry_run {
        return session.plan(&calls);
    }
    for call in &calls {
        session.make(call).await?;
    }
    let moved = Moved { id: &volume.id, name: volume.name.as_deref(), node: &node, attached: false };
    let more = if is_attached { "" } else { ", and was not before" };
    session.output.one(&moved, &volume.id, &format!("{} is not attached to {node}{more}", volume.words()))
}

/// `Precondition` when somebody on this node uses the volume.
async fn refuse_used_here(session: &Session, volume: &Volume, state: &State) -> Result<()> {
    let what = "not detached";
    session.refuse_held_by_bridge(volume, what).await?;
    let mut places = session.places_of_bridge(&volume.id).await?;
    places.own = state.places(&session.driver.name, &volume.id)?.own;
    refuse_mounted(volume, &Mounts::read()?.of(volume, &places)?, what)?;
    if places.own.is_empty() {
        return Ok(());
    }
    Err(Error::precondition(format!(
        "{what}: `hawser volume mount` mounted volume {}, or began to; hawser volume unmount {} takes it down and detaches it",
        volume.words(),
        volume.id
    )))
}
