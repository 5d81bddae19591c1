//! What a run is played on: a backend of the conformance suite with a filesystem and sizes.

use hawser_proto::csi::volume_capability::access_mode::Mode;

use super::operation::{Access, Size};
use crate::MIB;
use crate::conformance::{BACKENDS, Backend, Need};
use crate::ground::Ground;
use crate::kernel::may_grow_ext4;
use crate::settings::Kind;
use crate::usage::Usage;

/// The filesystems, each with the least size of its volumes in MiB; the other size is twice that. btrfs grows while it is mounted on
/// every machine, and is quicker to make than xfs, whose log alone has 64 MiB.
const FILESYSTEMS: [(&str, i64); 2] = [("ext4", 16), ("btrfs", 128)];

/// What a run is played on.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// How the plugin is run.
    pub backend: &'static Backend,
    filesystem: &'static str,
    small: i64,
    may_grow_ext4: bool,
}

/// What a way of using a volume means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// As a raw device.
    pub block: bool,
    /// Whether it is attached without writing, by the mode or by the flag of ControllerPublishVolume.
    pub attached_read_only: bool,
    /// Whether the mode itself is one of readers.
    pub reads: bool,
    /// Whether one node alone may have the volume.
    pub is_single_node: bool,
    /// Whether a node may show it at several targets.
    pub has_many_targets: bool,
    /// Whether the backend has it.
    pub supported: bool,
    /// Whether it can be attached as that asks for, if the backend has it.
    pub can_be_attached: bool,
}

impl Form {
    /// Every form.
    pub fn all() -> Vec<Self> {
        let may_grow_ext4 = may_grow_ext4();
        let of = |backend: &'static Backend| {
            // In a node of the rig everything takes its time, and what a backend has to do with a filesystem is the same for each.
            let several =
                backend.kind == Kind::Image && backend.has.contains(&Need::Format) && backend.has.contains(&Need::Moment);
            let filesystems = FILESYSTEMS.into_iter().filter(move |(name, _)| several || *name == "ext4");
            filesystems.map(move |(filesystem, mebibytes)| {
                let small = backend.kind.sizes().fit(mebibytes * MIB);
                Self { backend, filesystem, small, may_grow_ext4 }
            })
        };
        BACKENDS.iter().flat_map(of).collect()
    }

    /// The form of this name.
    pub fn named(name: &str) -> Result<Self, String> {
        let names = || Self::all().iter().map(Self::name).collect::<Vec<_>>().join(", ");
        Self::all().into_iter().find(|form| form.name() == name).ok_or_else(|| format!("form {name:?} is none of {}", names()))
    }

    /// Its name: that of the backend, and of the filesystem if there is a choice.
    pub fn name(&self) -> String {
        if self.has(Need::Mount) && self.has(Need::Format) {
            format!("{}/{}", self.backend.name, self.filesystem)
        } else {
            self.backend.name.to_owned()
        }
    }

    /// Whether the backend has an ability.
    pub fn has(&self, need: Need) -> bool {
        self.backend.has.contains(&need)
    }

    /// Whether a mounted filesystem can be made larger on this machine.
    pub fn may_grow(&self) -> bool {
        self.filesystem != "ext4" || self.may_grow_ext4
    }

    /// A size in bytes.
    pub fn bytes(&self, size: Size) -> i64 {
        match size {
            Size::Small => self.small,
            Size::Large => 2 * self.small,
        }
    }

    /// A size in words.
    pub fn words(&self, bytes: i64) -> String {
        let known = Size::ALL.iter().find(|size| self.bytes(**size) == bytes);
        known.map_or_else(|| format!("{bytes} bytes"), ToString::to_string)
    }

    /// How a CO says that it uses a volume in this way.
    pub fn usage(&self, access: Access) -> Usage {
        let usage = match (self.backend.block == (access == Access::OtherType), self.has(Need::Device)) {
            (true, true) => Usage::mount().filesystem(self.filesystem),
            // nfs(5): what was not there is looked for again at once; else a node may not see a new file for `acdirmin`, 30 s.
            (true, false) if self.backend.ground == Ground::Nfs => Usage::mount().flag("lookupcache=positive"),
            // A volume of directories has the filesystem that it is in.
            (true, false) => Usage::mount(),
            (false, _) => Usage::block(),
        };
        match access {
            Access::Writer | Access::OtherType => usage,
            Access::Reader => usage.readonly(),
            Access::Writers => usage.mode(Mode::SingleNodeMultiWriter),
            Access::Readers => usage.mode(Mode::MultiNodeReaderOnly),
            Access::Sharers => usage.mode(Mode::MultiNodeMultiWriter),
        }
    }

    /// What that means.
    pub fn way(&self, access: Access) -> Way {
        let block = self.backend.block != (access == Access::OtherType);
        Way {
            block,
            attached_read_only: matches!(access, Access::Reader | Access::Readers),
            reads: access == Access::Readers,
            is_single_node: !matches!(access, Access::Readers | Access::Sharers),
            has_many_targets: matches!(access, Access::Writers | Access::Readers | Access::Sharers),
            supported: match access {
                Access::Sharers => self.has(Need::Shared),
                Access::Readers => self.has(Need::Readers) && (!block || self.has(Need::Device)),
                _ => !block || self.has(Need::Device),
            },
            // ControllerPublishVolume alone is told of `readonly`.
            can_be_attached: access != Access::Reader || self.has(Need::ReadOnly),
        }
    }
}
