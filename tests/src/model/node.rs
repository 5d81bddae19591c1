//! What the calls of the Node service may answer, and what a task can do where a volume is published.

use tonic::Code;

use super::operation::{Access, Node, Object, Pod, Size, VolumeName};
use super::state::{Answer, Data, Device, Mount, Opened, Outcome, Reply, State, Volume, VolumeKey};
use crate::conformance::Need;

impl State {
    /// CSI spec, NodeStageVolume: the same again is OK, in another way ALREADY_EXISTS. Nothing but what is blank is formatted.
    pub(super) fn stage(&self, node: Node, object: Object<VolumeName>, access: Access, late: bool) -> Vec<Outcome> {
        let (key, way) = (self.volume_key(object), self.form.way(access));
        let Some(volume) = self.volumes.get(&key) else { return self.missing(node, object) };
        let attachment = volume.attachments.get(&node);
        let may_write = attachment.is_some_and(|attachment| !self.form.way(attachment.access).attached_read_only);
        let told = self.context_of(volume, node, late).and_then(|epoch| volume.told.get(&epoch));
        let read_only = way.reads || !may_write || told.is_some_and(|(_, reads)| *reads);
        let mut wrong = Vec::new();
        // What was given for reading cannot be opened for writing, whatever a context of before says.
        if told.is_some_and(|(of, reads)| *of != node || !reads && !may_write && !way.reads) {
            wrong.push(Code::FailedPrecondition);
        }
        let is_granted = |epoch: u32| self.context_of(volume, node, late).is_none_or(|of| of == epoch);
        if self.form.has(Need::Granted) && attachment.is_none_or(|attachment| !is_granted(attachment.epoch)) {
            wrong.push(Code::FailedPrecondition);
        }
        if let Some(staged) = volume.place(node).staged {
            if (staged.block, staged.read_only) != (way.block, read_only && !way.block) {
                wrong.push(Code::AlreadyExists);
            }
            let mut outcomes = self.looked(key, self.refused(&wrong));
            let only_late = attachment.is_some() && !wrong.contains(&Code::AlreadyExists);
            if wrong.is_empty() {
                outcomes.push(self.done_with(Reply::Nothing, |state| state.follow(key, way.block, read_only)));
            } else if only_late && way.block {
                // It is staged as asked; whether a plugin looks at the context before it says so is its own affair.
                outcomes.extend(self.done(Reply::Nothing));
            }
            return outcomes;
        }
        let done = |state: &mut State| {
            let size =
                if self.form.has(Need::Untold) { volume.device.map_or(volume.size, |device| device.size) } else { volume.size };
            state.change(key, |volume| {
                let place = volume.place_mut(node);
                place.held = true;
                place.staged = Some(Mount { block: way.block, read_only: read_only && !way.block });
            });
            if self.form.has(Need::Device) {
                state.change(key, |volume| {
                    volume.device = Some(Device { size, read_only: !may_write });
                    if !way.block {
                        volume.opened = Some(if read_only { Opened::ReadOnly } else { Opened::Writable });
                        if volume.data == Data::Blank {
                            volume.data = Data::Filesystem { pattern: None, size, replay: false };
                        } else if may_write && let Data::Filesystem { replay, .. } = &mut volume.data {
                            *replay = false;
                        }
                    }
                });
                state.follow(key, way.block, read_only);
            }
        };
        let mut may_be_refused = !way.supported;
        if self.form.has(Need::Device) && !way.block {
            let conflict = Some(if read_only { Opened::Writable } else { Opened::ReadOnly });
            match volume.data {
                Data::Blank if read_only => wrong.push(Code::FailedPrecondition),
                Data::Raw(_) => wrong.push(Code::FailedPrecondition),
                Data::Filesystem { .. } if volume.opened == conflict => wrong.push(Code::FailedPrecondition),
                // Without its journal a filesystem may lack what was written long ago, and a device that cannot be written does
                // not let it be replayed. Whether there is something in it depends on the moment of the cut.
                Data::Filesystem { replay: true, .. } if !may_write => may_be_refused = true,
                _ => {}
            }
        } else if !self.form.has(Need::Device) && way.block {
            wrong.push(Code::InvalidArgument);
        }
        if !wrong.is_empty() {
            return self.still_held(node, key, self.refused(&wrong));
        }
        let mut outcomes = vec![self.done_with(Reply::Nothing, done)];
        if may_be_refused {
            outcomes.extend(self.still_held(node, key, self.refused(&[Code::FailedPrecondition])));
        }
        outcomes
    }

