//! Waiting for the states of objects: one poller for all who wait for objects of one kind.
//!
//! EC2 tells nobody when a volume is available or attached, so it has to be asked again and again; but once for all volumes that
//! anybody waits for, not once for each. The poller runs while somebody waits, and looks when somebody expects something to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hawser_volume::Deadline;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::batch::{Batch, KEYS_MAX};
use crate::pace::{PAUSE, Pace};
use crate::refusal::Refusal;

/// Pause for each further question that one look takes, so that many volumes do not use up the account's rate.
const PAUSE_EACH: Duration = Duration::from_millis(200);

/// What was seen of an object last: the object, or that it is not there, or why EC2 could not be asked.
#[derive(Debug)]
struct Sight<V> {
    /// The look that it is of. Those who joined in it or later were not there when it was asked for.
    look: u64,
    /// When it was asked for.
    asked: Instant,
    seen: Result<Option<Arc<V>>, Refusal>,
}

impl<V> Clone for Sight<V> {
    fn clone(&self) -> Self {
        Self { look: self.look, asked: self.asked, seen: self.seen.clone() }
    }
}

/// The poller of one account and region. Cheap to clone.
#[derive(Debug)]
pub struct Watch<V>(Arc<Inner<V>>);

impl<V> Clone for Watch<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<V> {
    objects: Batch<V>,
    board: Mutex<Board<V>>,
    /// Somebody has joined, who may expect something sooner than the others.
    joined: Notify,
}

#[derive(Debug)]
struct Board<V> {
    watched: BTreeMap<String, Watched<V>>,
    polled: bool,
    /// The number of the look that was begun last.
    look: u64,
}

/// An object that somebody waits for.
#[derive(Debug)]
struct Watched<V> {
    sender: watch::Sender<Option<Sight<V>>>,
    /// When it is to be looked at.
    due: BTreeSet<Instant>,
}

impl<V: std::fmt::Debug + Clone + Send + Sync + 'static> Watch<V> {
    /// A poller that looks through `objects`.
    pub fn new(objects: Batch<V>) -> Self {
        let board = Board { watched: BTreeMap::new(), polled: false, look: 0 };
        Self(Arc::new(Inner { objects, board: Mutex::new(board), joined: Notify::new() }))
    }

    /// Waits until `judge` makes something of the object `id`; it is shown each new sight, and `None` when EC2 does not list it,
    /// which it may fail to do for some seconds after it was made. Gives up at `deadline`, with what was last in the way.
    ///
    /// Only what is seen after this call counts: a sight that somebody else was shown before may be of before the caller's own
    /// change.
    pub async fn until<T>(&self, id: &str, deadline: Deadline, judge: impl FnMut(Option<&V>) -> Option<T>) -> Result<T, Refusal> {
        self.until_seen(id, PAUSE, deadline, judge).await.map(|(end, ..)| end)
    }

    /// The same for what EC2 was asked for a moment ago and does at some `pace`: that says when to look first, and learns from what is seen.
    pub async fn until_done<T>(
        &self,
        id: &str,
        pace: &Pace,
        deadline: Deadline,
        judge: impl FnMut(Option<&V>) -> Option<T>,
    ) -> Result<T, Refusal> {
        let (end, missed, found) = self.until_seen(id, pace.first(), deadline, judge).await?;
        pace.took(missed, found);
        Ok(end)
    }

    /// The same, with a first look after `first`. Returns also after how long the last look was begun that did not show it, and the one that
    /// did.
    async fn until_seen<T>(
        &self,
        id: &str,
        first: Duration,
        deadline: Deadline,
        mut judge: impl FnMut(Option<&V>) -> Option<T>,
    ) -> Result<(T, Duration, Duration), Refusal> {
        let begun = Instant::now();
        // Whoever has less time than that is to have looked all the same.
        let first = first.min((deadline.remaining() / 2).max(PAUSE));
        let (mut sights, joined) = self.join(id, begun + first);
        let mut last: Option<Refusal> = None;
        let mut missed = Duration::ZERO;
        loop {
            match tokio::time::timeout(deadline.remaining(), sights.changed()).await {
                Err(_) => {
                    let silent = || Refusal::unanswered(self.0.objects.action(), "it did not get there in time", false);
                    return Err(last.unwrap_or_else(silent));
                }
                // The poller has gone with its runtime.
                Ok(Err(_)) => return Err(Refusal::unanswered(self.0.objects.action(), "nobody looks any more", false)),
                Ok(Ok(())) => {}
            }
            let sight = sights.borrow_and_update().clone();
            let Some(Sight { asked, seen, .. }) = sight.filter(|sight| sight.look > joined) else { continue };
            match seen {
                Err(refusal) => last = Some(refusal),
                Ok(volume) => {
                    last = None;
                    let after = asked.saturating_duration_since(begun);
                    if let Some(end) = judge(volume.as_deref()) {
                        return Ok((end, missed, after));
                    }
                    missed = after;
                }
            }
        }
    }

    /// How many objects are watched.
    pub fn watched(&self) -> usize {
        self.0.board().watched.values().filter(|watched| watched.sender.receiver_count() > 0).count()
    }

    fn join(&self, id: &str, due: Instant) -> (watch::Receiver<Option<Sight<V>>>, u64) {
        let mut board = self.0.board();
        let new = || Watched { sender: watch::Sender::new(None), due: BTreeSet::new() };
        let watched = board.watched.entry(id.to_owned()).or_insert_with(new);
        if watched.sender.receiver_count() == 0 {
            // What others expected who have gone since nobody expects any more.
            watched.due.clear();
        }
        let receiver = watched.sender.subscribe();
        watched.due.insert(due);
        self.0.joined.notify_one();
        if !board.polled {
            board.polled = true;
            tokio::spawn(Arc::clone(&self.0).poll());
        }
        (receiver, board.look)
    }
}

