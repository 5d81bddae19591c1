//! The alphabet: what a CO, a task and misfortune can do. It is small on purpose, so that they meet.

use std::fmt;
use std::str::FromStr;

use crate::plugin::{NODE_A, NODE_B};

/// Writes an enum whose variants are single words of a script.
macro_rules! words {
    ($(#[$documentation:meta])* $name:ident { $($(#[$of_variant:meta])* $variant:ident: $word:expr,)* }) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$of_variant])* $variant,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let known = || Self::ALL.iter().map(|one| one.word()).collect::<Vec<_>>().join(", ");
                Self::ALL.iter().copied().find(|one| one.word() == text).ok_or_else(|| format!("{text:?} is none of {}", known()))
            }
        }
    };
}

words! {
    /// A node, and the process that serves there.
    Node {
        /// The first.
        A: NODE_A,
        /// The second, on the same root.
        B: NODE_B,
    }
}

impl Node {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Node::A => Node::B,
            Node::B => Node::A,
        }
    }
}

words! {
    /// What a CO calls a volume.
    VolumeName {
        /// The first.
        V1: "v1",
        /// The second.
        V2: "v2",
        /// The third.
        V3: "v3",
    }
}

words! {
    /// What a CO calls a snapshot.
    SnapshotName {
        /// The first.
        S1: "s1",
        /// The second.
        S2: "s2",
    }
}

words! {
    /// A task of a node, with a target path for each volume.
    Pod {
        /// The first.
        P1: "p1",
        /// The second.
        P2: "p2",
    }
}

words! {
    /// How large a volume shall be.
    Size {
        /// As small as the form of the run allows.
        Small: "small",
        /// Twice that.
        Large: "large",
    }
}

words! {
    /// How a volume is to be used.
    Access {
        /// SINGLE_NODE_WRITER.
        Writer: "writer",
        /// The same, attached with `readonly`.
        Reader: "reader",
        /// SINGLE_NODE_MULTI_WRITER: several targets on one node.
        Writers: "writers",
        /// MULTI_NODE_READER_ONLY.
        Readers: "readers",
        /// MULTI_NODE_MULTI_WRITER, which devices do not have.
        Sharers: "sharers",
        /// SINGLE_NODE_WRITER of the other access type: raw where the form is mounted, mounted where it is raw.
        OtherType: "other-type",
    }
}

words! {
    /// How many entries a page of a listing may have.
    Page {
        /// As many as there are.
        All: "all",
        /// One.
        One: "1",
        /// Two.
        Two: "2",
    }
}

words! {
    /// How a process ends.
    Signal {
        /// In good order.
        Term: "term",
        /// At once.
        Kill: "kill",
    }
}

/// A volume or snapshot that a CO means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<N> {
    /// Its name.
    pub name: N,
    /// Not the newest of that name, but the one before: what a late call means.
    pub former: bool,
}

/// What a volume is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Another volume.
    Volume(Object<VolumeName>),
    /// A snapshot.
    Snapshot(Object<SnapshotName>),
}

/// Which snapshots are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// All.
    All,
    /// Those of a volume.
    Of(Object<VolumeName>),
    /// One.
    Is(Object<SnapshotName>),
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the words of the sentence that the variant is")]
pub enum Action {
    /// CreateVolume.
    Create { name: VolumeName, size: Size, source: Option<Source> },
    /// DeleteVolume.
    Delete { volume: Object<VolumeName> },
    /// ControllerPublishVolume.
    Attach { volume: Object<VolumeName>, node: Node, access: Access },
    /// ControllerUnpublishVolume; from every node when none is named.
    Detach { volume: Object<VolumeName>, node: Option<Node> },
    /// NodeStageVolume; when late, with the publish context of the attachment before.
    Stage { volume: Object<VolumeName>, access: Access, late: bool },
    /// NodeUnstageVolume.
    Unstage { volume: Object<VolumeName> },
    /// NodePublishVolume.
    Publish { volume: Object<VolumeName>, pod: Pod, access: Access, read_only: bool },
    /// NodeUnpublishVolume.
    Unpublish { volume: Object<VolumeName>, pod: Pod },
    /// ControllerExpandVolume.
    Expand { volume: Object<VolumeName>, size: Size },
    /// NodeExpandVolume at the target path of a pod.
    ExpandHere { volume: Object<VolumeName>, pod: Pod, size: Size },
    /// CreateSnapshot.
    Snapshot { name: SnapshotName, volume: Object<VolumeName> },
    /// DeleteSnapshot.
    DeleteSnapshot { snapshot: Object<SnapshotName> },
    /// ValidateVolumeCapabilities.
    Validate { volume: Object<VolumeName>, access: Access },
    /// ControllerGetVolume.
    Get { volume: Object<VolumeName> },
    /// ListVolumes, page by page.
    List { page: Page },
    /// ListSnapshots, page by page.
    ListSnapshots { filter: Filter, page: Page },
    /// A task writes the pattern of `seed` where the volume of this name is published.
    Write { name: VolumeName, pod: Pod, seed: u16 },
    /// The process is ended and started again.
    Restart { signal: Signal },
}

