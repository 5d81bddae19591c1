//! Faults on demand, at every call that leaves the driver; in a build with the feature `faults` only.
//!
//! [`Faults`] stand in front of a [`Host`](crate::Host), a `Provisioner` or an `Attacher` ([`hawser_volume::Surrounded`]) and pass every call on.
//! The environment variable `HAWSER_FAULTS` names a file by which a test says what shall happen, while the process runs:
//!
//! ```text
//! SERIAL WHERE HOW
//! ```
//!
//! * `SERIAL`: a number; a new one is a new order, and calls are counted from there.
//! * `WHERE`: a number N, which is the Nth call from now on whatever it is (a call that is made again and again, for each mount of
//!   the machine say, is counted four times at most), or a call's name such as `host.mount`, which is the first call of this name.
//! * `HOW`: `fail` (it is not done), `lose` (it is done, its answer is an error), `delay:MILLISECONDS`, or `hold` (it begins when
//!   the file has another serial number).
//!
//! An order strikes once. Each call that was struck is a line `SERIAL NAME` in the file's neighbour with the ending `.struck`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hawser_volume::{Around, Error, Result};

/// How often a call that is held looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// How many calls of one name are counted under one order.
const COUNTED_MAX: u64 = 4;

/// Faults, as ordered.
#[derive(Debug, Clone, Copy)]
pub struct Faults;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fail,
    Lose,
    Delay(Duration),
    Hold,
}

/// What a test wants.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    serial: u64,
    place: String,
    fault: Fault,
}

impl Order {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (serial, place, how) = (words.next()?.parse().ok()?, words.next()?.to_owned(), words.next()?);
        let fault = match how.split_once(':') {
            Some(("delay", milliseconds)) => Fault::Delay(Duration::from_millis(milliseconds.parse().ok()?)),
            None if how == "fail" => Fault::Fail,
            None if how == "lose" => Fault::Lose,
            None if how == "hold" => Fault::Hold,
            _ => return None,
        };
        Some(Self { serial, place, fault })
    }

    fn read(file: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(file).ok()?)
    }
}

/// The file with the orders, and how far the present one is.
#[derive(Debug)]
struct Board {
    file: PathBuf,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    serial: u64,
    calls: u64,
    by_name: HashMap<String, u64>,
    struck: bool,
}

impl Board {
    fn of_this_process() -> Option<&'static Self> {
        static BOARD: OnceLock<Option<Board>> = OnceLock::new();
        let open = || Some(Board { file: std::env::var_os("HAWSER_FAULTS")?.into(), counted: Mutex::default() });
        BOARD.get_or_init(open).as_ref()
    }

    /// Counts a call, and says what is to happen to it.
    fn strike(&self, call: &str) -> Option<Order> {
        let order = Order::read(&self.file)?;
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.serial != order.serial {
            *counted = Counted { serial: order.serial, ..Counted::default() };
        }
        let of_this_name = counted.by_name.entry(call.to_owned()).or_default();
        *of_this_name += 1;
        if *of_this_name > COUNTED_MAX {
            return None;
        }
        counted.calls += 1;
        let here = match order.place.parse::<u64>() {
            Ok(number) => number == counted.calls,
            Err(_) => order.place == call,
        };
        if counted.struck || !here {
            return None;
        }
        counted.struck = true;
        tracing::info!(call, fault = ?order.fault, "a fault was ordered here");
        // A test that cannot be told is a test that fails, loudly.
        let mut struck = File::options().create(true).append(true).open(self.file.with_extension("struck")).ok()?;
        // At once: whoever reads a part of the line may kill this process before the rest.
        struck.write_all(format!("{} {call}\n", order.serial).as_bytes()).ok()?;
        Some(order)
    }

    fn is_held(&self, order: &Order) -> bool {
        Order::read(&self.file).is_some_and(|now| now.serial == order.serial)
    }
}

fn injected(call: &str, fault: Fault) -> Error {
    Error::unavailable(match fault {
        Fault::Lose => format!("the answer of {call} was lost, as ordered"),
        _ => format!("{call} failed, as ordered"),
    })
}

impl Around for Faults {
    fn blocking<T>(&self, call: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some((board, order)) = struck(call) else { return work() };
        match order.fault {
            Fault::Fail => return Err(injected(call, order.fault)),
            Fault::Lose => return work().and(Err(injected(call, order.fault))),
            Fault::Delay(time) => std::thread::sleep(time),
            Fault::Hold => {
                while board.is_held(&order) {
                    std::thread::sleep(LOOK);
                }
            }
        }
        work()
    }

    async fn waiting<T: Send>(&self, call: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let Some((board, order)) = struck(call) else { return work.await };
        match order.fault {
            Fault::Fail => return Err(injected(call, order.fault)),
            Fault::Lose => return work.await.and(Err(injected(call, order.fault))),
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::Hold => {
                while board.is_held(&order) {
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
        work.await
    }
}

fn struck(call: &str) -> Option<(&'static Board, Order)> {
    Board::of_this_process().and_then(|board| Some((board, board.strike(call)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read() {
        let order = |text| Order::parse(text).map(|order| (order.serial, order.place, order.fault));
        assert_eq!(order("7 3 fail\n"), Some((7, "3".to_owned(), Fault::Fail)));
        assert_eq!(order("8 host.mount delay:20"), Some((8, "host.mount".to_owned(), Fault::Delay(Duration::from_millis(20)))));
        assert_eq!(order("9 host.mount delay:soon"), None);
        assert_eq!(order(""), None);
    }
}
