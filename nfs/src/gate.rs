//! The gate before a server that may be silent.
//!
//! Work passes the gate on a thread of its own and is waited for as long as it shows signs of life. When the server is silent for longer
//! than the gate's patience, or says itself that it cannot be reached, the gate closes: whoever waited is told, whoever comes is told at
//! once, and no thread is added to those that hang. Behind the closed gate the water is tested, by one thread, again and again; the first
//! answer opens it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hawser_host::remote::Pulse;
use hawser_volume::{Deadline, Error, Kind, Result};

/// How many pieces of work may be with the server at one time.
const WIDTH: usize = 16;

/// The pause between two tests of the water.
const PAUSE: Duration = Duration::from_secs(1);

/// A test of the water: whether the server answers.
type Probe = dyn Fn() -> Result<()> + Send + Sync;

/// A gate. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    /// What is behind it, for messages.
    name: String,
    patience: Duration,
    probe: Box<Probe>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    inside: usize,
    closed: Option<Closed>,
    probing: bool,
}

#[derive(Clone)]
struct Closed {
    since: Instant,
    why: String,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate before what is called `name`; `probe` asks it for a sign of life, and may block.
    pub fn new(name: String, patience: Duration, probe: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        let inner = Inner { name, patience, probe: Box::new(probe), state: Mutex::default(), changed: Condvar::new() };
        Self { inner: Arc::new(inner) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `Unavailable` when the gate is closed.
    pub fn ask(&self) -> Result<()> {
        self.state().closed.as_ref().map_or(Ok(()), |closed| Err(self.silent(closed)))
    }

    /// For how long it has been closed; nothing while it is open. Never waits.
    pub fn closed_for(&self) -> Option<Duration> {
        self.state().closed.as_ref().map(|closed| closed.since.elapsed())
    }

    fn silent(&self, closed: &Closed) -> Error {
        Error::unavailable(format!(
            "{} does not answer since {} s ({}); it is asked again every second and used as soon as it answers",
            self.inner.name,
            closed.since.elapsed().as_secs(),
            closed.why
        ))
    }

    /// Does `work`. What it returns when it ends in time; `Unavailable` when the server is silent, at once if that is known;
    /// `DeadlineExceeded` when it is at work still at `deadline`. Work that is not waited for any more goes on.
    pub fn pass<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&Pulse) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.enter(deadline)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let pulse = Pulse::default();
        let (gate, beat, span) = (self.clone(), pulse.clone(), tracing::Span::current());
        let run = move || {
            // Also when the work panics.
            let inside = Inside(gate);
            let result = span.in_scope(|| work(&beat));
            match &result {
                Err(error) if is_silence(error) => inside.0.close(error.chain()),
                _ => inside.0.open(),
            }
            drop(inside);
            let _ = sender.send(result);
        };
        if let Err(error) = thread::Builder::new().name("nfs".to_owned()).spawn(run) {
            self.leave();
            return Err(Error::unavailable("no thread for the call; the machine has too many").caused_by(error));
        }
        let mut seen = pulse.count();
        let mut since = Instant::now();
        loop {
            let patience = self.inner.patience.saturating_sub(since.elapsed()).min(deadline.remaining());
            match receiver.recv_timeout(patience.max(Duration::from_millis(1))) {
                Ok(result) => return result,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("the call panicked; see the log"));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let now = pulse.count();
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() >= self.inner.patience {
                self.close(format!("a call has had no answer for {} s", self.inner.patience.as_secs()));
                self.ask()?;
            }
            if deadline.passed() {
                return Err(Error::deadline_exceeded(format!("{} is at work still; repeat the call", self.inner.name)));
            }
        }
    }