impl Action {
    /// The verb, which is what runs are counted by.
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Create { source: None, .. } => "create",
            Action::Create { source: Some(Source::Volume(_)), .. } => "create from a volume",
            Action::Create { source: Some(Source::Snapshot(_)), .. } => "create from a snapshot",
            Action::Delete { .. } => "delete",
            Action::Attach { .. } => "attach",
            Action::Detach { .. } => "detach",
            Action::Stage { .. } => "stage",
            Action::Unstage { .. } => "unstage",
            Action::Publish { .. } => "publish",
            Action::Unpublish { .. } => "unpublish",
            Action::Expand { .. } => "expand",
            Action::ExpandHere { .. } => "expand-here",
            Action::Snapshot { .. } => "snapshot",
            Action::DeleteSnapshot { .. } => "delete-snapshot",
            Action::Validate { .. } => "validate",
            Action::Get { .. } => "get",
            Action::List { .. } => "list",
            Action::ListSnapshots { .. } => "list-snapshots",
            Action::Write { .. } => "write",
            Action::Restart { .. } => "restart",
        }
    }

    /// The volume that it is about, if it is about one.
    pub fn volume(&self) -> Option<VolumeName> {
        use Action::*;
        match self {
            Create { name, .. } | Write { name, .. } => Some(*name),
            Delete { volume }
            | Attach { volume, .. }
            | Detach { volume, .. }
            | Stage { volume, .. }
            | Unstage { volume }
            | Publish { volume, .. }
            | Unpublish { volume, .. }
            | Expand { volume, .. }
            | ExpandHere { volume, .. }
            | Snapshot { volume, .. }
            | Validate { volume, .. }
            | Get { volume } => Some(volume.name),
            DeleteSnapshot { .. } | List { .. } | ListSnapshots { .. } | Restart { .. } => None,
        }
    }

    /// Whether it takes a volume away from where it is.
    pub fn leads_down(&self) -> bool {
        use Action::*;
        matches!(self, Unpublish { .. } | Unstage { .. } | Detach { .. } | Delete { .. })
    }

    /// Whether it changes nothing, in whatever state.
    pub fn is_neutral(&self) -> bool {
        use Action::*;
        matches!(self, Validate { .. } | Get { .. } | List { .. } | ListSnapshots { .. } | Restart { .. })
    }

    /// Whether it is a call, which can be disturbed.
    pub fn is_call(&self) -> bool {
        !matches!(self, Action::Write { .. } | Action::Restart { .. })
    }

    /// Whether it is a call of the Controller service, which every process answers for all.
    pub fn is_controllers(&self) -> bool {
        use Action::*;
        self.is_call() && !matches!(self, Stage { .. } | Unstage { .. } | Publish { .. } | Unpublish { .. } | ExpandHere { .. })
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// It is sent twice at the same time, on two connections.
    Twice,
    /// It is sent to both processes at the same time.
    TwiceByBoth,
    /// Its caller goes away after so many microseconds, and calls again.
    Cancelled(u32),
    /// Its caller has given it so many microseconds, and calls again when they are over.
    TimedOut(u32),
    /// The process is killed after so many microseconds and started again, and the caller calls again.
    Killed(u32),
    /// The so-manieth call that the driver makes for it fails, and the caller calls again.
    FailedAt(u32),
    /// The same call is made, but its answer is lost.
    LostAt(u32),
    /// Its caller goes away when the driver makes that call, and calls again.
    CancelledAt(u32),
    /// The process is killed when it makes that call.
    KilledAt(u32),
    /// Another call is made at the same time.
    Beside(Node, Action),
    /// Another call is made while it stands at the so-manieth call that the driver makes for it.
    BesideAt(u32, Node, Action),
}

impl Disturbance {
    /// What runs are counted by.
    pub fn name(self) -> &'static str {
        match self {
            Disturbance::None => "undisturbed",
            Disturbance::Twice => "twice",
            Disturbance::TwiceByBoth => "twice by both",
            Disturbance::Cancelled(_) => "cancelled",
            Disturbance::TimedOut(_) => "timed out",
            Disturbance::Killed(_) => "killed",
            Disturbance::FailedAt(_) => "failed at",
            Disturbance::LostAt(_) => "lost at",
            Disturbance::CancelledAt(_) => "cancelled at",
            Disturbance::KilledAt(_) => "killed at",
            Disturbance::Beside(..) => "beside",
            Disturbance::BesideAt(..) => "held at",
        }
    }

    /// Whether its effect depends on the moment, so that the same script may end in two ways.
    pub fn is_timed(self) -> bool {
        use Disturbance::*;
        matches!(self, Twice | TwiceByBoth | Cancelled(_) | TimedOut(_) | Killed(_) | Beside(..))
    }

    /// Whether it can happen to `action`.
    pub fn suits(self, action: &Action) -> bool {
        match self {
            Disturbance::None => true,
            Disturbance::TwiceByBoth => action.is_controllers(),
            Disturbance::Beside(_, other) | Disturbance::BesideAt(_, _, other) => action.is_call() && other.is_call(),
            _ => action.is_call(),
        }
    }
}

/// One step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The process that is called, or the node on which the task runs.
    pub node: Node,
    /// What is done.
    pub action: Action,
    /// What happens meanwhile.
    pub disturbance: Disturbance,
}
