//! Filling an object: copying what it is made from, and putting it in its place.
//!
//! One process fills an object at a time: it writes its id into the record, and touches a file while it is at work. Another one takes
//! over when that has not happened for a while by the server's own clock, and the first then sees in the record that it has lost. What
//! was copied stays; the copy goes on where it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hawser_host::step::Step;
use hawser_host::{Directory, removal, replica};
use hawser_volume::{Error, NativeId, Origin, Result};
use uuid::Uuid;

use crate::layout::{self, ASIDE, BEAT};
use crate::record::{SnapshotRecord, State, VolumeRecord};
use crate::tree::{Object, Tree, content};
use crate::versions::Change;

/// How often whoever fills says so.
const BEATING: Duration = Duration::from_secs(10);

/// After how long without a word somebody else takes over.
const SILENCE: Duration = Duration::from_secs(60);

/// How many files are copied at a time.
const WORKERS: usize = 4;

/// An object that is filled before it can be used.
pub(crate) trait Fillable: Object + Clone {
    /// How far it is, and which process fills it.
    fn progress(&self) -> (State, Option<Uuid>);
    fn set_progress(&mut self, state: State, filler: Option<Uuid>);
    fn origin(&self) -> Option<Origin>;
    /// What is to be done when the content is complete.
    fn complete(&self, tree: &Tree, object: &Directory) -> Result<()>;
    fn set_changing(&mut self, _changing: u64) {}
    /// Prepares the directory `name` of its object, in which files are copied before they are moved into the content.
    fn prepare(&self, _tree: &Tree, _name: &str) -> Result<()> {
        Ok(())
    }
}

impl Fillable for VolumeRecord {
    fn progress(&self) -> (State, Option<Uuid>) {
        (self.state, self.filler)
    }

    fn set_progress(&mut self, state: State, filler: Option<Uuid>) {
        (self.state, self.filler) = (state, filler);
    }

    fn origin(&self) -> Option<Origin> {
        self.origin.clone()
    }

    fn prepare(&self, tree: &Tree, name: &str) -> Result<()> {
        tree.join_project(self, name)
    }

    fn complete(&self, tree: &Tree, object: &Directory) -> Result<()> {
        let data = layout::data(&layout::volume(&self.id));
        if self.origin.is_some()
            && let Some(content) = object.enter(&data)?
        {
            // What was asked for holds before what the origin had.
            content.give(self.owner.uid, self.owner.gid, None)?;
        }
        match &self.path {
            Some(path) if self.is_static => tree.claim(path, &self.id),
            Some(path) => tree.put_in_place(object, self, path),
            None => Ok(()),
        }
    }
}

impl Fillable for SnapshotRecord {
    fn progress(&self) -> (State, Option<Uuid>) {
        (self.state, self.filler)
    }

    fn set_progress(&mut self, state: State, filler: Option<Uuid>) {
        (self.state, self.filler) = (state, filler);
    }

    fn origin(&self) -> Option<Origin> {
        Some(Origin::Volume(self.source.clone()))
    }

    fn complete(&self, _tree: &Tree, _object: &Directory) -> Result<()> {
        Ok(())
    }

    fn set_changing(&mut self, changing: u64) {
        self.changing = changing;
    }
}

impl Tree {
    /// Fills the object `id`. Success when it is complete, or was; the same call goes on where an earlier one was interrupted.
    pub(crate) fn fill<R: Fillable>(&self, id: &str) -> Result<()> {
        let (object, record) = self.find::<R>(id)?;
        if record.progress().0 != State::Filling {
            return Ok(());
        }
        self.take_over(&object, &record)?;
        let done = AtomicBool::new(false);
        let copied = std::thread::scope(|scope| {
            scope.spawn(|| self.beat::<R>(&object, id, &done));
            let copied = self.copy_origin(&object, &record).and_then(|changing| {
                record.complete(self, &object)?;
                Ok(changing)
            });
            done.store(true, Ordering::Relaxed);
            copied
        });
        let changing = copied?;
        self.reached(Step::VolumeFilled)?;
        self.change(id, |mut record: R| {
            match record.progress() {
                (State::Filling, Some(filler)) if filler == self.process => {}
                (State::Ready, _) => return Ok(Change::Keep(())),
                _ => {
                    return Err(Error::unavailable(format!("another controller fills {} {}:{id} by now", R::NOUN, self.backend)));
                }
            }
            record.set_progress(State::Ready, None);
            record.set_changing(changing);
            Ok(Change::Write(record, ()))
        })
    }

