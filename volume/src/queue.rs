//! The order in which calls run.
//!
//! A call names the objects that it changes ([`Key`]s). It runs when every earlier call on any of them has finished:
//! calls on one object run one at a time and in the order of their arrival, calls on different objects never wait for each
//! other. What a caller sees:
//!
//! * A busy object means waiting, not ABORTED: Mesos and Nomad take ABORTED as the end of an operation.
//! * A call that is identical to the last one in line shares its answer instead of running again. Only the *last*: with
//!   `stage, unstage` in line, a repeated `stage` must run after the `unstage`, or the caller would be told that a volume is
//!   staged which is about to be unstaged.
//! * The work runs in a task of its own. A caller whose deadline passes gets DEADLINE_EXCEEDED, or is gone; the work goes on,
//!   and a repetition joins it or finds it done.
//! * A panic in the work becomes an error of this one call, and the next in line gets its turn.
//!
//! Calls enter all their lanes under one lock, so the order is the same in every lane and no two calls can wait for each
//! other in a circle.
//!
//! What the queue knows can be looked at without waiting for anybody: what runs and waits ([`Queue::work`]) and what failed
//! ([`Queue::failures`]).

mod failures;
mod key;
mod work;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::deadline::Deadline;
use crate::error::{Error, Result};

pub use failures::{Failure, Failures};
pub use key::Key;
pub use work::Work;

/// What makes two calls identical: the method and every byte of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a call. `request` must be encoded deterministically. Only a digest is kept, so no secret is.
    pub fn new(method: &str, request: &[u8]) -> Self {
        let mut digest = Sha256::new();
        digest.update(method.as_bytes());
        digest.update([0]);
        digest.update(request);
        Self(digest.finalize().into())
    }
}

/// The lanes, shared by every kind of call that touches the same objects.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    lanes: Arc<Mutex<Lanes>>,
    tasks: TaskTracker,
    failures: Failures,
    turns: Arc<Turns>,
}

/// Who is told that a call had its turn: its method, and how long it had waited.
#[derive(Default)]
struct Turns(OnceLock<Box<dyn Fn(&'static str, Duration) + Send + Sync>>);

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turns").field(&self.0.get().is_some()).finish()
    }
}

#[derive(Debug, Default)]
struct Lanes {
    next: u64,
    by_key: HashMap<Key, VecDeque<Arc<Place>>>,
}

/// A call's place in line.
#[derive(Debug)]
struct Place {
    number: u64,
    method: &'static str,
    since: Instant,
    begun: OnceLock<Instant>,
    callers: AtomicU32,
    fingerprint: Fingerprint,
    keys: BTreeSet<Key>,
    turn: Notify,
}

/// Held while a call waits or runs; leaving its lanes is what lets the next one start.
struct Ticket {
    lanes: Arc<Mutex<Lanes>>,
    place: Arc<Place>,
}

enum Entry {
    Lead(Ticket),
    Join(Arc<Place>),
}

/// Held by whoever waits for the answer of a call.
struct Caller(Arc<Place>);

