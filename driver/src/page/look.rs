//! A question whose answer may be long in coming: asked at most once at a time, never waited for, and its last answer kept.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hawser_volume::Result;

/// How long after an answer the question is not asked again even when it is known to be out of date.
const BREATH: Duration = Duration::from_secs(1);

/// And how many times as long as the answer took: whoever is slow is asked less often.
const SHARE: u32 = 10;

/// See the module's documentation. Clones share the answer.
#[derive(Debug)]
pub(super) struct Look<T> {
    state: Arc<Mutex<State<T>>>,
    pause: Duration,
}

impl<T> Clone for Look<T> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), pause: self.pause }
    }
}

#[derive(Debug)]
struct State<T> {
    asking: Option<Instant>,
    /// When the last answer came, and how long it took.
    ended: Option<(Instant, Duration)>,
    /// Something has changed since the question was asked.
    outdated: bool,
    good: Option<(Instant, Arc<T>)>,
    failed: Option<String>,
}

/// What is known now.
#[derive(Debug)]
pub(super) struct Seen<T> {
    /// The last answer that was no error, and how old it is.
    pub(super) good: Option<(Duration, Arc<T>)>,
    /// What the last answer said, if it was an error.
    pub(super) failed: Option<String>,
    /// For how long an answer has been waited for, if it is.
    pub(super) asking: Option<Duration>,
}

/// Ends the question, also when it panics.
struct Asking<T> {
    look: Look<T>,
    since: Instant,
    result: Option<Result<T>>,
}

impl<T> Asking<T> {
    fn end(mut self, result: Result<T>) {
        self.result = Some(result);
    }
}

impl<T> Drop for Asking<T> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.look.lock();
        state.asking = None;
        state.ended = Some((now, now - self.since));
        match self.result.take() {
            Some(Ok(answer)) => {
                state.good = Some((now, Arc::new(answer)));
                state.failed = None;
            }
            Some(Err(error)) => state.failed = Some(error.chain()),
            None => state.failed = Some("the question panicked; see the log".to_owned()),
        }
    }
}

impl<T> State<T> {
    fn is_due(&self, now: Instant, pause: Duration) -> bool {
        let pause = if self.outdated { BREATH } else { pause };
        let rested = |(ended, took): (Instant, Duration)| now - ended >= pause.max(took.saturating_mul(SHARE));
        self.asking.is_none() && self.ended.is_none_or(rested)
    }
}

impl<T> Look<T> {
    /// A question that is asked again when its answer is so old.
    pub(super) fn every(pause: Duration) -> Self {
        let state = State { asking: None, ended: None, outdated: false, good: None, failed: None };
        Self { state: Arc::new(Mutex::new(state)), pause }
    }

    /// Notes that the answer may be another one now.
    pub(super) fn outdate(&self) {
        self.lock().outdated = true;
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub(super) fn seen(&self) -> Seen<T> {
        let state = self.lock();
        Seen {
            good: state.good.as_ref().map(|(at, answer)| (at.elapsed(), Arc::clone(answer))),
            failed: state.failed.clone(),
            asking: state.asking.map(|since| since.elapsed()),
        }
    }
}

impl<T: Send + Sync + 'static> Look<T> {
    /// Asks unless that is under way or was done a moment ago. Does not wait.
    ///
    /// There is no deadline: what hangs goes on hanging, alone. A second question would only hang beside it, for each that looks.
    pub(super) fn ask<F>(&self, question: impl FnOnce() -> F)
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let now = Instant::now();
        let mut state = self.lock();
        if !state.is_due(now, self.pause) {
            return;
        }
        state.asking = Some(now);
        state.outdated = false;
        drop(state);
        let question = question();
        let asking = Asking { look: self.clone(), since: now, result: None };
        tokio::spawn(async move { asking.end(question.await) });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use hawser_volume::Error;
    use tokio::sync::Notify;

    use super::*;

    async fn settled<T>(look: &Look<T>) {
        while look.lock().asking.is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[test]
    fn whoever_is_slow_is_asked_less_often() {
        let look: Look<u32> = Look::every(Duration::from_secs(10));
        let ended = Instant::now();
        let due = |after: f64| look.lock().is_due(ended + Duration::from_secs_f64(after), look.pause);
        assert!(due(0.0));
        look.lock().ended = Some((ended, Duration::from_millis(5)));
        assert!(!due(9.9) && due(10.0));
        look.outdate();
        assert!(!due(0.9) && due(1.0));
        look.lock().ended = Some((ended, Duration::from_secs(3)));
        assert!(!due(29.9) && due(30.0));
    }

    #[tokio::test]
    async fn a_question_that_hangs_is_asked_once_and_the_old_answer_stays() {
        let look = Look::every(Duration::from_secs(10));
        let asked = Arc::new(AtomicU32::new(0));
        let go = Arc::new(Notify::new());
        let ask = |answer: fn() -> Result<u32>| {
            let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
            look.ask(move || async move {
                asked.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                answer()
            });
        };
        ask(|| Ok(7));
        for _ in 0..10 {
            ask(|| Ok(8));
            tokio::task::yield_now().await;
        }
        assert!(look.seen().asking.is_some() && look.seen().good.is_none());
        go.notify_one();
        settled(&look).await;
        assert_eq!((asked.load(Ordering::Relaxed), *look.seen().good.unwrap().1), (1, 7));
        // A moment after an answer nobody is asked.
        ask(|| Ok(9));
        assert!(look.seen().asking.is_none());
        for (answer, words) in
            [((|| Err(Error::unavailable("away"))) as fn() -> Result<u32>, "away"), (|| panic!("planted"), "panicked")]
        {
            look.lock().ended = None;
            ask(answer);
            go.notify_one();
            settled(&look).await;
            let seen = look.seen();
            assert!(seen.failed.unwrap().contains(words));
            assert_eq!(*seen.good.unwrap().1, 7);
        }
    }
}
