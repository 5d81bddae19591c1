//! What a CO may believe: the volumes, snapshots, attachments, mounts and contents that follow from the answers that it got.
//!
//! No I/O, and nothing of the product: what a call may answer is in [`controller`](super::controller) and [`node`](super::node),
//! what a look at the plugin and the kernel must find is in [`view`](super::view).

use std::collections::BTreeMap;
use std::fmt;

use tonic::Code;

use super::form::Form;
use super::operation::{Access, Action, Disturbance, Node, Object, Operation, Pod, Size, SnapshotName, VolumeName};
use super::view::Lines;
use crate::conformance::Need;

/// One of the objects that had a name one after the other: a call for a former one must not reach the present one. The number 0
/// is that of an object that was never made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key<N> {
    /// The name.
    pub name: N,
    /// Which one of that name.
    pub number: u32,
}

impl<N: fmt::Display> fmt::Display for Key<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.number)
    }
}

/// A volume.
pub type VolumeKey = Key<VolumeName>;
/// A snapshot.
pub type SnapshotKey = Key<SnapshotName>;

/// What a volume was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A volume.
    Volume(VolumeKey),
    /// A snapshot.
    Snapshot(SnapshotKey),
}

/// What is in a volume or snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Nothing was ever written.
    Blank,
    /// The pattern of a seed, written to the raw device.
    Raw(u16),
    /// A filesystem.
    Filesystem {
        /// The pattern that is in its file.
        pattern: Option<u16>,
        /// The size that it fills.
        size: Size,
        /// It was cut while it was mounted, so its journal may have to be replayed.
        replay: bool,
    },
}

/// What a node was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// For which use, as ControllerPublishVolume was told.
    pub access: Access,
    /// Which attachment of the volume it is.
    pub epoch: u32,
}

/// A mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount {
    /// Of the device itself.
    pub block: bool,
    /// Without writing.
    pub read_only: bool,
}

/// A volume on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// NodeStageVolume has succeeded, and NodeUnstageVolume has not since.
    pub held: bool,
    /// What is at the staging path.
    pub staged: Option<Mount>,
    /// What is at the target paths.
    pub pods: BTreeMap<Pod, Mount>,
}

impl Place {
    /// Everything that is mounted.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.staged.iter().chain(self.pods.values())
    }
}

/// The device that a volume is on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The size that it shows.
    pub size: Size,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its size.
    pub size: Size,
    /// What it was made from.
    pub origin: Option<Origin>,
    /// What it comes after now that some of what it came from may have gone.
    pub ancestor: Option<Origin>,
    /// What is in it.
    pub data: Data,
    /// How many attachments it has had.
    pub epoch: u32,
    /// Who has it.
    pub attachments: BTreeMap<Node, Attachment>,
    /// What the context of each attachment says of it, by its number, where contexts say something: the node, and whether it may only read.
    pub told: BTreeMap<u32, (Node, bool)>,
    /// Where it is.
    pub places: BTreeMap<Node, Place>,
    /// The device, while a node holds it; one that shows its size when it is asked for, while a node has been given it, and with the size that
    /// it has at least.
    pub device: Option<Device>,
    /// The filesystem of the device, while it is mounted: one for all mounts of it.
    pub opened: Option<Opened>,
}

/// How a filesystem is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// For writing, whether or not each mount of it is.
    Writable,
    /// Without writing.
    ReadOnly,
}

impl Volume {
    /// The volume at a node.
    pub fn place(&self, node: Node) -> &Place {
        static NOWHERE: Place = Place { held: false, staged: None, pods: BTreeMap::new() };
        self.places.get(&node).unwrap_or(&NOWHERE)
    }

    /// The volume at a node, to be changed.
    pub fn place_mut(&mut self, node: Node) -> &mut Place {
        self.places.entry(node).or_default()
    }

    /// Everything that is mounted of it, on both nodes.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.places.values().flat_map(Place::mounts)
    }

    /// Whether a node other than `node` holds it.
    pub fn is_held_beside(&self, node: Node) -> bool {
        self.places.iter().any(|(other, place)| *other != node && place.held)
    }
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The volume that it shows.
    pub of: VolumeKey,
    /// The size of that volume at the cut.
    pub size: Size,
    /// What was in it.
    pub data: Data,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct State {
    /// What the run is played on.
    pub form: Form,
    /// The volumes that exist.
    pub volumes: BTreeMap<VolumeKey, Volume>,
    /// The snapshots that exist.
    pub snapshots: BTreeMap<SnapshotKey, Snapshot>,
    /// How many volumes had a name.
    pub made: BTreeMap<VolumeName, u32>,
    /// How many snapshots had a name.
    pub cut: BTreeMap<SnapshotName, u32>,
    /// How many there were when the calls were sent that are being judged: what they mean was settled then.
    meant: Option<(BTreeMap<VolumeName, u32>, BTreeMap<SnapshotName, u32>)>,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let parts = |state: &Self| (state.volumes.clone(), state.snapshots.clone(), state.made.clone(), state.cut.clone());
        parts(self) == parts(other)
    }
}

/// What the caller of an operation learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and this is said.
    Done(Reply),
    /// The call is refused.
    Refused(Code),
    /// The task finds that it cannot write.
    ReadOnly,
    /// There is nothing where the task would write, or somebody else's filesystem.
    Nowhere,
}

/// What a call that is done says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// That this is the volume.
    Volume(VolumeKey),
    /// The publish context of this attachment.
    Context(VolumeKey, u32),
    /// The size, and on the controller's side whether the node has to follow.
    Size(Size, Option<bool>),
    /// That this is the snapshot.
    Snapshot(SnapshotKey),
    /// Whether the volume can be used so.
    Confirmed(bool),
    /// What is listed.
    Listed(Lines),
}