    /// Which attachment's context a CO has for a node: that of the node's own attachment; when late, that of the one before.
    pub fn context_of(&self, volume: &Volume, node: Node, late: bool) -> Option<u32> {
        let own = volume.attachments.get(&node).map(|attachment| attachment.epoch);
        if late && volume.epoch > 1 { Some(volume.epoch - 1) } else { own }
    }

    /// What a stage that finds the volume staged sees to: the device has the size of the volume by now, and a filesystem that may
    /// be written fills it where the machine lets it.
    fn follow(&mut self, key: VolumeKey, block: bool, read_only: bool) {
        let (form, has_device, is_untold) = (self.form, self.form.has(Need::Device), self.form.has(Need::Untold));
        self.change(key, |volume| {
            if block || !has_device {
                return;
            }
            if !is_untold {
                see_size(volume);
            }
            if let Data::Filesystem { size, .. } = &mut volume.data
                && !read_only
                && form.may_grow()
            {
                *size = volume.device.map_or(volume.size, |device| device.size);
            }
        });
    }

    /// A stage that fails leaves nothing, so what an unfinished unstage left may go with it.
    fn still_held(&self, node: Node, key: VolumeKey, refused: Vec<Outcome>) -> Vec<Outcome> {
        let held = self.volumes.get(&key).is_some_and(|volume| volume.place(node).held && volume.mounts().next().is_none());
        let freed = refused.clone().into_iter().filter(|_| held).map(|mut outcome| {
            outcome.state.change(key, |volume| volume.place_mut(node).held = false);
            outcome
        });
        let freed: Vec<Outcome> = freed.collect();
        self.looked(key, refused).into_iter().chain(freed).collect()
    }

    /// A call that is refused may have looked at the device before, which then has the size that the volume has by now.
    fn looked(&self, key: VolumeKey, refused: Vec<Outcome>) -> Vec<Outcome> {
        let looked = refused.clone().into_iter().map(|mut outcome| {
            outcome.state.change(key, see_size);
            outcome
        });
        let looked: Vec<Outcome> = looked.filter(|outcome| outcome.state != *self).collect();
        refused.into_iter().chain(looked).collect()
    }

    /// A call for a volume that does not exist: NOT_FOUND, or FAILED_PRECONDITION where its path has the volume that has its name
    /// now.
    fn missing(&self, node: Node, object: Object<VolumeName>) -> Vec<Outcome> {
        let heir = self.volumes.iter().find(|(key, _)| key.name == object.name);
        match heir.is_some_and(|(_, volume)| volume.place(node).staged.is_some()) {
            true => self.refused(&[Code::FailedPrecondition, Code::NotFound]),
            false => self.refused(&[Code::NotFound]),
        }
    }

