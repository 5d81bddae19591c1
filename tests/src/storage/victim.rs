//! A process that dies while it asks something of a storage system.

use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

use super::Moment;

/// Whom to kill, and when; nobody yet.
#[derive(Debug, Default)]
pub(crate) struct Victim(Mutex<Option<(&'static str, Moment, Pid)>>);

impl Victim {
    /// `process` is killed at this moment of the next request for `action`.
    pub(crate) fn choose(&self, action: &'static str, moment: Moment, process: Pid) {
        *self.0.lock().unwrap() = Some((action, moment, process));
    }

    /// Kills who is to be killed at this moment; whether there was somebody.
    pub(crate) fn kill(&self, action: &str, moment: Moment) -> bool {
        let is_meant = |victim: &mut (&str, Moment, Pid)| (victim.0, victim.1) == (action, moment);
        let victim = self.0.lock().unwrap().take_if(is_meant);
        victim.is_some_and(|(_, _, process)| kill_process(process, Signal::KILL).is_ok())
    }
}