impl Caller {
    fn of(place: &Arc<Place>) -> Self {
        place.callers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(place))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.callers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Locks even after a panic elsewhere: every section below leaves the lanes consistent at each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lanes {
    fn is_first_everywhere(&self, place: &Place) -> bool {
        place
            .keys
            .iter()
            .all(|key| self.by_key.get(key).and_then(VecDeque::front).is_some_and(|first| first.number == place.number))
    }

    fn last(&self, keys: &BTreeSet<Key>) -> Option<&Arc<Place>> {
        let mut last = keys.iter().map(|key| self.by_key.get(key).and_then(VecDeque::back));
        let first = last.next()??;
        last.all(|other| other.is_some_and(|other| other.number == first.number)).then_some(first)
    }
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many calls wait or run.
    pub fn depth(&self) -> usize {
        self.tasks.len()
    }

    /// Has `tell` called with the method of each call that has its turn from now on, and how long it had waited. Once a queue; later
    /// ones are not called.
    pub fn on_turn(&self, tell: impl Fn(&'static str, Duration) + Send + Sync + 'static) {
        let _ = self.turns.0.set(Box::new(tell));
    }

    /// Waits until every call that has been accepted has finished; used once, at shutdown.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The failures of the calls that were in this queue.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// What runs on `key` now, and for how long, for messages to callers that could not wait.
    fn running(&self, keys: &BTreeSet<Key>) -> Option<(&'static str, Instant)> {
        let lanes = lock(&self.lanes);
        keys.iter().find_map(|key| lanes.by_key.get(key)?.front().map(|place| (place.method, place.since)))
    }

    fn enter(&self, method: &'static str, keys: BTreeSet<Key>, fingerprint: Fingerprint) -> Entry {
        let mut lanes = lock(&self.lanes);
        if let Some(last) = lanes.last(&keys)
            && last.fingerprint == fingerprint
            && last.keys == keys
        {
            return Entry::Join(Arc::clone(last));
        }
        lanes.next += 1;
        let place = Arc::new(Place {
            number: lanes.next,
            method,
            since: Instant::now(),
            begun: OnceLock::new(),
            callers: AtomicU32::new(0),
            fingerprint,
            keys,
            turn: Notify::new(),
        });
        for key in &place.keys {
            lanes.by_key.entry(key.clone()).or_default().push_back(Arc::clone(&place));
        }
        if lanes.is_first_everywhere(&place) {
            place.turn.notify_one();
        }
        Entry::Lead(Ticket { lanes: Arc::clone(&self.lanes), place })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut lanes = lock(&self.lanes);
        for key in &self.place.keys {
            if let Some(lane) = lanes.by_key.get_mut(key) {
                lane.retain(|place| place.number != self.place.number);
                if lane.is_empty() {
                    lanes.by_key.remove(key);
                }
            }
        }
        for key in &self.place.keys {
            if let Some(first) = lanes.by_key.get(key).and_then(VecDeque::front)
                && lanes.is_first_everywhere(first)
            {
                first.turn.notify_one();
            }
        }
    }
}

type Answer<T> = watch::Receiver<Option<Result<T>>>;

/// All calls of one method, whose answers are of type `T`.
#[derive(Debug)]
pub struct Calls<T> {
    queue: Queue,
    method: &'static str,
    answers: Arc<Mutex<HashMap<u64, Answer<T>>>>,
}

impl<T: Clone + Send + Sync + 'static> Calls<T> {
    /// Calls of `method` that take their turns in `queue`.
    pub fn new(queue: &Queue, method: &'static str) -> Self {
        Self { queue: queue.clone(), method, answers: Arc::default() }
    }

    /// The same under another name, for methods whose answers are of one type.
    pub fn called(&self, method: &'static str) -> Self {
        Self { queue: self.queue.clone(), method, answers: Arc::clone(&self.answers) }
    }

    /// Runs `work` when its turn comes, or shares the answer of an identical call; waits for the answer until `deadline`.
    ///
    /// `request` is the deterministic encoding of the request. Cancelling the returned future gives up the answer, not the
    /// work.
    pub async fn run<F>(&self, keys: impl IntoIterator<Item = Key>, request: &[u8], deadline: Deadline, work: F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let keys: BTreeSet<Key> = keys.into_iter().collect();
        let (mut answer, _caller) = self.answer(keys.clone(), Fingerprint::new(self.method, request), work);
        let waited = tokio::time::timeout_at(deadline.instant().into(), answer.wait_for(Option::is_some)).await;
        match waited {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| Err(self.lost())).map_err(Error::on_record),
            Ok(Err(_)) => Err(self.lost()),
            Err(_) => {
                let running = match self.queue.running(&keys) {
                    Some((method, since)) => format!(" ({method} has been at it for {} s)", since.elapsed().as_secs()),
                    None => String::new(),
                };
                // No failure of the work, which [`Queue::work`] shows.
                let still = format!("{} is still under way{running}; ask again for its result", self.method);
                Err(Error::deadline_exceeded(still).on_record())
            }
        }
    }

