//! What runs and what waits, for people who ask why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Key, Lanes, Place, Queue, lock};

/// A call that runs or waits.
#[derive(Debug, Clone)]
pub struct Work {
    /// Which call of this queue it is; they are numbered in the order of their arrival.
    pub number: u64,
    /// The method.
    pub method: &'static str,
    /// What it changes.
    pub keys: Vec<Key>,
    /// When it came.
    pub since: Instant,
    /// When its turn came; nothing while it waits.
    pub began: Option<Instant>,
    /// How many callers wait for its answer.
    pub callers: u32,
    /// The calls immediately before it, one for each object that it waits for.
    pub behind: Vec<u64>,
}

impl Queue {
    /// All calls that run or wait, in the order of their arrival. Waits for nobody.
    pub fn work(&self) -> Vec<Work> {
        let lanes = lock(&self.lanes);
        let places: BTreeMap<u64, &Arc<Place>> = lanes.by_key.values().flatten().map(|place| (place.number, place)).collect();
        places.into_values().map(|place| lanes.look(place)).collect()
    }
}

impl Lanes {
    fn look(&self, place: &Place) -> Work {
        let before = |key| self.by_key.get(key)?.iter().rev().find(|other| other.number < place.number);
        let mut behind: Vec<u64> = place.keys.iter().filter_map(before).map(|other| other.number).collect();
        behind.sort_unstable();
        behind.dedup();
        Work {
            number: place.number,
            method: place.method,
            keys: place.keys.iter().cloned().collect(),
            since: place.since,
            began: place.begun.get().copied(),
            callers: place.callers.load(Ordering::Relaxed),
            behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::deadline::Deadline;
    use crate::queue::Calls;

    /// A long call, one behind it with a second object, and one behind that.
    #[tokio::test]
    async fn it_is_seen_who_waits_for_whom_and_for_how_many() {
        let queue = Queue::new();
        let (stage, unstage) = (Calls::new(&queue, "Stage"), Calls::new(&queue, "Unstage"));
        let (go, gate) = oneshot::channel::<()>();
        let (soon, at_once) = (Deadline::after(Duration::from_secs(5)), Deadline::after(Duration::ZERO));
        let a = || Key::within("volume", "node", "a");
        let gone = stage.run([a()], b"1", at_once, async { gate.await.map_err(|_| crate::Error::internal("no gate")) });
        gone.await.unwrap_err();
        let rest = async {
            let second = unstage.run([a(), Key::new("volume", "b")], b"2", soon, async { Ok(()) });
            let third = unstage.run([Key::new("volume", "b")], b"3", soon, async { Ok(()) });
            let same = unstage.run([Key::new("volume", "b")], b"3", soon, async { Ok(()) });
            let look = async {
                let seen = queue.work();
                go.send(()).unwrap();
                seen
            };
            tokio::join!(second, third, same, look).3
        };
        let seen = rest.await;
        let told: Vec<_> = seen.iter().map(|work| (work.method, work.began.is_some(), work.callers, &work.behind[..])).collect();
        let (first, second) = (seen[0].number, seen[1].number);
        assert_eq!(
            told,
            [("Stage", true, 0, &[][..]), ("Unstage", false, 1, &[first][..]), ("Unstage", false, 2, &[second][..])]
        );
        assert_eq!(seen[0].keys, [a()]);
        assert_eq!(queue.work().len(), 0);
    }
}
