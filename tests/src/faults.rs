//! Faults ordered of a plugin that was started with [`Plugin::start_with_faults`](crate::Plugin::start_with_faults); what they
//! mean is in `host/src/fault.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::poll::until;

/// What happens to a call that leaves the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not done.
    Fail,
    /// It is done, and its answer is lost.
    Lose,
    /// It begins later.
    Delay(Duration),
    /// It begins when [`Faults::disarm`] is called.
    Hold,
}

/// The orders to one process.
#[derive(Debug)]
pub struct Faults {
    board: PathBuf,
    serial: u64,
}

impl Faults {
    /// The orders written to `board`, the file that the process was started with as `HAWSER_FAULTS`.
    pub fn at(board: &Path) -> Self {
        Self { board: board.to_owned(), serial: 0 }
    }

    /// Orders `fault` for the `nth` call that leaves the driver from now on (1 is the next one).
    pub fn arm(&mut self, nth: u32, fault: Fault) {
        self.order(&nth.to_string(), fault);
    }

    /// Orders `fault` for the next call named `call`, such as `host.mount`.
    pub fn arm_at(&mut self, call: &str, fault: Fault) {
        self.order(call, fault);
    }

    /// Ends the order, lets a held call go, and returns the name of the call that it struck, if there was one.
    pub fn disarm(&mut self) -> Option<String> {
        let struck = self.struck();
        fs::write(&self.board, "").unwrap();
        struck
    }

    /// Waits until the order has struck.
    pub fn wait_until_struck(&self) -> String {
        until("the fault that was ordered", || self.struck())
    }

    fn order(&mut self, place: &str, fault: Fault) {
        // Numbers are never used twice, whoever orders.
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        self.serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let how = match fault {
            Fault::Fail => "fail".to_owned(),
            Fault::Lose => "lose".to_owned(),
            Fault::Delay(time) => format!("delay:{}", time.as_millis()),
            Fault::Hold => "hold".to_owned(),
        };
        // Read by another process at any moment: it must see all of the line or nothing of it.
        let draft = self.board.with_extension("draft");
        fs::write(&draft, format!("{} {place} {how}\n", self.serial)).unwrap();
        fs::rename(&draft, &self.board).unwrap();
    }

    /// The name of the call that the order has struck, if it has.
    pub fn struck(&self) -> Option<String> {
        let lines = match fs::read_to_string(self.board.with_extension("struck")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            lines => lines.unwrap(),
        };
        let mut found = lines.lines().filter_map(|line| line.split_once(' '));
        found.find(|(serial, _)| *serial == self.serial.to_string()).map(|(_, call)| call.to_owned())
    }
}
