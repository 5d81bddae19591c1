//! `hawser volume`, `snapshot`, `node` and `why`: what a person does with volumes, through the socket of a CSI driver, anybody's.
//!
//! ```text
//!   what was typed ──▶ Session (the driver, asked what it can do) ──▶ find the one volume that is meant
//!                          ──▶ the calls that it comes to ──▶ printed (--dry-run), or made one after the other
//! ```
//!
//! Each verb has a file. What it would do is a list of calls before anything is done, so that `--dry-run` prints exactly what the
//! verb makes. Nothing is remembered but what `mount` makes (`client/record.rs`), because only that has to be told from what others made.

mod attach;
mod bridge;
mod call;
mod capability;
mod create;
mod expand;
mod find;
mod inspect;
mod list;
mod mount;
mod node;
mod output;
mod progress;
mod record;
mod remove;
mod session;
mod snapshot;
mod table;
mod trace;
mod unmount;
mod volume;
mod why;

use std::process::ExitCode;

use clap::Subcommand;
use hawser_volume::{Kind, Result};

use crate::{adopt, leaked};

pub use node::Options as NodeOptions;
pub use why::Options as WhyOptions;

/// What can be done with volumes.
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// List the volumes: name, id, size, and which node has each.
    #[command(visible_aliases = ["list", "l"], alias = "get")]
    Ls(list::Options),
    /// Show all that the driver says of a volume.
    #[command(visible_alias = "show")]
    Inspect(inspect::Options),
    /// Make a volume of exactly this size and print its id.
    #[command(visible_aliases = ["new", "c"])]
    Create(Box<create::Create>),
    /// Make a volume with the content of another one, and print its id.
    Clone(Box<create::Clone>),
    /// Delete volumes, with what is in them. Each by its full id or its full name.
    #[command(visible_aliases = ["remove", "r"], aliases = ["delete", "del"])]
    Rm(remove::Options),
    /// Give a volume to a node (ControllerPublishVolume). Nothing is mounted.
    #[command(visible_alias = "a")]
    Attach(attach::Attach),
    /// Take a volume from a node that does not use it any more (ControllerUnpublishVolume).
    #[command(visible_alias = "d")]
    Detach(attach::Detach),
    /// Mount a volume at a path of this machine: it is attached, staged and published. Made for looking at data by hand; what has to be
    /// there after a reboot is for a CO. Needs the driver's Node service on this machine.
    #[command(visible_alias = "m")]
    Mount(mount::Options),
    /// Take down what `hawser volume mount` made, and nothing else.
    #[command(visible_aliases = ["umount", "u"])]
    Unmount(unmount::Options),
    /// Make a volume larger, to exactly this size.
    #[command(visible_aliases = ["grow", "resize"])]
    Expand(expand::Options),
    /// Take a snapshot of a volume and print its id.
    Snapshot(snapshot::Take),
    /// List the volumes, attachments and temporary snapshots that carry Hawser's tags and that nobody claims (type: ebs). Deletes
    /// nothing unless it is told to.
    Leaked(leaked::Options),
    /// Let a volume that something else made, such as REX-Ray, be found under a name (type: ebs). Nothing in it is changed.
    Adopt(adopt::Options),
}

/// What can be done with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// List the snapshots.
    #[command(visible_aliases = ["list", "l"], alias = "get")]
    Ls(snapshot::List),
    /// Delete snapshots. Each by its full id or its full name.
    #[command(visible_aliases = ["remove", "r"], aliases = ["delete", "del"])]
    Rm(snapshot::Remove),
}

/// Does what was typed about volumes.
pub async fn volume(command: VolumeCommand) -> Result<ExitCode> {
    match command {
        VolumeCommand::Ls(options) => list::run(&options).await,
        VolumeCommand::Inspect(options) => inspect::run(&options).await,
        VolumeCommand::Create(options) => create::create(&options).await,
        VolumeCommand::Clone(options) => create::clone(&options).await,
        VolumeCommand::Rm(options) => remove::run(&options).await,
        VolumeCommand::Attach(options) => attach::attach(&options).await,
        VolumeCommand::Detach(options) => attach::detach(&options).await,
        VolumeCommand::Mount(options) => mount::run(&options).await,
        VolumeCommand::Unmount(options) => unmount::run(&options).await,
        VolumeCommand::Expand(options) => expand::run(&options).await,
        VolumeCommand::Snapshot(options) => snapshot::take(&options).await,
        VolumeCommand::Leaked(options) => leaked::run(&options).await,
        VolumeCommand::Adopt(options) => adopt::run(&options).await,
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Does what was typed about snapshots.
pub async fn snapshot(command: SnapshotCommand) -> Result<ExitCode> {
    match command {
        SnapshotCommand::Ls(options) => snapshot::list(&options).await,
        SnapshotCommand::Rm(options) => snapshot::remove(&options).await,
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Says what this node has.
pub async fn node(options: &NodeOptions) -> Result<ExitCode> {
    node::run(options).await.map(|()| ExitCode::SUCCESS)
}

/// Says what keeps a volume.
pub async fn why(options: &WhyOptions) -> Result<ExitCode> {
    why::run(options).await
}

/// What a script can tell failures apart by. Where sysexits.h has a number for it, it is that one.
pub fn exit_code(kind: Kind) -> u8 {
    match kind {
        // EX_USAGE: the command has to be written otherwise.
        Kind::Invalid | Kind::OutOfRange | Kind::BadToken => 64,
        // EX_NOINPUT: there is no such volume, snapshot or node.
        Kind::NotFound => 66,
        // EX_UNAVAILABLE: this driver cannot do that at all.
        Kind::Unsupported => 69,
        // EX_SOFTWARE: a fault of the driver, or of the machine.
        Kind::Internal => 70,
        // EX_CANTCREAT: the name is taken, or there is no room.
        Kind::AlreadyExists | Kind::Exhausted => 73,
        // EX_TEMPFAIL: the same command may succeed later.
        Kind::Unavailable | Kind::DeadlineExceeded => 75,
        // EX_NOPERM.
        Kind::PermissionDenied | Kind::Unauthenticated => 77,
        // Somebody must act first: another node has it, it is in use.
        Kind::Precondition => 3,
    }
}
