//! What the calls of the Controller service may answer.

use tonic::Code;

use super::operation::{Access, Filter, Node, Object, Size, SnapshotName, Source, VolumeName};
use super::state::{
    Attachment, Data, Device, Key, Opened, Origin, Outcome, Reply, Snapshot, SnapshotKey, State, Volume, VolumeKey,
};
use crate::conformance::Need;

impl State {
    /// CSI spec, CreateVolume: the same name with the same wishes is the same volume, with others ALREADY_EXISTS.
    pub(super) fn create(&self, name: VolumeName, size: Size, source: Option<Source>) -> Vec<Outcome> {
        let origin = source.map(|source| match source {
            Source::Volume(volume) => Origin::Volume(self.volume_key(volume)),
            Source::Snapshot(snapshot) => Origin::Snapshot(self.snapshot_key(snapshot)),
        });
        let mut wrong = Vec::new();
        if origin.is_some() && !self.form.has(Need::Cut) {
            wrong.push(Code::InvalidArgument);
        }
        if let Some((key, existing)) = self.volumes.iter().find(|(key, _)| key.name == name) {
            // What it was made from may be gone by now: it is the same wish all the same.
            if let Some(origin) = origin.filter(|_| self.form.has(Need::Cut) && !self.form.has(Need::Noted)) {
                return self.copy_again((*key, existing), size, origin);
            }
            if (existing.size, existing.origin) == (size, origin) {
                return self.done(Reply::Volume(*key));
            }
            wrong.push(Code::AlreadyExists);
            return self.refused(&wrong);
        }
        let content = match origin {
            None => Some((Size::Small, if self.form.has(Need::Device) { Data::Blank } else { whole(size) })),
            Some(Origin::Volume(key)) => self.volumes.get(&key).map(|volume| (volume.size, as_cut(volume))),
            Some(Origin::Snapshot(key)) => self.snapshots.get(&key).map(|snapshot| (snapshot.size, snapshot.data)),
        };
        match content {
            None => wrong.push(Code::NotFound),
            Some((least, _)) if least > size => wrong.push(Code::OutOfRange),
            _ => {}
        }
        if let Some(Origin::Volume(key)) = origin
            && self.volumes.get(&key).is_some_and(|volume| !self.can_cut(volume))
        {
            wrong.push(Code::FailedPrecondition);
        }
        let (true, Some((_, data))) = (wrong.is_empty(), content) else { return self.refused(&wrong) };
        let number = self.made.get(&name).copied().unwrap_or(0) + 1;
        let key = Key { name, number };
        vec![self.done_with(Reply::Volume(key), |state| {
            let volume = Volume {
                size,
                origin,
                ancestor: origin,
                data,
                epoch: 0,
                attachments: Default::default(),
                told: Default::default(),
                places: Default::default(),
                device: None,
                opened: None,
            };
            state.made.insert(name, number);
            state.volumes.insert(key, volume);
        })]
    }

    /// A volume is asked for again that was made from something, where the storage system knows of that no more than what it comes after
    /// by now: what it came from may have gone, and then it comes after what that came after.
    fn copy_again(&self, (key, existing): (VolumeKey, &Volume), size: Size, origin: Origin) -> Vec<Outcome> {
        let is_same = (existing.size, existing.origin) == (size, Some(origin));
        let source = match origin {
            Origin::Volume(key) => self.volumes.get(&key).map(|volume| volume.size),
            Origin::Snapshot(key) => self.snapshots.get(&key).map(|snapshot| snapshot.size),
        };
        let Some(source) = source else {
            return self.refused(if is_same { &[Code::NotFound] } else { &[Code::NotFound, Code::AlreadyExists] });
        };
        let there = self.done(Reply::Volume(key));
        if is_same {
            return there;
        }
        let mut outcomes = self.refused(&[Code::AlreadyExists]);
        if size < source {
            outcomes.extend(self.refused(&[Code::OutOfRange]));
        }
        if existing.ancestor == Some(origin) && existing.size == size {
            outcomes.extend(there);
        } else if existing.ancestor == Some(origin) && existing.size < size {
            // So is one whose making ended before it was as large as it should be.
            outcomes.push(self.done_with(Reply::Volume(key), |state| state.change(key, |volume| volume.size = size)));
        }
        outcomes
    }

    /// CSI spec, DeleteVolume: OK when it is gone, FAILED_PRECONDITION while it is in use, also by snapshots that cannot be without it.
    pub(super) fn delete(&self, object: Object<VolumeName>) -> Vec<Outcome> {
        let key = self.volume_key(object);
        let Some(volume) = self.volumes.get(&key) else { return self.done(Reply::Nothing) };
        let is_needed = !self.form.has(Need::Outlived) && self.snapshots.values().any(|snapshot| snapshot.of == key);
        if is_needed || !volume.attachments.is_empty() || volume.mounts().next().is_some() {
            return self.refused(&[Code::FailedPrecondition]);
        }
        vec![self.done_with(Reply::Nothing, |state| {
            let ancestor = state.volumes.remove(&key).and_then(|volume| volume.ancestor);
            state.pass_on(Origin::Volume(key), ancestor);
        })]
    }

