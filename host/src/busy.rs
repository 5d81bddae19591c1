//! Busy for a moment.
//!
//! A program that is being started holds a copy of every descriptor of this process until it runs (they are closed on exec, not
//! on fork). While one thread starts mkfs, what another thread has just closed is still open for about a millisecond, on a machine
//! that is short of processors for much longer: a mount point in use, a device held exclusively. So what is busy is asked again for
//! a short while before it is called so.

use std::time::Duration;

use hawser_volume::Deadline;

/// How long busy may be a moment.
const MOMENT: Duration = Duration::from_secs(3);

/// The pause before asking again.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls `work` until its result is not busy, or has been busy for longer than a moment.
pub(crate) fn asked_again<T, E>(mut work: impl FnMut() -> Result<T, E>, is_busy: impl Fn(&E) -> bool) -> Result<T, E> {
    let patience = Deadline::after(MOMENT);
    loop {
        match work() {
            Err(error) if is_busy(&error) && !patience.passed() => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_busy_is_asked_again_and_not_for_long() {
        let mut calls = 0;
        let result = asked_again(
            || {
                calls += 1;
                if calls < 3 { Err("busy") } else { Ok(calls) }
            },
            |error| *error == "busy",
        );
        assert_eq!(result, Ok(3));
        assert_eq!(asked_again(|| Err::<(), _>("gone"), |error| *error == "busy"), Err("gone"));
        assert_eq!(asked_again(|| Err::<(), _>("busy"), |error| *error == "busy"), Err("busy"));
    }
}
