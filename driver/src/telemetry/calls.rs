//! What the backends are asked and what they answer: every call over the two seams, as it happens.
//!
//! Metrics, health and the history of a process rest on this. Whoever wants to know of each call [subscribes](Calls::subscribe).
//! Nothing here asks a backend anything.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use hawser_volume::{Around, BackendName, Kind, Result};
use tracing::Instrument;

use super::spans;
use super::trouble::{Trouble, Verdict, verdict};

/// Which half of a plugin asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The controller, through a `Provisioner`.
    Controller,
    /// The node, through an `Attacher`.
    Node,
}

impl Side {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Controller => "controller",
            Side::Node => "node",
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It failed so.
    Failed(Kind),
    /// Nobody waits for it any more: its caller has gone.
    Abandoned,
}

impl Outcome {
    /// One word, as in `ok` or `not_found`.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "ok",
            Outcome::Abandoned => "abandoned",
            Outcome::Failed(kind) => match kind {
                Kind::Invalid => "invalid",
                Kind::NotFound => "not_found",
                Kind::AlreadyExists => "already_exists",
                Kind::Precondition => "precondition",
                Kind::OutOfRange => "out_of_range",
                Kind::Exhausted => "exhausted",
                Kind::Unavailable => "unavailable",
                Kind::DeadlineExceeded => "deadline_exceeded",
                Kind::BadToken => "bad_token",
                Kind::PermissionDenied => "permission_denied",
                Kind::Unauthenticated => "unauthenticated",
                Kind::Unsupported => "unsupported",
                Kind::Internal => "internal",
            },
        }
    }
}

/// A call that is under way.
#[derive(Debug, Clone)]
pub struct Running {
    /// The backend.
    pub backend: BackendName,
    /// Who asks.
    pub side: Side,
    /// The method of the seam, as in `create`.
    pub operation: &'static str,
    /// Since when.
    pub since: Instant,
}

/// A call that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The backend.
    pub backend: BackendName,
    /// Who asked.
    pub side: Side,
    /// The method of the seam, as in `create`.
    pub operation: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What the error says, with its causes.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub at: SystemTime,
}

/// Who is told of each call that has ended. Must not block: it runs in the call's own time.
pub type Listener = Box<dyn Fn(&Ended) + Send + Sync>;

