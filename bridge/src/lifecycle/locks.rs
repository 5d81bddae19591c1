//! One lock a volume: whoever comes through whichever door, one works on it at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// The locks of all volumes that somebody works on or waits for.
#[derive(Debug, Default)]
pub(super) struct Locks {
    by_id: StdMutex<HashMap<String, Weak<Mutex<()>>>>,
}

impl Locks {
    fn of(&self, id: &str) -> Arc<Mutex<()>> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = by_id.get(id).and_then(Weak::upgrade) {
            return lock;
        }
        by_id.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Mutex::new(()));
        by_id.insert(id.to_owned(), Arc::downgrade(&lock));
        lock
    }

    /// Waits until nobody else works on the volume.
    pub(super) async fn lock(&self, id: &str) -> OwnedMutexGuard<()> {
        self.of(id).lock_owned().await
    }

    /// The lock, unless somebody works on the volume now.
    pub(super) fn try_lock(&self, id: &str) -> Option<OwnedMutexGuard<()>> {
        self.of(id).try_lock_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_kept() {
        let locks = Locks::default();
        let held = locks.lock("one").await;
        assert!(locks.try_lock("one").is_none() && locks.try_lock("two").is_some());
        drop(held);
        assert!(locks.try_lock("one").is_some());
        assert!(locks.by_id.lock().unwrap().len() <= 2);
    }
}