/// An answer that is right, and what is so from then on.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The answer.
    pub answer: Answer,
    /// The state.
    pub state: State,
}

impl State {
    /// Nothing.
    pub fn new(form: Form) -> Self {
        Self {
            form,
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            made: BTreeMap::new(),
            cut: BTreeMap::new(),
            meant: None,
        }
    }

    /// Everything that an operation may answer, with what follows; the likeliest first, never nothing.
    pub fn outcomes(&self, node: Node, action: &Action) -> Vec<Outcome> {
        match *action {
            Action::Create { name, size, source } => self.create(name, size, source),
            Action::Delete { volume } => self.delete(volume),
            Action::Attach { volume, node, access } => self.attach(volume, node, access),
            Action::Detach { volume, node } => self.detach(volume, node),
            Action::Stage { volume, access, late } => self.stage(node, volume, access, late),
            Action::Unstage { volume } => self.unstage(node, volume),
            Action::Publish { volume, pod, access, read_only } => self.publish(node, volume, pod, access, read_only),
            Action::Unpublish { volume, pod } => self.unpublish(node, volume, pod),
            Action::Expand { volume, size } => self.expand(volume, size),
            Action::ExpandHere { volume, pod, size } => self.expand_here(node, volume, pod, size),
            Action::Snapshot { name, volume } => self.cut(name, volume),
            Action::DeleteSnapshot { snapshot } => self.delete_snapshot(snapshot),
            Action::Validate { volume, access } => self.validate(volume, access),
            Action::Get { volume } => self.get(volume),
            Action::List { .. } => self.list(),
            Action::ListSnapshots { filter, .. } => self.list_snapshots(filter),
            Action::Write { name, pod, seed } => self.write(node, name, pod, seed),
            Action::Restart { .. } => self.done(Reply::Nothing),
        }
    }

    /// The volume that a CO means.
    pub fn volume_key(&self, object: Object<VolumeName>) -> VolumeKey {
        let made = self.meant.as_ref().map_or(&self.made, |(made, _)| made);
        Key { name: object.name, number: number(made.get(&object.name), object.former) }
    }

    /// The snapshot that a CO means.
    pub fn snapshot_key(&self, object: Object<SnapshotName>) -> SnapshotKey {
        let cut = self.meant.as_ref().map_or(&self.cut, |(_, cut)| cut);
        Key { name: object.name, number: number(cut.get(&object.name), object.former) }
    }

    /// Calls are sent: until [`Self::settle`], names mean what they mean now.
    pub fn send(&mut self) {
        self.meant = Some((self.made.clone(), self.cut.clone()));
    }

    /// Calls have been judged.
    pub fn settle(&mut self) {
        self.meant = None;
    }

    /// The newest volume of a name.
    pub fn newest(&self, name: VolumeName) -> Object<VolumeName> {
        Object { name, former: false }
    }

    /// What takes everything down, in the order of a CO.
    pub fn cleanup(&self) -> Vec<Operation> {
        let mut actions = Vec::new();
        let snapshots = self.snapshots.keys();
        let snapshots =
            snapshots.map(|key| (Node::B, Action::DeleteSnapshot { snapshot: Object { name: key.name, former: false } }));
        // What cannot be without its volume goes before it.
        let (first, last): (Vec<_>, Vec<_>) = snapshots.partition(|_| !self.form.has(Need::Outlived));
        actions.extend(first);
        for (key, volume) in &self.volumes {
            let object = self.newest(key.name);
            for (node, place) in &volume.places {
                actions.extend(place.pods.keys().map(|pod| (*node, Action::Unpublish { volume: object, pod: *pod })));
            }
            for (node, place) in &volume.places {
                actions.extend((place.held || place.staged.is_some()).then_some((*node, Action::Unstage { volume: object })));
            }
            actions.extend(volume.attachments.keys().map(|node| (*node, Action::Detach { volume: object, node: Some(*node) })));
            actions.push((Node::A, Action::Delete { volume: object }));
        }
        actions.extend(last);
        actions.into_iter().map(|(node, action)| Operation { node, action, disturbance: Disturbance::None }).collect()
    }

    /// It is done, and nothing is different.
    pub(super) fn done(&self, reply: Reply) -> Vec<Outcome> {
        vec![Outcome { answer: Answer::Done(reply), state: self.clone() }]
    }

    /// It is done, and `change` has happened.
    pub(super) fn done_with(&self, reply: Reply, change: impl FnOnce(&mut State)) -> Outcome {
        let mut state = self.clone();
        change(&mut state);
        Outcome { answer: Answer::Done(reply), state }
    }

    /// It is refused and nothing is different. Where several things are wrong any of their codes is right: the spec says nothing
    /// of an order.
    pub(super) fn refused(&self, codes: &[Code]) -> Vec<Outcome> {
        codes.iter().map(|code| Outcome { answer: Answer::Refused(*code), state: self.clone() }).collect()
    }

    /// Changes a volume. What ends with the last mount of its filesystem, and with the last node that holds it, ends.
    pub(super) fn change(&mut self, key: VolumeKey, change: impl FnOnce(&mut Volume)) {
        let is_given = self.form.has(Need::Untold);
        let Some(volume) = self.volumes.get_mut(&key) else { return };
        change(volume);
        if volume.mounts().all(|mount| mount.block) {
            volume.opened = None;
        }
        let is_gone = if is_given { volume.attachments.is_empty() } else { volume.places.values().all(|place| !place.held) };
        if is_gone {
            volume.device = None;
        }
    }
}

fn number(made: Option<&u32>, former: bool) -> u32 {
    made.copied().unwrap_or(0).saturating_sub(u32::from(former))
}