impl<V: std::fmt::Debug + Clone + Send + Sync + 'static> Inner<V> {
    async fn poll(self: Arc<Self>) {
        let mut rested = Instant::now();
        while let Some(due) = self.due() {
            tokio::select! {
                () = tokio::time::sleep_until(due.max(rested)) => {}
                () = self.joined.notified() => continue,
            }
            let asked = Instant::now();
            // Everything that is watched: what is asked for along with the rest costs nothing.
            let (ids, look) = self.begin(asked);
            if ids.is_empty() {
                continue;
            }
            let deadline = Deadline::after(Duration::from_secs(60));
            let seen = self.objects.get_all(ids.iter().cloned(), deadline).await;
            let more = u32::try_from(ids.len().saturating_sub(1) / KEYS_MAX).unwrap_or(u32::MAX);
            rested = Instant::now() + PAUSE + PAUSE_EACH.saturating_mul(more);
            self.show(&ids, (look, asked), seen, rested);
        }
    }

    /// When somebody expects something next; or the end of the task, decided under the same lock under which others join.
    fn due(&self) -> Option<Instant> {
        let mut board = self.board();
        board.watched.retain(|_, watched| watched.sender.receiver_count() > 0);
        board.polled = !board.watched.is_empty();
        let first = board.watched.values().filter_map(|watched| watched.due.first()).min().copied();
        board.polled.then(|| first.unwrap_or_else(Instant::now))
    }

    /// What is watched, for a look that begins now.
    fn begin(&self, now: Instant) -> (Vec<String>, u64) {
        let mut board = self.board();
        board.watched.retain(|_, watched| watched.sender.receiver_count() > 0);
        board.look += 1;
        board.watched.values_mut().for_each(|watched| watched.due.retain(|due| *due > now));
        (board.watched.keys().cloned().collect(), board.look)
    }

    /// Shows what was seen to those who were there when it was asked for. What nobody expects at a later time is looked at `next`.
    fn show(&self, ids: &[String], (look, asked): (u64, Instant), seen: Result<BTreeMap<String, V>, Refusal>, next: Instant) {
        let mut seen = seen.map(|found| found.into_iter().map(|(id, object)| (id, Arc::new(object))).collect::<BTreeMap<_, _>>());
        let mut board = self.board();
        for id in ids {
            let Some(watched) = board.watched.get_mut(id) else { continue };
            if watched.due.is_empty() {
                watched.due.insert(next);
            }
            let seen = seen.as_mut().map(|found| found.remove(id)).map_err(|refusal| refusal.clone());
            watched.sender.send_replace(Some(Sight { look, asked, seen }));
        }
    }

    fn board(&self) -> MutexGuard<'_, Board<V>> {
        self.board.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::volume::{Volume, VolumeState};

    fn volume(id: &str, state: &str) -> Volume {
        quick_xml::de::from_str(&format!("<v><volumeId>{id}</volumeId><size>1</size><status>{state}</status></v>")).unwrap()
    }

    /// Volumes that are `creating` for the first `looks` questions; each question takes `took`, and shows what was when it began.
    fn world(looks: u32, took: Duration) -> (Watch<Volume>, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let note = Arc::clone(&asked);
        let ask = move |ids: Vec<String>, _| {
            let number = note.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(took).await;
                if ids.iter().any(|id| id == "fail") && number < looks {
                    return Err(Refusal::unanswered("DescribeVolumes", "the line is cut", false));
                }
                let state = if number < looks { "creating" } else { "available" };
                Ok(ids.into_iter().filter(|id| id != "none").map(|id| (id.clone(), volume(&id, state))).collect())
            }
        };
        (Watch::new(Batch::new("DescribeVolumes", ask)), asked)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    fn available(volume: Option<&Volume>) -> Option<()> {
        (volume?.state == VolumeState::Available).then_some(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_wait_are_one_who_looks() {
        let (watch, asked) = world(5, Duration::from_millis(20));
        let waiters: Vec<_> = (0..100)
            .map(|number| {
                let watch = watch.clone();
                tokio::spawn(async move { watch.until(&format!("vol-{number}"), soon(), available).await })
            })
            .collect();
        for waiter in waiters {
            waiter.await.unwrap().unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 6);
        // Nobody waits: nobody looks.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((asked.load(Ordering::SeqCst), watch.watched()), (6, 0));
        // And again.
        watch.until("vol-1", soon(), available).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 7);
    }

    /// A look that was under way when the caller came is of before what the caller did.
    #[tokio::test(start_paused = true)]
    async fn what_was_seen_before_does_not_count() {
        let (watch, asked) = world(1, Duration::from_millis(300));
        let other = tokio::spawn({
            let watch = watch.clone();
            async move { watch.until("vol-1", soon(), available).await }
        });
        tokio::time::sleep(PAUSE + Duration::from_millis(100)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1, "the first look is under way");
        let shown = watch.until("vol-1", soon(), |volume| volume.map(|volume| volume.state)).await.unwrap();
        assert_eq!(shown, VolumeState::Available);
        other.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_waited_out_and_named_in_the_end() {
        let (watch, _) = world(3, Duration::from_millis(20));
        watch.until("fail", soon(), available).await.unwrap();
        let (watch, _) = world(u32::MAX, Duration::from_millis(20));
        let error = watch.until("fail", Deadline::after(Duration::from_millis(20)), |_| Some(())).await.unwrap_err();
        assert!(error.to_string().contains("did not get there in time"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_listed_is_told_as_such() {
        let (watch, _) = world(0, Duration::from_millis(20));
        watch.until("none", soon(), |volume| volume.is_none().then_some(())).await.unwrap();
    }
}
