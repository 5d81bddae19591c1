//! One question for what many ask at the same time.
//!
//! While one question is under way, what is asked meanwhile is collected and becomes the next one. Who asks while nothing is
//! under way waits for nobody: there is no window that must pass first. A question that takes long does not hold up the others
//! for ever ([`PATIENCE`]).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hawser_volume::Deadline;
use tokio::sync::oneshot;

use crate::refusal::Refusal;

/// Most keys of one question: EC2 accepts so many values for a filter.
pub const KEYS_MAX: usize = 200;

/// How long others wait for a question that is under way before the next one is sent beside it.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// How long one question may take, its repetitions included. Not that of whoever came first: others came with later deadlines.
const ASK_MAX: Duration = Duration::from_secs(60);

/// Sends one question for all these keys; what does not exist is missing from the answer.
type Ask<V> = Box<dyn Fn(Vec<String>, Deadline) -> BoxFuture<Result<BTreeMap<String, V>, Refusal>> + Send + Sync>;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Answer<V> = Result<Option<V>, Refusal>;

/// Collects keys into questions. Cheap to clone.
pub struct Batch<V>(Arc<Inner<V>>);

struct Inner<V> {
    action: &'static str,
    ask: Ask<V>,
    line: Mutex<Line<V>>,
}

struct Line<V> {
    waiting: BTreeMap<String, Vec<oneshot::Sender<Answer<V>>>>,
    /// Whether a task looks after those who wait.
    served: bool,
}

impl<V> Clone for Batch<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> std::fmt::Debug for Batch<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({})", self.0.action)
    }
}

