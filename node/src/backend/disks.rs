//! What the backends have in common whose volumes are disks that a storage system gives to this machine, at its own time, and may take away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hawser_host::{Device, DiskName, Host};
use hawser_volume::{BackendName, Bytes, Deadline, Error, Result, VolumeId};

use super::notes::Notes;
use crate::attach::Attach;

/// How long a disk is waited for, however long the caller waits: the storage system had said that the node has it.
const COMES_WITHIN: Duration = Duration::from_secs(120);

/// How long it may take until a disk has the size that the storage system has given it.
const GROWS_WITHIN: Duration = Duration::from_secs(10);

/// The disks of one backend on this machine.
#[derive(Debug)]
pub(super) struct Disks {
    pub(super) name: BackendName,
    pub(super) host: Arc<dyn Host>,
    pub(super) notes: Notes,
}

/// What came of waiting.
pub(super) enum Arrival {
    /// The device, open, and asked who it is.
    Came(Device),
    /// Nothing, in so long.
    Missed(Duration),
}

impl Disks {
    /// The disks of the backend `name` of a type, whose volumes have native ids that `is_volume` knows.
    pub(super) fn of(kind: &str, name: BackendName, host: Arc<dyn Host>, is_volume: fn(&str) -> bool) -> Self {
        let notes = Notes::of(kind, &name, is_volume);
        Self { name, host, notes }
    }

    /// The volume of this backend with a native id.
    pub(super) fn volume(&self, native: String) -> Result<VolumeId> {
        VolumeId::new(self.name.clone(), native)
    }

    /// Waits for the disk that one of `names` names, so long that the caller still hears of it when it does not come. Errors as of
    /// [`Host::open_disk`].
    pub(super) fn wait(&self, names: &[DiskName], attach: &Attach, read_only: bool) -> Result<Arrival> {
        let began = Instant::now();
        let heard = attach.patience.remaining().mul_f64(0.9);
        let patience = Deadline::after(COMES_WITHIN.min(heard)).earlier(attach.deadline);
        let device = self.host.open_disk(names, read_only, patience)?;
        Ok(device.map_or_else(|| Arrival::Missed(began.elapsed()), Arrival::Came))
    }

    /// Brings the disk of `volume` to rest, so that the storage system has all that was written and may take it, and forgets whose it was.
    pub(super) fn rest(&self, volume: &VolumeId, names: &[DiskName]) -> Result<()> {
        let rested = self.host.rest_disk(names);
        rested.map_err(|error| error.while_doing(format_args!("bring volume {volume} to rest")))?;
        self.notes.remove(volume.native())
    }

    /// Waits until the disk that one of `names` names is `at_least` so large, but not for long nor beyond `deadline`; returns the size that it
    /// has then. Nothing when there is none.
    pub(super) fn grown(&self, names: &[DiskName], at_least: Bytes, deadline: Deadline) -> Result<Option<Bytes>> {
        self.host.rescan_disk(names, at_least, Deadline::after(GROWS_WITHIN).earlier(deadline))
    }

    /// The size that the disk of `volume` has, as [`Attacher::rescan`](crate::Attacher::rescan) wants it.
    pub(super) fn rescan(&self, volume: &VolumeId, names: &[DiskName], at_least: Option<Bytes>) -> Result<Bytes> {
        let size = self.grown(names, at_least.unwrap_or(Bytes::new(0)), Deadline::after(GROWS_WITHIN))?;
        size.ok_or_else(|| Error::not_found(format!("volume {volume} has no device on this node")))
    }
}