    /// CSI spec, NodeUnstageVolume: OK when it is not staged; comes after every NodeUnpublishVolume.
    pub(super) fn unstage(&self, node: Node, object: Object<VolumeName>) -> Vec<Outcome> {
        let key = self.volume_key(object);
        let Some(volume) = self.volumes.get(&key) else {
            let heir = self.volumes.iter().find(|(key, _)| key.name == object.name);
            // Nothing of the volume is left, but its path has somebody else's mount, and a plugin that said OK would be understood
            // to have emptied it.
            return match heir.is_some_and(|(_, volume)| volume.place(node).staged.is_some()) {
                true => self.refused(&[Code::FailedPrecondition]),
                false => self.done(Reply::Nothing),
            };
        };
        let unstaged = self.done_with(Reply::Nothing, |state| {
            state.change(key, |volume| {
                let place = volume.place_mut(node);
                place.staged = None;
                place.held = false;
            });
        });
        // Only nodes that may have a volume at one time know of each other.
        let shared = self.form.has(Need::Granted) && volume.is_held_beside(node);
        let others = volume.places.iter().any(|(other, place)| *other != node && place.mounts().next().is_some());
        let published = !volume.place(node).pods.is_empty();
        if !published && (!others || shared) {
            return vec![unstaged];
        }
        // The staging mount may be gone all the same: the volume is kept by its targets, and the same call again ends well as soon
        // as they are gone.
        let mut outcomes = vec![];
        for gone in [true, false] {
            outcomes.extend(self.refused(&[Code::FailedPrecondition]).into_iter().map(|mut outcome| {
                if gone {
                    outcome.state.change(key, |volume| volume.place_mut(node).staged = None);
                }
                outcome
            }));
        }
        if shared {
            // Two nodes on one machine see each other's mounts and cannot tell whose they are. A CO that has not unpublished first
            // may be told OK here, and the other node keeps the device.
            outcomes.push(unstaged);
        }
        outcomes
    }

    /// CSI spec, NodePublishVolume, with the table for a second call: the same target and arguments, OK; other arguments,
    /// ALREADY_EXISTS; another target, as the mode allows.
    pub(super) fn publish(
        &self,
        node: Node,
        object: Object<VolumeName>,
        pod: Pod,
        access: Access,
        read_only: bool,
    ) -> Vec<Outcome> {
        let (key, way) = (self.volume_key(object), self.form.way(access));
        // That nothing of it is staged is as true as that it does not exist.
        let Some(volume) = self.volumes.get(&key) else { return self.refused(&[Code::FailedPrecondition, Code::NotFound]) };
        let place = volume.place(node);
        let Some(staged) = place.staged else { return self.refused(&[Code::FailedPrecondition]) };
        if staged.block != way.block {
            return self.refused(&[Code::InvalidArgument]);
        }
        let read_only = read_only || way.reads;
        let mut wrong = Vec::new();
        // A node of a device in a directory cannot be made read-only: only the device itself can.
        if way.block && read_only && volume.device.is_some_and(|device| !device.read_only) {
            wrong.push(Code::FailedPrecondition);
        }
        if let Some(there) = place.pods.get(&pod) {
            // What cannot be written anyway is published as asked.
            let as_it_is = way.block || there.read_only == (read_only || staged.read_only);
            if !as_it_is {
                wrong.push(Code::AlreadyExists);
            }
            return if wrong.is_empty() { self.done(Reply::Nothing) } else { self.refused(&wrong) };
        }
        let others = volume.mounts().filter(|mount| mount.block == way.block).count() > 1;
        if !way.has_many_targets && others {
            wrong.push(Code::FailedPrecondition);
        }
        if !wrong.is_empty() {
            return self.refused(&wrong);
        }
        let mount = Mount { block: way.block, read_only: !way.block && (read_only || staged.read_only) };
        let published = self.done_with(Reply::Nothing, |state| {
            state.change(key, |volume| {
                volume.place_mut(node).pods.insert(pod, mount);
            });
        });
        if way.supported { vec![published] } else { [vec![published], self.refused(&[Code::FailedPrecondition])].concat() }
    }

