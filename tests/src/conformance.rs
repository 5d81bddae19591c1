//! The conformance suite: one async function a case over a [`Plugin`], run for every backend that has the abilities it needs.
//!
//! A new backend is one line in [`BACKENDS`]. A case is a function in one of the modules and one line in that module's table. The
//! case that compares what the plugin advertises with the backend's line keeps an ability from being forgotten there.

mod attach;
mod blank;
mod bounds;
mod capacity;
mod create;
mod data;
mod expand;
mod flags;
mod group;
mod health;
mod identity;
mod listing;
mod modify;
mod publish;
mod restart;
mod secrets;
mod snapshot;
mod stage;
mod topology;

use std::future::Future;
use std::pin::Pin;

use crate::ground::Ground;
use crate::kernel::may_grow_ext4;
use crate::plugin::Plugin;
use crate::settings::{Kind, Settings};
use crate::usage::Usage;

/// What a case needs of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Volumes are used as mounted directories in this run.
    Mount,
    /// Volumes are used as raw devices in this run.
    Block,
    /// Volumes are devices, whichever way they are used in this run.
    Device,
    /// Volumes can be mounted with a filesystem of the CO's choice.
    Format,
    /// Volumes can be snapshotted and made from snapshots and from each other.
    Cut,
    /// Volumes can be snapshotted in groups, at one moment.
    Group,
    /// The same in no time, whatever is written meanwhile.
    Reflink,
    /// The copy of a snapshot takes time.
    Copy,
    /// Properties can be changed later.
    Modify,
    /// Sizes hold, and what is promised is counted.
    Sized,
    /// Many nodes can write at one time.
    Shared,
    /// Volumes are directories of this machine.
    Plain,
    /// Volumes can be reached from one place only.
    Placed,
    /// A volume has a size by its own account.
    Measured,
}

/// A way of running the plugin.
#[derive(Debug)]
pub struct Backend {
    /// Its name in the names of tests.
    pub name: &'static str,
    /// What the pool's volumes are.
    pub kind: Kind,
    /// What the pool stands on.
    pub ground: Ground,
    /// Whether its volumes are used as raw devices.
    pub block: bool,
    /// What it can do.
    pub has: &'static [Need],
}

/// Every backend that the suite is run for.
pub const BACKENDS: &[Backend] = {
    use Need::*;
    &[
        Backend {
            name: "image-ext4",
            kind: Kind::Image,
            ground: Ground::Ext4,
            block: false,
            has: &[Mount, Device, Format, Cut, Group, Copy, Modify, Sized, Placed, Measured],
        },
        Backend {
            name: "image-xfs",
            kind: Kind::Image,
            ground: Ground::Xfs,
            block: false,
            has: &[Mount, Device, Format, Cut, Group, Reflink, Modify, Sized, Placed, Measured],
        },
        Backend {
            name: "block",
            kind: Kind::Image,
            ground: Ground::Ext4,
            block: true,
            has: &[Block, Device, Cut, Group, Copy, Modify, Sized, Placed, Measured],
        },
        Backend {
            name: "directory",
            kind: Kind::Directory,
            ground: Ground::Ext4,
            block: false,
            has: &[Mount, Shared, Plain, Placed, Measured],
        },
        Backend { name: "nfs", kind: Kind::Nfs, ground: Ground::Nfs, block: false, has: &[Mount, Shared, Cut] },
    ]
};

impl Backend {
    /// Starts a plugin of this kind.
    pub async fn start(&self, ground: &std::path::Path) -> Plugin {
        let usage = if self.block { Usage::block() } else { Usage::mount() };
        Plugin::start(ground, Settings::new(self.kind), usage).await
    }

    /// Whether `case` can be run here.
    pub fn can_run(&self, case: &Case) -> bool {
        case.needs.iter().all(|need| self.has.contains(need))
    }
}

/// A running case.
pub type Run<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name: a sentence.
    pub name: &'static str,
    /// What it needs.
    pub needs: &'static [Need],
    /// Runs it; a panic is a failure.
    pub run: for<'a> fn(&'a Plugin) -> Run<'a>,
}

/// Writes a module's table: `table! { function: [Need, …], … }`.
macro_rules! table {
    ($($function:ident: [$($need:ident),*],)*) => {
        /// The cases of this module.
        pub(super) const CASES: &[super::Case] = &[$(super::Case {
            name: stringify!($function),
            needs: &[$(super::Need::$need),*],
            run: |plugin| Box::pin($function(plugin)),
        }),*];
    };
}
use table;

/// Every case.
pub fn cases() -> Vec<Case> {
    [
        identity::CASES,
        create::CASES,
        bounds::CASES,
        topology::CASES,
        capacity::CASES,
        listing::CASES,
        modify::CASES,
        attach::CASES,
        stage::CASES,
        publish::CASES,
        flags::CASES,
        data::CASES,
        expand::CASES,
        blank::CASES,
        snapshot::CASES,
        group::CASES,
        health::CASES,
        restart::CASES,
        secrets::CASES,
    ]
    .concat()
}

/// The size of a volume whose size does not matter.
const SMALL: i64 = 16 * crate::MIB;

/// The filesystems, each with the smallest size in MiB that it is tested with.
const FILESYSTEMS: [(&str, i64); 3] = [("ext4", 16), ("xfs", 320), ("btrfs", 128)];

/// The filesystems that can be grown here.
fn growing() -> impl Iterator<Item = (&'static str, i64)> {
    let may_grow_ext4 = may_grow_ext4();
    FILESYSTEMS.into_iter().filter(move |(filesystem, _)| may_grow_ext4 || *filesystem != "ext4")
}
