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

use crate::MIB;
use crate::ground::Ground;
use crate::kernel::may_grow_ext4;
use crate::plugin::Plugin;
use crate::settings::{Kind, Settings};
use crate::usage::Usage;

/// What a case needs of a backend, beside what all have.
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
    /// A cut of a device is one moment of it, whatever is written meanwhile, and takes no time.
    Moment,
    /// The copy of a snapshot takes time.
    Copy,
    /// What a mounted filesystem has not written yet is in a cut of it.
    Still,
    /// Properties can be changed later.
    Modify,
    /// Blocks can be set aside for a volume.
    Thick,
    /// Sizes hold.
    Sized,
    /// What is promised is counted, and no more is promised than there is.
    Counted,
    /// How much room there is is known.
    Room,
    /// A node can see to which node a volume was given, and for what.
    Granted,
    /// The storage system can see whether a node has a volume in use.
    Guarded,
    /// A publish context says to which node a volume was given, and whether for reading, and the node goes by that.
    Told,
    /// A device that has grown shows it when its node asks for it, and not before.
    Untold,
    /// A volume can be given to a node without the right to write.
    ReadOnly,
    /// Many nodes can read at one time.
    Readers,
    /// Two nodes that are one machine can use a volume at one time.
    Together,
    /// A volume can be deleted before its snapshots.
    Outlived,
    /// All that a volume was asked for with is kept with it.
    Noted,
    /// Whether anything was ever written to a volume is known, wherever that was.
    Traced,
    /// A node has no more volumes than is configured.
    Limited,
    /// A node has a limit of its own if none is configured.
    Few,
    /// No volume can be written by several nodes.
    Single,
    /// There is no other place than that of these nodes.
    Here,
    /// What volumes hold are files and directories that a test can take away.
    Kept,
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
    /// Cases must need one of these, if there are any: another line has the rest.
    pub only: &'static [Need],
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
            has: &[
                Mount, Device, Format, Cut, Outlived, Noted, Group, Copy, Still, Modify, Thick, Sized, Counted, Room, Granted,
                Guarded, ReadOnly, Readers, Together, Traced, Limited, Single, Here, Kept, Placed, Measured,
            ],
            only: &[],
        },
        Backend {
            name: "image-xfs",
            kind: Kind::Image,
            ground: Ground::Xfs,
            block: false,
            has: &[
                Mount, Device, Format, Cut, Outlived, Noted, Group, Moment, Still, Modify, Thick, Sized, Counted, Room, Granted,
                Guarded, ReadOnly, Readers, Together, Traced, Limited, Single, Here, Kept, Placed, Measured,
            ],
            only: &[],
        },
        Backend {
            name: "block",
            kind: Kind::Image,
            ground: Ground::Ext4,
            block: true,
            has: &[
                Block, Device, Cut, Outlived, Noted, Group, Copy, Modify, Thick, Sized, Counted, Room, Granted, Guarded,
                ReadOnly, Readers, Together, Traced, Limited, Single, Here, Kept, Placed, Measured,
            ],
            only: &[],
        },
        Backend {
            name: "directory",
            kind: Kind::Directory,
            ground: Ground::Ext4,
            block: false,
            has: &[
                Mount, Shared, Plain, Room, Granted, Guarded, ReadOnly, Readers, Together, Limited, Here, Kept, Placed, Measured,
            ],
            only: &[],
        },
        Backend {
            name: "nfs",
            kind: Kind::Nfs,
            ground: Ground::Nfs,
            block: false,
            has: &[Mount, Shared, Cut, Outlived, Noted, Room, Granted, Guarded, ReadOnly, Readers, Together, Limited, Kept],
            only: &[],
        },
        // Its nodes ask nobody, and the storage system asks no node: a device is there or not.
        Backend {
            name: "ebs",
            kind: Kind::Ebs,
            ground: Ground::Devices,
            block: false,
            has: &[Mount, Device, Format, Cut, Outlived, Noted, Moment, Modify, Sized, Limited, Few, Placed, Measured],
            only: &[],
        },
        Backend {
            name: "ebs-block",
            kind: Kind::Ebs,
            ground: Ground::Devices,
            block: true,
            has: &[Block, Device, Cut, Outlived, Noted, Moment, Modify, Sized, Limited, Few, Placed, Measured],
            only: &[Block],
        },
        // Nor do these nodes ask anybody. Who has which volume, and for what, the array knows.
        Backend {
            name: "scaleio",
            kind: Kind::ScaleIo,
            ground: Ground::Devices,
            block: false,
            has: &[Mount, Device, Format, Cut, Group, Moment, Sized, Room, Told, Untold, ReadOnly, Readers, Single, Measured],
            only: &[],
        },
        Backend {
            name: "scaleio-block",
            kind: Kind::ScaleIo,
            ground: Ground::Devices,
            block: true,
            has: &[Block, Device, Cut, Group, Moment, Sized, Room, Told, Untold, ReadOnly, Readers, Single, Measured],
            only: &[Block],
        },
    ]
};

impl Backend {
    /// Starts a plugin of this kind.
    pub async fn start(&self, ground: &std::path::Path) -> Plugin {
        let usage = if self.block { Usage::block() } else { Usage::mount() };
        Plugin::start(ground, Settings::new(self.kind), usage).await.with(self.has)
    }

    /// Whether `case` can be run here.
    pub fn can_run(&self, case: &Case) -> bool {
        let is_meant = self.only.is_empty() || case.needs.iter().any(|need| self.only.contains(need));
        is_meant && case.needs.iter().all(|need| self.has.contains(need))
    }
}

/// A running case.
pub type Run<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A case.
#[derive(Clone, Copy, Debug)]
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

/// The filesystems, each with the size in bytes of a small volume that it is tested with.
fn filesystems(plugin: &Plugin) -> impl Iterator<Item = (&'static str, i64)> + use<> {
    let sizes = plugin.sizes();
    [("ext4", 16), ("xfs", 320), ("btrfs", 128)].into_iter().map(move |(name, mebibytes)| (name, sizes.fit(mebibytes * MIB)))
}

/// The filesystems that can be grown here.
fn growing(plugin: &Plugin) -> impl Iterator<Item = (&'static str, i64)> + use<> {
    let may_grow_ext4 = may_grow_ext4();
    filesystems(plugin).filter(move |(filesystem, _)| may_grow_ext4 || *filesystem != "ext4")
}