    /// What came after something that has gone comes after what that came after.
    fn pass_on(&mut self, gone: Origin, ancestor: Option<Origin>) {
        self.volumes.values_mut().filter(|volume| volume.ancestor == Some(gone)).for_each(|volume| volume.ancestor = ancestor);
    }

    /// CSI spec, ControllerPublishVolume: the same again is OK, another use on the same node ALREADY_EXISTS, and on another node
    /// FAILED_PRECONDITION unless both are for many nodes.
    pub(super) fn attach(&self, object: Object<VolumeName>, node: Node, access: Access) -> Vec<Outcome> {
        let (key, way) = (self.volume_key(object), self.form.way(access));
        let mut wrong = Vec::new();
        if !way.supported || !way.can_be_attached {
            wrong.push(Code::InvalidArgument);
        }
        let Some(volume) = self.volumes.get(&key) else {
            wrong.push(Code::NotFound);
            return self.refused(&wrong);
        };
        if let Some(attachment) = volume.attachments.get(&node) {
            // Where nobody notes what a volume was given for, all uses are the same that do not differ in whether it may be written.
            let is_alike = self.form.way(attachment.access).attached_read_only == way.attached_read_only;
            if attachment.access == access || wrong.is_empty() && is_alike && !self.form.has(Need::Granted) {
                return self.done(Reply::Context(key, attachment.epoch));
            }
            wrong.push(Code::AlreadyExists);
        }
        let mut others = volume.attachments.iter().filter(|(other, _)| **other != node);
        let is_others = |other: Access| match self.form.has(Need::Granted) {
            true => self.form.way(other).is_single_node,
            false => !self.form.way(other).attached_read_only,
        };
        if others.any(|(_, other)| way.is_single_node || is_others(other.access)) {
            wrong.push(Code::FailedPrecondition);
        }
        if !wrong.is_empty() {
            return self.refused(&wrong);
        }
        let epoch = volume.epoch + 1;
        let (is_told, is_shown) = (self.form.has(Need::Told), self.form.has(Need::Untold));
        vec![self.done_with(Reply::Context(key, epoch), |state| {
            state.change(key, |volume| {
                volume.epoch = epoch;
                volume.attachments.insert(node, Attachment { access, epoch });
                if is_told {
                    volume.told.insert(epoch, (node, way.attached_read_only));
                }
                if is_shown {
                    volume.device.get_or_insert(Device { size: volume.size, read_only: way.attached_read_only });
                }
            });
        })]
    }

    /// CSI spec, ControllerUnpublishVolume: comes after NodeUnstageVolume, and is OK for what is gone. That a node which still
    /// holds the volume keeps it is what this plugin promises beyond the spec: its next write would go to a volume that may be
    /// elsewhere by then.
    pub(super) fn detach(&self, object: Object<VolumeName>, node: Option<Node>) -> Vec<Outcome> {
        let key = self.volume_key(object);
        let Some(volume) = self.volumes.get(&key) else { return self.done(Reply::Nothing) };
        let leaves = |other: &Node| node.is_none_or(|node| node == *other);
        let detached = self.done_with(Reply::Nothing, |state| {
            state.change(key, |volume| {
                volume.attachments.retain(|other, _| !leaves(other));
                volume.places.iter_mut().filter(|(other, _)| leaves(other)).for_each(|(_, place)| place.held = false);
            });
        });
        let mut holders = volume.places.iter().filter(|(other, place)| leaves(other) && place.held).peekable();
        if holders.peek().is_none() {
            return vec![detached];
        }
        let refused = self.refused(&[Code::FailedPrecondition]);
        // After a NodeUnstageVolume that was refused because of a target, and the end of that target, a directory is not in use
        // any more, though nobody has said so; a device still is.
        let is_left = holders.all(|(_, place)| place.mounts().next().is_none());
        if is_left && !self.form.has(Need::Device) { refused.into_iter().chain([detached]).collect() } else { refused }
    }

    /// CSI spec, ControllerExpandVolume, with a range of one size: OUT_OF_RANGE for a smaller one.
    pub(super) fn expand(&self, object: Object<VolumeName>, size: Size) -> Vec<Outcome> {
        let key = self.volume_key(object);
        match self.volumes.get(&key) {
            None => self.refused(&[Code::NotFound]),
            Some(volume) if size < volume.size => self.refused(&[Code::OutOfRange]),
            Some(_) => {
                let reply = Reply::Size(size, Some(self.form.has(Need::Device)));
                vec![self.done_with(reply, |state| state.change(key, |volume| volume.size = size))]
            }
        }
    }

