//! Waiting for a device that the storage system has given to this machine, and that comes at its own time.

use std::time::{Duration, Instant};

use hawser_host::{Device, DiskName, Host};
use hawser_volume::{Deadline, Result};

use crate::attach::Attach;

/// How long a device is waited for, however long the caller waits: the storage system had said that the node has it.
const COMES_WITHIN: Duration = Duration::from_secs(120);

/// What came of it.
pub(super) enum Arrival {
    /// The device, open, and asked who it is.
    Came(Device),
    /// Nothing, in so long.
    Missed(Duration),
}

/// Waits for the disk that one of `names` names, so long that the caller still hears of it when it does not come. Errors as of
/// [`Host::open_disk`].
pub(super) fn wait(host: &dyn Host, names: &[DiskName], attach: &Attach) -> Result<Arrival> {
    let began = Instant::now();
    let heard = attach.patience.remaining().mul_f64(0.9);
    let patience = Deadline::after(COMES_WITHIN.min(heard)).earlier(attach.deadline);
    let device = host.open_disk(names, attach.read_only, patience)?;
    Ok(device.map_or_else(|| Arrival::Missed(began.elapsed()), Arrival::Came))
}