    fn enter(&self, deadline: Deadline) -> Result<()> {
        let patience = Deadline::after(self.inner.patience.min(deadline.remaining()));
        let mut state = self.state();
        loop {
            if let Some(closed) = state.closed.clone() {
                drop(state);
                return Err(self.silent(&closed));
            }
            if state.inside < WIDTH {
                state.inside += 1;
                return Ok(());
            }
            if patience.passed() {
                return Err(Error::unavailable(format!("{} has {WIDTH} calls in work; repeat the call", self.inner.name)));
            }
            (state, _) = self.inner.changed.wait_timeout(state, patience.remaining()).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self) {
        self.state().inside -= 1;
        self.inner.changed.notify_all();
    }

    /// Opens the gate: there was an answer.
    fn open(&self) {
        let mut state = self.state();
        if let Some(closed) = state.closed.take() {
            tracing::info!(seconds = closed.since.elapsed().as_secs(), "{} answers again", self.inner.name);
            self.inner.changed.notify_all();
        }
    }

    /// Closes the gate and has the water tested.
    fn close(&self, why: String) {
        let mut state = self.state();
        if state.closed.is_none() {
            tracing::warn!(why, "{} does not answer", self.inner.name);
            state.closed = Some(Closed { since: Instant::now(), why });
            self.inner.changed.notify_all();
        }
        if !state.probing {
            state.probing = true;
            drop(state);
            let gate = self.clone();
            let test = thread::Builder::new().name("nfs-probe".to_owned()).spawn(move || gate.test_the_water());
            if let Err(error) = test {
                tracing::error!(%error, "no thread to test the water; the gate is open again");
                let mut state = self.state();
                (state.probing, state.closed) = (false, None);
            }
        }
    }

    fn test_the_water(&self) {
        loop {
            let answer = (self.inner.probe)();
            let mut state = self.state();
            if state.closed.is_none() {
                state.probing = false;
                return;
            }
            match answer {
                Ok(()) => {
                    state.probing = false;
                    drop(state);
                    return self.open();
                }
                Err(error) => {
                    if let Some(closed) = &mut state.closed {
                        closed.why = error.chain();
                    }
                }
            }
            drop(state);
            thread::sleep(PAUSE);
        }
    }
}

/// A piece of work that is with the server.
struct Inside(Gate);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Whether an error says that the server could not be asked: not what it answered.
pub(crate) fn is_silence(error: &Error) -> bool {
    error.kind() == Kind::Unavailable && error.os_error().is_some()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn eventually(what: &str, mut is: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is() {
            assert!(began.elapsed() < LONG, "{what} never happens");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_silent_server_gathers_no_threads_and_is_used_again_when_it_answers() {
        let silent = Arc::new(AtomicBool::new(true));
        let probes = Arc::new(AtomicUsize::new(0));
        let probe = {
            let (silent, probes) = (Arc::clone(&silent), Arc::clone(&probes));
            move || {
                probes.fetch_add(1, Ordering::SeqCst);
                if silent.load(Ordering::SeqCst) { Err(Error::unavailable("no answer")) } else { Ok(()) }
            }
        };
        let gate = Gate::new("server x".to_owned(), Duration::from_millis(50), probe);
        let (release, held) = mpsc::channel::<()>();
        let error = gate.pass(Deadline::after(LONG), move |_| Ok(held.recv().is_ok())).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("server x"), "{error}");
        let touched = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let touched = Arc::clone(&touched);
            let refused = gate.pass(Deadline::after(LONG), move |_| Ok(touched.fetch_add(1, Ordering::SeqCst)));
            assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
        }
        assert_eq!(touched.load(Ordering::SeqCst), 0);
        silent.store(false, Ordering::SeqCst);
        eventually("the gate opening", || gate.ask().is_ok());
        assert!(probes.load(Ordering::SeqCst) > 0);
        assert_eq!(gate.pass(Deadline::after(LONG), |_| Ok(7)).unwrap(), 7);
        release.send(()).unwrap();
    }

    #[test]
    fn work_that_shows_signs_of_life_is_waited_for() {
        let gate = Gate::new("x".to_owned(), Duration::from_millis(100), || Ok(()));
        let work = |pulse: &Pulse| {
            for _ in 0..20 {
                thread::sleep(Duration::from_millis(20));
                pulse.beat();
            }
            Ok(())
        };
        gate.pass(Deadline::after(LONG), work).unwrap();
        let late = gate.pass(Deadline::after(Duration::from_millis(60)), work).unwrap_err();
        assert_eq!(late.kind(), Kind::DeadlineExceeded);
        gate.ask().unwrap();
    }

    #[test]
    fn an_answer_is_no_silence_whatever_it_says() {
        let gate = Gate::new("x".to_owned(), LONG, || Err(Error::unavailable("never")));
        let busy = gate.pass(Deadline::after(LONG), |_| -> Result<()> { Err(Error::unavailable("a copy goes on")) });
        assert_eq!(busy.unwrap_err().kind(), Kind::Unavailable);
        gate.ask().unwrap();
        let cut = |_: &Pulse| -> Result<()> { Err(Error::unavailable("read").caused_by(io::Error::from_raw_os_error(110))) };
        gate.pass(Deadline::after(LONG), cut).unwrap_err();
        assert!(gate.ask().is_err());
    }

    #[test]
    fn a_panic_leaves_room() {
        let gate = Gate::new("x".to_owned(), LONG, || Ok(()));
        for _ in 0..2 * WIDTH {
            let error = gate.pass(Deadline::after(LONG), |_| -> Result<()> { panic!("on purpose") }).unwrap_err();
            assert_eq!(error.kind(), Kind::Internal);
        }
    }
}