impl<V: Clone + Send + 'static> Batch<V> {
    /// Questions by `ask`, which sends one for all the keys that it is given; what does not exist is missing from its answer.
    /// `action` names them in errors.
    pub fn new<F>(action: &'static str, ask: impl Fn(Vec<String>, Deadline) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<BTreeMap<String, V>, Refusal>> + Send + 'static,
    {
        let ask: Ask<V> = Box::new(move |keys, deadline| Box::pin(ask(keys, deadline)));
        Self(Arc::new(Inner { action, ask, line: Mutex::new(Line { waiting: BTreeMap::new(), served: false }) }))
    }

    /// The action that asks.
    pub fn action(&self) -> &'static str {
        self.0.action
    }

    /// What `key` is as of after this call, or nothing if it does not exist. Who stops waiting disturbs nobody.
    pub async fn get(&self, key: &str, deadline: Deadline) -> Answer<V> {
        let answer = self.join(key);
        let lost = |why: &str| Err(Refusal::unanswered(self.0.action, why, false));
        match tokio::time::timeout(deadline.remaining(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => lost("whoever asked has gone"),
            Err(_) => lost("no answer in time"),
        }
    }

    /// What these keys are; those that do not exist are missing.
    pub async fn get_all(
        &self,
        keys: impl IntoIterator<Item = String>,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, V>, Refusal> {
        let keys: BTreeSet<String> = keys.into_iter().collect();
        // All join before the first is waited for.
        let answers: Vec<(String, oneshot::Receiver<Answer<V>>)> = self.join_all(keys);
        let mut found = BTreeMap::new();
        for (key, answer) in answers {
            let lost = |why: &str| Refusal::unanswered(self.0.action, why, false);
            let answer = tokio::time::timeout(deadline.remaining(), answer).await.map_err(|_| lost("no answer in time"))?;
            if let Some(value) = answer.map_err(|_| lost("whoever asked has gone"))?? {
                found.insert(key, value);
            }
        }
        Ok(found)
    }

    fn join(&self, key: &str) -> oneshot::Receiver<Answer<V>> {
        let (sender, receiver) = oneshot::channel();
        let mut line = self.0.line();
        line.waiting.entry(key.to_owned()).or_default().push(sender);
        self.serve(&mut line);
        receiver
    }

    fn join_all(&self, keys: BTreeSet<String>) -> Vec<(String, oneshot::Receiver<Answer<V>>)> {
        let mut line = self.0.line();
        let answers = keys.into_iter().map(|key| {
            let (sender, receiver) = oneshot::channel();
            line.waiting.entry(key.clone()).or_default().push(sender);
            (key, receiver)
        });
        let answers = answers.collect();
        self.serve(&mut line);
        answers
    }

    /// Sees to it that a task looks after those who wait. The task outlives every caller, so none can be left behind.
    fn serve(&self, line: &mut Line<V>) {
        if !line.served && !line.waiting.is_empty() {
            line.served = true;
            tokio::spawn(Arc::clone(&self.0).run());
        }
    }
}

impl<V: Clone + Send + 'static> Inner<V> {
    async fn run(self: Arc<Self>) {
        while let Some(batch) = self.next() {
            let question = tokio::spawn(Arc::clone(&self).question(batch));
            // It goes on by itself when it takes longer.
            let _ = tokio::time::timeout(PATIENCE, question).await;
        }
    }

    /// Those who wait, without those who have stopped waiting; or the end of the task, decided under the same lock under which
    /// others join.
    fn next(&self) -> Option<BTreeMap<String, Vec<oneshot::Sender<Answer<V>>>>> {
        let mut line = self.line();
        for senders in line.waiting.values_mut() {
            senders.retain(|sender| !sender.is_closed());
        }
        line.waiting.retain(|_, senders| !senders.is_empty());
        let mut batch = BTreeMap::new();
        while batch.len() < KEYS_MAX
            && let Some((key, senders)) = line.waiting.pop_first()
        {
            batch.insert(key, senders);
        }
        line.served = !batch.is_empty();
        line.served.then_some(batch)
    }

    async fn question(self: Arc<Self>, batch: BTreeMap<String, Vec<oneshot::Sender<Answer<V>>>>) {
        let keys = batch.keys().cloned().collect();
        let answer = (self.ask)(keys, Deadline::after(ASK_MAX)).await;
        for (key, senders) in batch {
            let own = answer.as_ref().map(|found| found.get(&key).cloned()).map_err(Refusal::clone);
            for sender in senders {
                // Who has stopped waiting does not want it.
                let _ = sender.send(own.clone());
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line<V>> {
        self.line.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Asked = Arc<Mutex<Vec<usize>>>;

    /// Answers after `took` with each key itself; those that begin with `none` do not exist.
    fn echo(took: Duration) -> (Batch<String>, Asked) {
        let asked = Asked::default();
        let note = Arc::clone(&asked);
        let ask = move |keys: Vec<String>, _| {
            note.lock().unwrap().push(keys.len());
            async move {
                tokio::time::sleep(took).await;
                if keys.iter().any(|key| key == "fail") {
                    return Err(Refusal::unanswered("Echo", "failed", false));
                }
                Ok(keys.into_iter().filter(|key| !key.starts_with("none")).map(|key| (key.clone(), key)).collect())
            }
        };
        (Batch::new("Echo", ask), asked)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_alone_waits_for_the_answer_only() {
        let (batch, asked) = echo(Duration::from_millis(20));
        let began = tokio::time::Instant::now();
        assert_eq!(batch.get("a", soon()).await.unwrap().as_deref(), Some("a"));
        assert_eq!(began.elapsed().as_millis(), 20);
        assert_eq!(*asked.lock().unwrap(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_meanwhile_is_one_question() {
        let (batch, asked) = echo(Duration::from_millis(20));
        let first = tokio::spawn({
            let batch = batch.clone();
            async move { batch.get("first", soon()).await }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let others: Vec<_> = (0..150)
            .map(|number| {
                let batch = batch.clone();
                // Each is asked for twice.
                tokio::spawn(async move { batch.get(&format!("k{}", number % 75), soon()).await })
            })
            .collect();
        assert!(first.await.unwrap().unwrap().is_some());
        for (number, other) in others.into_iter().enumerate() {
            assert_eq!(other.await.unwrap().unwrap(), Some(format!("k{}", number % 75)));
        }
        assert_eq!(*asked.lock().unwrap(), [1, 75]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_keys_are_several_questions() {
        let (batch, asked) = echo(Duration::from_millis(20));
        let found = batch.get_all((0..450).map(|number| number.to_string()), soon()).await.unwrap();
        assert_eq!((found.len(), asked.lock().unwrap().clone()), (450, vec![200, 200, 50]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_exist_hurts_only_who_asked_for_it() {
        let (batch, _) = echo(Duration::from_millis(20));
        let (good, bad) = tokio::join!(batch.get("a", soon()), batch.get("none", soon()));
        assert_eq!((good.unwrap().as_deref(), bad.unwrap()), (Some("a"), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_takes_long_or_fails_holds_up_nobody_for_ever() {
        let (batch, asked) = echo(Duration::from_secs(10));
        let slow = tokio::spawn({
            let batch = batch.clone();
            async move { batch.get("fail", soon()).await }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let began = tokio::time::Instant::now();
        assert!(batch.get("a", soon()).await.unwrap().is_some());
        assert!(began.elapsed() < Duration::from_secs(11));
        assert!(slow.await.unwrap().is_err());
        assert_eq!(*asked.lock().unwrap(), [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_is_not_asked_for() {
        let (batch, asked) = echo(Duration::from_millis(400));
        let first = tokio::spawn({
            let batch = batch.clone();
            async move { batch.get("first", soon()).await }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let error = batch.get("late", Deadline::after(Duration::ZERO)).await.unwrap_err();
        assert!(error.to_string().contains("no answer in time"), "{error}");
        assert!(first.await.unwrap().unwrap().is_some());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*asked.lock().unwrap(), [1]);
    }
}
