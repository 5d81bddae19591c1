//! Storage systems that a suite plays itself, beside the plugin and on the machine that it runs on: a node of the [rig](crate::rig), where
//! devices can appear.
//!
//! A suite is run for another one by an implementation of [`Storage`], a line in [`Kind::storage`](crate::settings::Kind::storage) and a
//! line among the [backends](crate::conformance::BACKENDS).

mod follow;
mod victim;

use std::fmt::Debug;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Pid;
use tokio::runtime::{Builder, Runtime};

pub(crate) use follow::{Follow, Following};
pub(crate) use victim::Victim;

use crate::kernel::Loop;
use crate::output::Output;

/// A storage system of one plugin. It ends, and its devices go, when it is dropped.
pub trait Storage: Debug + Send + Sync {
    /// The id of the node that tests call `name`, one of [`NODE_A`](crate::plugin::NODE_A) and [`NODE_B`](crate::plugin::NODE_B).
    fn node_id(&self, name: &str) -> String;

    /// The native id of a `what` (`vol` or `snap`) that is well formed, of this system, and of nothing that there ever is.
    fn imagined(&self, what: &str, number: u8) -> String;

    /// The lines of the backend in the configuration of the plugin that serves as the node that tests call `name`.
    fn yaml(&self, name: &str) -> String;

    /// What the environment of a plugin has besides.
    fn environment(&self) -> Vec<(&'static str, String)>;

    /// Kills `process` when it asks for `action` next, with which it is then left alone: before it is done, or when it is done.
    fn kill_at(&self, action: &'static str, moment: Moment, process: Pid);

    /// The devices of its volumes, bound to their ids, when all that was given and taken has come and gone: they do a moment later.
    fn devices(&self) -> Vec<Loop>;

    /// What there is of volumes, snapshots and devices. Panics when it cannot do its work any more.
    fn left(&self) -> Vec<String>;
}

/// The moment of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has come, and is not done.
    Asked,
    /// It is done, and not answered.
    Done,
}

/// Where such systems answer: a test that waits, and blocks its own threads with that, must not keep them from it.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Gives `to` the content of `from`, at once or not at all. On a filesystem with reflinks it is one moment of what is being written.
pub(crate) fn copy(from: &Path, to: &Path) {
    let draft = to.with_extension("draft");
    let copied = Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(&draft).output().unwrap();
    Output::from(copied).well();
    std::fs::rename(draft, to).unwrap();
}
