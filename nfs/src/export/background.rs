//! Work that goes on when the call that began it has ended: filling objects, and removing what was deleted.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hawser_volume::{Deadline, Error, Result};

use super::Export;
use crate::filling::Fillable;
use crate::tree::Tree;

/// How long work in the background may take.
const BACKGROUND: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often the export is swept, beside after each deletion.
const SWEEPING: Duration = Duration::from_secs(600);

/// An object that is being filled in the background.
#[derive(Default)]
pub(super) struct Filling {
    result: Mutex<Option<Result<()>>>,
    done: Condvar,
}

/// Wakes the thread that sweeps.
#[derive(Default)]
pub(super) struct Keeper {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    trash: bool,
    running: bool,
}

impl Export {
    /// Fills an object in the background, and waits for it until `deadline`; false when it is at work then.
    pub(super) fn fill<R: Fillable + 'static>(self: &Arc<Self>, id: &str, deadline: Deadline) -> Result<bool> {
        let filling = {
            let mut fillings = self.fillings.lock().unwrap_or_else(PoisonError::into_inner);
            match fillings.get(id) {
                Some(filling) => Arc::clone(filling),
                None => {
                    let filling = Arc::new(Filling::default());
                    let (export, own, key) = (Arc::clone(self), Arc::clone(&filling), id.to_owned());
                    let span = tracing::Span::current();
                    let run = move || {
                        let of = key.clone();
                        let result = span.in_scope(|| export.work(Deadline::after(BACKGROUND), move |tree| tree.fill::<R>(&of)));
                        if let Err(error) = &result {
                            tracing::warn!(
                                object = key,
                                error = error.chain(),
                                "it is not complete; the same call goes on with it"
                            );
                        }
                        export.fillings.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                        *own.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                        own.done.notify_all();
                    };
                    thread::Builder::new()
                        .name("nfs-fill".to_owned())
                        .spawn(run)
                        .map_err(|error| Error::unavailable("no thread for the copy").caused_by(error))?;
                    fillings.insert(id.to_owned(), Arc::clone(&filling));
                    filling
                }
            }
        };
        let mut result = filling.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = &*result {
                return result.clone().map(|()| true);
            }
            if deadline.passed() {
                return Ok(false);
            }
            (result, _) = filling.done.wait_timeout(result, deadline.remaining()).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has the trash emptied in the background.
    pub(super) fn collect(&self) {
        self.keeper.wanted.lock().unwrap_or_else(PoisonError::into_inner).trash = true;
        self.keeper.changed.notify_all();
    }

    /// Sweeps now, after each deletion, and from time to time, on a thread of its own, for as long as the process lives.
    pub fn keep_clean(self: &Arc<Self>) {
        {
            let mut wanted = self.keeper.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::replace(&mut wanted.running, true) {
                return;
            }
        }
        let export = Arc::downgrade(self);
        let keep = move || {
            let mut all = true;
            loop {
                let Some(export) = export.upgrade() else { return };
                let sweep = move |tree: &Tree| if all { tree.sweep() } else { tree.empty_trash() };
                let swept = export.work(Deadline::after(BACKGROUND), sweep);
                match &swept {
                    Ok(0) => {}
                    Ok(removed) => tracing::info!(backend = %export.backend, removed, "removed what was deleted"),
                    Err(error) => {
                        tracing::warn!(backend = %export.backend, error = error.chain(), "could not remove everything yet")
                    }
                }
                let keeper = Arc::clone(&export.keeper);
                drop(export);
                // After a failure soon again.
                let pause = if swept.is_ok() { SWEEPING } else { Duration::from_secs(5) };
                let wanted = keeper.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                let (mut wanted, waited) = keeper
                    .changed
                    .wait_timeout_while(wanted, pause, |wanted| !wanted.trash)
                    .unwrap_or_else(PoisonError::into_inner);
                wanted.trash = false;
                all = waited.timed_out();
            }
        };
        if let Err(error) = thread::Builder::new().name("nfs-keeper".to_owned()).spawn(keep) {
            tracing::error!(%error, "no thread to remove what is deleted; it stays in the trash until the next start");
        }
    }
}