    fn take_over<R: Fillable>(&self, object: &Directory, record: &R) -> Result<()> {
        let busy = || {
            Error::unavailable(format!(
                "another controller is at work on {} {}:{}; repeat the call",
                R::NOUN,
                self.backend,
                record.id()
            ))
        };
        let (_, seen) = record.progress();
        if seen.is_some_and(|filler| filler != self.process) {
            let beat = object.entry(BEAT)?.map(|entry| entry.modified);
            let now = self.server_time()?;
            if beat.is_some_and(|beat| now.duration_since(beat).unwrap_or_default() < SILENCE) {
                return Err(busy());
            }
        }
        self.change(record.id(), |mut record: R| {
            let (state, filler) = record.progress();
            if filler != seen && filler != Some(self.process) {
                return Err(busy());
            }
            record.set_progress(state, Some(self.process));
            Ok(Change::Write(record, ()))
        })?;
        object.create(BEAT, b"")?;
        object.touch(BEAT).map(drop)
    }

    /// Says that this process is at work, until it is done or has lost the object.
    fn beat<R: Fillable>(&self, object: &Directory, id: &str, done: &AtomicBool) {
        let mut waited = Duration::ZERO;
        let pause = Duration::from_millis(20);
        while !done.load(Ordering::Relaxed) {
            std::thread::sleep(pause);
            waited += pause;
            if waited < BEATING {
                continue;
            }
            waited = Duration::ZERO;
            let lost = match object.touch(BEAT).and_then(|_| self.find::<R>(id)) {
                Ok((_, record)) => record.progress() != (State::Filling, Some(self.process)),
                // The copy itself will hear of it.
                Err(_) => false,
            };
            if lost {
                tracing::warn!(object = id, "somebody else is at work on it by now; this copy ends");
                self.pulse.stop();
                return;
            }
        }
    }

    /// Makes the content a copy of the origin's; says how many files could not be copied while they stood still.
    fn copy_origin<R: Fillable>(&self, object: &Directory, record: &R) -> Result<u64> {
        let Some(origin) = record.origin() else { return Ok(0) };
        let source = match &origin {
            Origin::Volume(id) => self.root.base.enter_existing(content(&self.ready::<VolumeRecord>(id)?)?)?,
            Origin::Snapshot(id) => {
                let native = NativeId::of("snapshot", id)?;
                self.ready::<SnapshotRecord>(id)?;
                self.root.snapshots.enter_existing(&native.digest)?.enter_existing(layout::data(&native))?
            }
        };
        let native = R::native(record.id())?;
        let Some(target) = object.enter(layout::data(&native))? else {
            // It is in its place already.
            return Ok(0);
        };
        removal::remove(object, ASIDE, WORKERS, &self.pulse)?;
        object.make(ASIDE, 0o700)?;
        record.prepare(self, ASIDE)?;
        let copied = replica::replicate(&source, &target, &object.enter_existing(ASIDE)?, WORKERS, &self.pulse)?;
        // An origin that was deleted meanwhile may have been half removed when it was read.
        match &origin {
            Origin::Volume(id) => self.ready::<VolumeRecord>(id).map(drop)?,
            Origin::Snapshot(id) => self.ready::<SnapshotRecord>(id).map(drop)?,
        }
        tracing::info!(
            object = record.id(),
            files = copied.entries,
            moved = copied.moved,
            shared = copied.shared,
            found = copied.found,
            changing = copied.changing,
            "the copy is complete"
        );
        Ok(copied.changing)
    }
}