    /// CSI spec, CreateSnapshot: the same name and source is the same snapshot, with another source ALREADY_EXISTS.
    pub(super) fn cut(&self, name: SnapshotName, object: Object<VolumeName>) -> Vec<Outcome> {
        if !self.form.has(Need::Cut) {
            return self.refused(&[Code::Unimplemented]);
        }
        let of = self.volume_key(object);
        if let Some((key, existing)) = self.snapshots.iter().find(|(key, _)| key.name == name) {
            if existing.of == of {
                return self.done(Reply::Snapshot(*key));
            }
            let missing = (!self.volumes.contains_key(&of)).then_some(Code::NotFound);
            return self.refused(&[Code::AlreadyExists].into_iter().chain(missing).collect::<Vec<_>>());
        }
        let Some(volume) = self.volumes.get(&of) else { return self.refused(&[Code::NotFound]) };
        if !self.can_cut(volume) {
            return self.refused(&[Code::FailedPrecondition]);
        }
        let key = Key { name, number: self.cut.get(&name).copied().unwrap_or(0) + 1 };
        let snapshot = Snapshot { of, size: volume.size, data: as_cut(volume) };
        vec![self.done_with(Reply::Snapshot(key), |state| {
            state.cut.insert(name, key.number);
            state.snapshots.insert(key, snapshot);
        })]
    }

    /// Whether the content can be taken as it is at one moment: always with reflinks, else only while nobody can write, or where
    /// a filesystem can be told to stand still.
    fn can_cut(&self, volume: &Volume) -> bool {
        let is_written = volume.attachments.values().any(|attachment| !self.form.way(attachment.access).attached_read_only);
        self.form.has(Need::Moment) || !is_written || volume.mounts().any(|mount| !mount.block)
    }

    /// CSI spec, DeleteSnapshot: OK when it is gone.
    pub(super) fn delete_snapshot(&self, object: Object<SnapshotName>) -> Vec<Outcome> {
        let key = self.snapshot_key(object);
        vec![self.done_with(Reply::Nothing, |state| {
            if let Some(snapshot) = state.snapshots.remove(&key) {
                state.pass_on(Origin::Snapshot(key), Some(Origin::Volume(snapshot.of)));
            }
        })]
    }

    /// CSI spec, ValidateVolumeCapabilities: a confirmation, or none.
    pub(super) fn validate(&self, object: Object<VolumeName>, access: Access) -> Vec<Outcome> {
        if self.volumes.contains_key(&self.volume_key(object)) {
            self.done(Reply::Confirmed(self.form.way(access).supported))
        } else {
            self.refused(&[Code::NotFound])
        }
    }

    /// CSI spec, ControllerGetVolume.
    pub(super) fn get(&self, object: Object<VolumeName>) -> Vec<Outcome> {
        let key = self.volume_key(object);
        match self.volumes.get(&key) {
            None => self.refused(&[Code::NotFound]),
            Some(volume) => self.done(Reply::Listed([self.volume_line(key, volume)].into())),
        }
    }

    /// CSI spec, ListVolumes: pages of any size show every volume once.
    pub(super) fn list(&self) -> Vec<Outcome> {
        self.done(Reply::Listed(self.volumes.iter().map(|(key, volume)| self.volume_line(*key, volume)).collect()))
    }

    /// CSI spec, ListSnapshots: what is not there is not listed, and no error.
    pub(super) fn list_snapshots(&self, filter: Filter) -> Vec<Outcome> {
        let is_meant = |key: &SnapshotKey, of: VolumeKey| match filter {
            Filter::All => true,
            Filter::Of(volume) => of == self.volume_key(volume),
            Filter::Is(snapshot) => *key == self.snapshot_key(snapshot),
        };
        let meant = self.snapshots.iter().filter(|(key, snapshot)| is_meant(key, snapshot.of));
        self.done(Reply::Listed(meant.map(|(key, snapshot)| self.snapshot_line(*key, snapshot)).collect()))
    }
}

/// What a directory has from the beginning.
fn whole(size: Size) -> Data {
    Data::Filesystem { pattern: None, size, replay: false }
}

/// What a copy of a volume has. All that a task has written is in it, whether or not it was flushed; but the journal of a
/// filesystem that is mounted for writing has not been closed.
fn as_cut(volume: &Volume) -> Data {
    match volume.data {
        Data::Filesystem { pattern, size, replay } => {
            Data::Filesystem { pattern, size, replay: replay || volume.opened == Some(Opened::Writable) }
        }
        data => data,
    }
}
