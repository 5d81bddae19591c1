//! What a CO must see to itself. A storage system that hears nothing of a node's mounts takes a volume from under them, and a node that
//! hears nothing of attachments waits for a device that nobody gives it. Where both ask each other, a CO may do anything at any time.

use super::operation::{Action, Node, Source};
use super::state::{State, VolumeKey};
use crate::conformance::Need;

impl State {
    /// Whether a CO that keeps the order of CSI's calls may send this one.
    pub fn is_in_order(&self, node: Node, action: &Action) -> bool {
        if self.form.has(Need::Granted) && self.form.has(Need::Guarded) {
            return true;
        }
        match *action {
            // CSI spec, NodeStageVolume: after ControllerPublishVolume. Nodes that are one machine and do not know of each other cannot have one
            // volume at one time.
            Action::Stage { volume, .. } => self.volumes.get(&self.volume_key(volume)).is_some_and(|volume| {
                let other = volume.place(node.other());
                let is_alone = self.form.has(Need::Together) || !other.held && other.mounts().next().is_none();
                is_alone && volume.attachments.contains_key(&node)
            }),
            // CSI spec, ControllerUnpublishVolume: after every NodeUnstageVolume and NodeUnpublishVolume.
            Action::Detach { volume, node } => self.volumes.get(&self.volume_key(volume)).is_none_or(|volume| {
                let leaving = volume.places.iter().filter(|(other, _)| node.is_none_or(|node| node == **other));
                leaving.into_iter().all(|(_, place)| !place.held && place.mounts().next().is_none())
            }),
            // CSI spec, NodeExpandVolume: after ControllerExpandVolume.
            Action::ExpandHere { volume, size, .. } => {
                self.volumes.get(&self.volume_key(volume)).is_none_or(|volume| size <= volume.size)
            }
            _ => true,
        }
    }

    /// The same of two calls at one time: whichever is carried out first.
    pub fn are_in_order(&self, one: (Node, Action), other: (Node, Action)) -> bool {
        let mut sent = self.clone();
        sent.send();
        let leave = |first: (Node, Action), then: (Node, Action)| {
            let outcomes = sent.outcomes(first.0, &first.1);
            outcomes.iter().all(|outcome| outcome.state.is_in_order(then.0, &then.1))
        };
        sent.is_in_order(one.0, &one.1) && sent.is_in_order(other.0, &other.1) && leave(one, other) && leave(other, one)
    }

    /// The volume that a call is about to cut, where a cut has only what is written out: whoever wants more in it sees to that before.
    pub fn cut_by(&self, action: &Action) -> Option<VolumeKey> {
        if !self.form.has(Need::Device) || self.form.has(Need::Still) {
            return None;
        }
        match *action {
            Action::Snapshot { volume, .. } | Action::Create { source: Some(Source::Volume(volume)), .. } => {
                Some(self.volume_key(volume))
            }
            _ => None,
        }
    }
}
