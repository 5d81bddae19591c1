//! Faults on demand, at every call that leaves the driver; in a build with the feature `faults` only.
//!
//! A [`Faulty`] stands in front of a [`Host`] (here), a `Provisioner` or an `Attacher` (in their crates) and passes every call on.
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
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hawser_volume::{Bytes, Deadline, Error, Filesystem, Result};

use crate::{
    Beneath, Content, Detached, Device, DeviceNumber, DiskName, FormatOptions, Host, MountEntry, MountOptions, MountTable,
    NfsMount, Shape, Target, Usage,
};

/// How often a call that is held looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// How many calls of one name are counted under one order.
const COUNTED_MAX: u64 = 4;

/// Something whose calls can be struck.
#[derive(Debug)]
pub struct Faulty<T: ?Sized>(pub Arc<T>);

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
        writeln!(struck, "{} {call}", order.serial).ok()?;
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

/// Does a call that may block, or what was ordered instead.
pub fn call<T>(name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some((board, order)) = Board::of_this_process().and_then(|board| Some((board, board.strike(name)?))) else {
        return work();
    };
    match order.fault {
        Fault::Fail => return Err(injected(name, order.fault)),
        Fault::Lose => return work().and(Err(injected(name, order.fault))),
        Fault::Delay(time) => std::thread::sleep(time),
        Fault::Hold => {
            while board.is_held(&order) {
                std::thread::sleep(LOOK);
            }
        }
    }
    work()
}

/// The same for a call that waits; `pause` waits without blocking the thread.
pub async fn call_async<T, P: Future<Output = ()>>(
    name: &'static str,
    pause: impl Fn(Duration) -> P,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some((board, order)) = Board::of_this_process().and_then(|board| Some((board, board.strike(name)?))) else {
        return work.await;
    };
    match order.fault {
        Fault::Fail => return Err(injected(name, order.fault)),
        Fault::Lose => return work.await.and(Err(injected(name, order.fault))),
        Fault::Delay(time) => pause(time).await,
        Fault::Hold => {
            while board.is_held(&order) {
                pause(LOOK).await;
            }
        }
    }
    work.await
}

/// Methods of a trait that pass a call on through [`call`], under the name `$side.method`.
#[macro_export]
macro_rules! faulty_methods {
    ($side:literal $(fn $method:ident(&self $(, $argument:ident: $type:ty)*) -> Result<$answer:ty>;)*) => {
        $(
            fn $method(&self $(, $argument: $type)*) -> Result<$answer> {
                $crate::fault::call(concat!($side, ".", stringify!($method)), || self.0.$method($($argument),*))
            }
        )*
    };
}

impl Host for Faulty<dyn Host> {
    faulty_methods! { "host"
        fn mounts(&self) -> Result<MountTable>;
        fn resolve(&self, path: &Path) -> Result<PathBuf>;
        fn create_target(&self, path: &Path, shape: Shape) -> Result<Target>;
        fn remove_target(&self, path: &Path) -> Result<()>;
        fn open_device(&self, path: &Path, read_only: bool) -> Result<Device>;
        fn mount(&self, device: &Device, filesystem: Filesystem, options: &MountOptions, target: &Target) -> Result<()>;
        fn bind(&self, source: &Path, target: &Target, options: &MountOptions) -> Result<()>;
        fn bind_device(&self, device: &Device, target: &Target) -> Result<()>;
        fn mount_nfs(&self, mount: &NfsMount, deadline: Deadline) -> Result<Detached>;
        fn attach(&self, mount: &Detached, target: &Target) -> Result<()>;
        fn unmount(&self, path: &Path) -> Result<()>;
        fn attach_loop(&self, image: &Path, read_only: bool) -> Result<Device>;
        fn loops_of(&self, image: &Path) -> Result<Vec<PathBuf>>;
        fn detach_loop(&self, device: &Path, image: &Path, deadline: Deadline) -> Result<()>;
        fn resize_loop(&self, device: &Path) -> Result<Bytes>;
        fn loop_image_of(&self, mount: &MountEntry) -> Result<Option<PathBuf>>;
        fn loop_image(&self, number: DeviceNumber) -> Result<Option<PathBuf>>;
        fn open_disk(&self, names: &[DiskName], read_only: bool, deadline: Deadline) -> Result<Option<Device>>;
        fn disk_of(&self, mount: &MountEntry) -> Result<Beneath>;
        fn is_severed(&self, mount: &MountEntry) -> Result<bool>;
        fn rescan_disk(&self, names: &[DiskName], at_least: Bytes, deadline: Deadline) -> Result<Option<Bytes>>;
        fn rest_disk(&self, names: &[DiskName]) -> Result<()>;
        fn probe(&self, device: &Device) -> Result<Content>;
        fn format(&self, device: &Device, filesystem: Filesystem, options: &FormatOptions, deadline: Deadline) -> Result<()>;
        fn check(&self, device: &Device, filesystem: Filesystem, deadline: Deadline) -> Result<()>;
        fn grow(&self, mount_point: &Path, filesystem: Filesystem, device: &Device) -> Result<bool>;
        fn usage(&self, path: &Path) -> Result<Usage>;
        fn sync(&self, path: &Path) -> Result<()>;
        fn freeze(&self, path: &Path) -> Result<()>;
        fn thaw(&self, path: &Path) -> Result<()>;
        fn give_to_group(&self, path: &Path, gid: u32, deadline: Deadline) -> Result<()>;
    }
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