    fn lost(&self) -> Error {
        Error::internal(format!("{} ended without an answer", self.method))
    }

    /// The answers are locked before the lanes, so that whoever is told to join finds the answer to wait for.
    fn answer<F>(&self, keys: BTreeSet<Key>, fingerprint: Fingerprint, work: F) -> (Answer<T>, Caller)
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut answers = lock(&self.answers);
        let ticket = match self.queue.enter(self.method, keys, fingerprint) {
            Entry::Lead(ticket) => ticket,
            Entry::Join(place) => {
                let caller = Caller::of(&place);
                if let Some(answer) = answers.get(&place.number) {
                    return (answer.clone(), caller);
                }
                // The leader is between leaving its lanes and forgetting its answer only with `answers` locked, and a
                // fingerprint names the method, so a leader of this table is always found.
                let (_, closed) = watch::channel(None);
                return (closed, caller);
            }
        };
        let number = ticket.place.number;
        let caller = Caller::of(&ticket.place);
        let (sender, answer) = watch::channel(None);
        answers.insert(number, answer.clone());
        let forget = Arc::clone(&self.answers);
        let method = self.method;
        let failures = self.queue.failures.clone();
        let turns = Arc::clone(&self.queue.turns);
        let task = async move {
            ticket.place.turn.notified().await;
            let begun = *ticket.place.begun.get_or_init(Instant::now);
            if let Some(tell) = turns.0.get() {
                tell(method, begun.saturating_duration_since(ticket.place.since));
            }
            let result = AssertUnwindSafe(work)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(Error::internal(format!("{method} panicked; see the log"))));
            // Before anybody has the answer, so that whoever has it finds it on record.
            failures.note(&ticket.place.keys, method, result.as_ref().err());
            let mut answers = lock(&forget);
            drop(ticket);
            answers.remove(&number);
            drop(answers);
            sender.send_replace(Some(result));
        };
        self.queue.tasks.spawn(task.in_current_span());
        (answer, caller)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::error::Kind;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    fn volume(id: &str) -> [Key; 1] {
        [Key::new("volume", id)]
    }

    #[tokio::test]
    async fn identical_calls_share_one_run() {
        let queue = Queue::new();
        let calls = Arc::new(Calls::new(&queue, "CreateVolume"));
        let runs = Arc::new(AtomicUsize::new(0));
        let (go, gate) = oneshot::channel::<()>();
        let first = {
            let (calls, runs) = (Arc::clone(&calls), Arc::clone(&runs));
            tokio::spawn(async move {
                let work = async move {
                    let _ = gate.await;
                    Ok(runs.fetch_add(1, Ordering::SeqCst))
                };
                calls.run(volume("a"), b"same", soon(), work).await
            })
        };
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..50)
            .map(|_| {
                let (calls, runs) = (Arc::clone(&calls), Arc::clone(&runs));
                tokio::spawn(async move {
                    calls.run(volume("a"), b"same", soon(), async move { Ok(runs.fetch_add(1, Ordering::SeqCst)) }).await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), 0);
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), 0);
        }
        assert_eq!(queue.depth(), 0);
        assert!(lock(&queue.lanes).by_key.is_empty());
        assert!(lock(&calls.answers).is_empty());
    }

    #[tokio::test]
    async fn how_long_a_call_waited_is_told_when_its_turn_comes() {
        let queue = Queue::new();
        let turns = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&turns);
        queue.on_turn(move |method, waited| told.lock().unwrap().push((method, waited)));
        let (stage, unstage) = (Calls::new(&queue, "Stage"), Calls::new(&queue, "Unstage"));
        let work = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        };
        let first = stage.run(volume("a"), b"1", soon(), work);
        let second = unstage.run(volume("a"), b"2", soon(), async { Ok(()) });
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_ok() && second.is_ok());
        let turns = turns.lock().unwrap();
        assert_eq!(turns.iter().map(|(method, _)| *method).collect::<Vec<_>>(), ["Stage", "Unstage"]);
        assert!(turns[1].1 >= Duration::from_millis(20) && turns[0].1 < turns[1].1, "{turns:?}");
    }

    /// `stage, unstage, stage`: the third must not be answered by the first.
    #[tokio::test]
    async fn a_repetition_behind_its_opposite_runs_again() {
        let queue = Queue::new();
        let stage = Arc::new(Calls::new(&queue, "Stage"));
        let unstage = Arc::new(Calls::new(&queue, "Unstage"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |text: &'static str| {
            let log = Arc::clone(&log);
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                log.lock().unwrap().push(text);
                Ok(())
            }
        };
        let (a, b, c) = tokio::join!(
            stage.run(volume("a"), b"1", soon(), note("stage")),
            unstage.run(volume("a"), b"2", soon(), note("unstage")),
            stage.run(volume("a"), b"1", soon(), note("stage")),
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert_eq!(*log.lock().unwrap(), ["stage", "unstage", "stage"]);
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_does_not_stop_the_work() {
        let queue = Queue::new();
        let calls = Calls::new(&queue, "Stage");
        let (done, finished) = oneshot::channel();
        let work = async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = done.send(());
            Ok(7)
        };
        let error = calls.run(volume("a"), b"x", Deadline::after(Duration::from_millis(5)), work).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        assert!(error.to_string().contains("Stage has been at it"), "{error}");
        let joined = calls.run(volume("a"), b"x", soon(), async { Ok(8) }).await.unwrap();
        assert_eq!(joined, 7);
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_costs_one_call() {
        let queue = Queue::new();
        let calls = Calls::<()>::new(&queue, "Stage");
        let panicking = calls.run(volume("a"), b"1", soon(), async { panic!("planted") });
        let next = calls.run(volume("a"), b"2", soon(), async { Ok(()) });
        let (panicked, next) = tokio::join!(panicking, next);
        assert_eq!(panicked.unwrap_err().kind(), Kind::Internal);
        next.unwrap();
    }

    #[tokio::test]
    async fn different_objects_never_wait_for_each_other() {
        let queue = Queue::new();
        let calls = Arc::new(Calls::new(&queue, "Stage"));
        let (_hold, gate) = oneshot::channel::<()>();
        let hung = {
            let calls = Arc::clone(&calls);
            tokio::spawn(async move {
                calls
                    .run(volume("hung"), b"1", soon(), async move {
                        let _ = gate.await;
                        Ok(())
                    })
                    .await
            })
        };
        tokio::task::yield_now().await;
        calls.run(volume("b"), b"1", soon(), async { Ok(()) }).await.unwrap();
        hung.abort();
    }

    /// Calls on overlapping sets of objects, entered in every order, all finish, and no two overlap in time.
    #[tokio::test(flavor = "multi_thread")]
    async fn overlapping_sets_neither_deadlock_nor_overlap() {
        let queue = Queue::new();
        let calls = Arc::new(Calls::new(&queue, "GroupSnapshot"));
        let busy = Arc::new([const { AtomicUsize::new(0) }; 4]);
        let tasks: Vec<_> = (0..200usize)
            .map(|n| {
                let (calls, busy) = (Arc::clone(&calls), Arc::clone(&busy));
                let set = [n % 4, (n / 4 + 1) % 4, (n * 7) % 4];
                tokio::spawn(async move {
                    let keys: Vec<_> = set.iter().map(|i| Key::new("volume", i.to_string())).collect();
                    let unique: BTreeSet<usize> = set.into_iter().collect();
                    let work = async move {
                        for i in &unique {
                            assert_eq!(busy[*i].fetch_add(1, Ordering::SeqCst), 0);
                        }
                        tokio::task::yield_now().await;
                        for i in &unique {
                            busy[*i].fetch_sub(1, Ordering::SeqCst);
                        }
                        Ok(())
                    };
                    calls.run(keys, &n.to_le_bytes(), soon(), work).await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        queue.drain().await;
        assert!(lock(&queue.lanes).by_key.is_empty());
    }
}