    /// CSI spec, NodeUnpublishVolume: OK when it is not published. A late call for an old volume does not take the path's new one.
    pub(super) fn unpublish(&self, node: Node, object: Object<VolumeName>, pod: Pod) -> Vec<Outcome> {
        let key = self.volume_key(object);
        let heir = self.volumes.iter().find(|(other, _)| other.name == object.name);
        if heir.is_some_and(|(other, volume)| *other != key && volume.place(node).pods.contains_key(&pod)) {
            return self.refused(&[Code::FailedPrecondition]);
        }
        vec![self.done_with(Reply::Nothing, |state| {
            state.change(key, |volume| {
                volume.place_mut(node).pods.remove(&pod);
            });
        })]
    }

    /// CSI spec, NodeExpandVolume: after ControllerExpandVolume, at a path where the volume is.
    pub(super) fn expand_here(&self, node: Node, object: Object<VolumeName>, pod: Pod, asked: Size) -> Vec<Outcome> {
        let key = self.volume_key(object);
        let Some(volume) = self.volumes.get(&key) else { return self.refused(&[Code::NotFound]) };
        let Some(mount) = volume.place(node).pods.get(&pod) else { return self.refused(&[Code::NotFound]) };
        let size = volume.size;
        let refused = |code| self.looked(key, self.refused(&[code]));
        if self.form.has(Need::Device) && !volume.attachments.contains_key(&node) {
            return refused(Code::FailedPrecondition);
        }
        if size < asked {
            return refused(Code::Unavailable);
        }
        let fills = match volume.data {
            Data::Filesystem { size: filled, .. } => filled >= size,
            Data::Blank | Data::Raw(_) => true,
        };
        let follows = self.form.has(Need::Device) && !mount.block && volume.opened == Some(Opened::Writable) && !fills;
        if follows && !self.form.may_grow() {
            return refused(Code::FailedPrecondition);
        }
        // One that is as large as was asked for need not be asked whether it is larger.
        let may_see = |seen: &&Size| {
            let least = volume.device.filter(|_| self.form.has(Need::Untold)).map_or(size, |device| device.size);
            (asked.max(least)..=size).contains(*seen)
        };
        let done = |seen: &Size| {
            self.done_with(Reply::Size(*seen, None), |state| {
                state.change(key, |volume| volume.device = volume.device.map(|device| Device { size: *seen, ..device }));
                if follows {
                    state.follow(key, false, false);
                }
            })
        };
        let mut outcomes: Vec<Outcome> = Size::ALL.iter().filter(may_see).rev().map(done).collect();
        // After an unstage that was refused there may be no mount left through which the kernel would let it grow.
        if follows && volume.mounts().all(|mount| mount.read_only) {
            outcomes.extend(refused(Code::FailedPrecondition));
        }
        outcomes
    }

    /// A task writes: not flushed, for cutting and leaving a node must see to that. It does not write over a filesystem, and
    /// where it may not write it learns it at once.
    pub(super) fn write(&self, node: Node, name: VolumeName, pod: Pod, seed: u16) -> Vec<Outcome> {
        let found = self.volumes.iter().find(|(key, _)| key.name == name);
        let nowhere = vec![Outcome { answer: Answer::Nowhere, state: self.clone() }];
        let Some((key, volume)) = found else { return nowhere };
        let Some(mount) = volume.place(node).pods.get(&pod) else { return nowhere };
        let data = match (volume.data, mount.block) {
            (Data::Filesystem { .. }, true) | (Data::Blank | Data::Raw(_), false) => return nowhere,
            (Data::Filesystem { size, replay, .. }, false) => Data::Filesystem { pattern: Some(seed), size, replay },
            (Data::Blank | Data::Raw(_), true) => Data::Raw(seed),
        };
        let protected = if mount.block { volume.device.is_some_and(|device| device.read_only) } else { mount.read_only };
        if protected {
            return vec![Outcome { answer: Answer::ReadOnly, state: self.clone() }];
        }
        vec![self.done_with(Reply::Nothing, |state| state.change(*key, |volume| volume.data = data))]
    }
}

/// The device shows the size that the volume has.
fn see_size(volume: &mut Volume) {
    volume.device = volume.device.map(|device| Device { size: volume.size, ..device });
}
