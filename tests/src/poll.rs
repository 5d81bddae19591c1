//! Waiting for something without guessing how long it takes.

use std::time::{Duration, Instant};

use crate::rig::inside;

/// How long anything may take before a test calls it a hang. Far more than it ever needs, so that a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two looks.
fn pause() -> Duration {
    // In a node, looking costs what is looked for the time that it needs to happen.
    Duration::from_millis(if inside::is_inside() { 40 } else { 5 })
}

/// Waits until `look` finds something; panics with `what` when it does not within [`PATIENCE`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen within {} s", PATIENCE.as_secs());
        std::thread::sleep(pause());
    }
}

/// The same for what is asked for asynchronously.
pub async fn until_async<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen within {} s", PATIENCE.as_secs());
        tokio::time::sleep(pause()).await;
    }
}