/// All calls of a process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Calls {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    running: Mutex<HashMap<u64, Running>>,
    health: Mutex<BTreeMap<BackendName, BTreeMap<Side, Option<Trouble>>>>,
    listeners: RwLock<Vec<Listener>>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("running", &lock(&self.inner.running).len()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Calls {
    /// What is put in front of a backend ([`hawser_volume::Surrounded`]) so that its calls are known here.
    pub fn watch(&self, backend: &BackendName, side: Side) -> Watched {
        lock(&self.inner.health).entry(backend.clone()).or_default().entry(side).or_default();
        Watched { calls: self.clone(), backend: backend.clone(), side }
    }

    /// Has `listener` told of every call that ends from now on.
    pub fn subscribe(&self, listener: impl Fn(&Ended) + Send + Sync + 'static) {
        self.inner.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// The calls under way, the oldest first.
    pub fn running(&self) -> Vec<Running> {
        let mut running: Vec<Running> = lock(&self.inner.running).values().cloned().collect();
        running.sort_by_key(|call| call.since);
        running
    }

    /// Every backend that is watched, from each side, and what is wrong with it, if something is.
    pub fn health(&self) -> Vec<(BackendName, Side, Option<Trouble>)> {
        let health = lock(&self.inner.health);
        health
            .iter()
            .flat_map(|(name, sides)| {
                sides.iter().map(|(side, trouble)| (name.clone(), *side, trouble.clone().filter(Trouble::stands)))
            })
            .collect()
    }

    /// Notes that a backend is in trouble, for a reason that is no answer of it: that there is none, for example.
    pub fn trouble(&self, backend: &BackendName, side: Side, operation: &'static str, error: String) {
        self.note(backend, side, |trouble| Trouble::go_on(trouble, operation, error));
    }

    fn note(&self, backend: &BackendName, side: Side, change: impl FnOnce(&mut Option<Trouble>)) {
        change(lock(&self.inner.health).entry(backend.clone()).or_default().entry(side).or_default());
    }

    fn end(&self, number: u64, outcome: Outcome, error: Option<String>) {
        let Some(Running { backend, side, operation, since }) = lock(&self.inner.running).remove(&number) else { return };
        self.note(&backend, side, |trouble| {
            match verdict(operation, outcome, trouble.as_ref().map(|trouble| trouble.operation)) {
                Verdict::Answers => *trouble = None,
                Verdict::Trouble => Trouble::go_on(trouble, operation, error.clone().unwrap_or_default()),
                Verdict::Nothing => {}
            }
        });
        let ended = Ended { backend, side, operation, outcome, error, took: since.elapsed(), at: SystemTime::now() };
        for listener in self.inner.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(&ended);
        }
    }
}

/// What tells of the calls of one backend.
#[derive(Debug, Clone)]
pub struct Watched {
    calls: Calls,
    backend: BackendName,
    side: Side,
}

impl Watched {
    fn begin(&self, call: &'static str) -> Open {
        let operation = call.split_once('.').map_or(call, |(_, method)| method);
        let number = self.calls.inner.next.fetch_add(1, Ordering::Relaxed);
        let running = Running { backend: self.backend.clone(), side: self.side, operation, since: Instant::now() };
        lock(&self.calls.inner.running).insert(number, running);
        Open { calls: self.calls.clone(), number }
    }
}

/// A call under way. One that is dropped, by a caller that goes or by a panic, is abandoned.
struct Open {
    calls: Calls,
    number: u64,
}

impl Open {
    fn end<T>(self, result: &Result<T>) {
        match result {
            Ok(_) => self.calls.end(self.number, Outcome::Done, None),
            Err(error) => self.calls.end(self.number, Outcome::Failed(error.kind()), Some(error.chain())),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.calls.end(self.number, Outcome::Abandoned, None);
    }
}

impl Around for Watched {
    fn blocking<T>(&self, call: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // Asked for every mount of the machine, and answered by its kernel.
        if matches!(call, "attacher.identify" | "attacher.shows") {
            return work();
        }
        let open = self.begin(call);
        let span = spans::called(call, Some(self.backend.as_str()));
        let result = span.in_scope(work);
        if result.is_err() {
            spans::failed(&span);
        }
        open.end(&result);
        result
    }

    async fn waiting<T: Send>(&self, call: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let open = self.begin(call);
        let span = spans::called(call, Some(self.backend.as_str()));
        let result = work.instrument(span.clone()).await;
        if result.is_err() {
            spans::failed(&span);
        }
        open.end(&result);
        result
    }
}

#[cfg(test)]
mod tests {
    use hawser_volume::Error;

    use super::*;

    fn watched() -> (Calls, Watched, Arc<Mutex<Vec<Ended>>>) {
        let calls = Calls::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        calls.subscribe(move |ended| list.lock().unwrap().push(ended.clone()));
        let watched = calls.watch(&"a".parse().unwrap(), Side::Controller);
        (calls, watched, told)
    }

    #[tokio::test]
    async fn every_call_is_told_once_with_what_came_of_it() {
        let (calls, watched, told) = watched();
        let running = calls.clone();
        watched
            .waiting("provisioner.create", async move {
                assert_eq!(running.running()[0].operation, "create");
                Ok(())
            })
            .await
            .unwrap();
        let _ = watched.blocking("provisioner.delete", || Err::<(), _>(Error::not_found("v")));
        // A caller that goes.
        drop(
            tokio::time::timeout(Duration::ZERO, watched.waiting("provisioner.list", std::future::pending::<Result<()>>())).await,
        );
        let told = told.lock().unwrap();
        let short: Vec<_> = told.iter().map(|ended| (ended.operation, ended.outcome.as_str())).collect();
        assert_eq!(short, [("create", "ok"), ("delete", "not_found"), ("list", "abandoned")]);
        assert!(calls.running().is_empty());
    }

    #[test]
    fn trouble_begins_with_silence_and_ends_with_an_answer() {
        let (calls, watched, _) = watched();
        let now = || calls.health().remove(0).2;
        let fail = |error: Error| drop(watched.blocking("provisioner.list", || Err::<(), _>(error)));
        assert!(now().is_none());
        fail(Error::unavailable("no route"));
        let first = now().unwrap();
        fail(Error::new(Kind::Unauthenticated, "wrong password"));
        let second = now().unwrap();
        assert_eq!((first.since, second.error.as_str(), second.failures), (second.since, "wrong password", 2));
        // What is said without asking proves nothing.
        fail(Error::invalid("no such parameter"));
        assert!(now().is_some());
        // What needs no storage system proves nothing either, unless it is what did not work.
        watched.blocking("provisioner.check", || Ok(())).unwrap();
        assert!(now().is_some());
        let _ = watched.blocking("provisioner.delete", || Err::<(), _>(Error::not_found("v")));
        assert!(now().is_none());
        let _ = watched.blocking("attacher.answers", || Err::<(), _>(Error::unavailable("silent")));
        watched.blocking("attacher.answers", || Ok(())).unwrap();
        assert!(now().is_none());
    }
}
