//! How much may still be promised.
//!
//! Volumes are sparse: what they will need is more than what they take now. Unless the operator allows overcommitment, a
//! volume is made only if every byte that was promised so far could be written and its own too; a database that gets ENOSPC
//! from below, on a disk that it believes half empty, is worse off than one whose volume was refused.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hawser_volume::{Bytes, Error, Result, SizeRule};

use crate::layout::{IMAGE, Shelf};
use crate::record::{SnapshotRecord, VolumeRecord};
use crate::store::{Kind, Pool};

/// How long a count of all objects is good for. Own changes are added to it; those of other processes wait for the next count.
const COUNT_FOR: Duration = Duration::from_secs(1);

/// Sizes are multiples of this: what direct I/O needs on any disk.
pub(crate) const STEP: Bytes = Bytes::new(4096);

/// The size of a volume whose creator named none.
const DEFAULT_SIZE: Bytes = Bytes::gib(1);

/// What the pool can still provide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes that new volumes may have together.
    pub available: Bytes,
    /// The smallest volume.
    pub min_volume: Bytes,
    /// The largest volume.
    pub max_volume: Bytes,
}

/// The last count of what has been promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Option<(Instant, Promised)>>);

#[derive(Debug, Clone, Copy, Default)]
struct Promised {
    /// Sizes of all volumes.
    volumes: Bytes,
    /// What volumes and snapshots may still take of the filesystem.
    outstanding: Bytes,
}

impl Ledger {
    /// Adds a promise of this process to the count.
    pub(crate) fn add(&self, bytes: Bytes) {
        if let Some((_, promised)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            promised.volumes = promised.volumes.saturating_add(bytes);
            promised.outstanding = promised.outstanding.saturating_add(bytes);
        }
    }

    /// Forgets the count, after something was taken away.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Pool {
    /// What can still be provided.
    pub fn capacity(&self) -> Result<Capacity> {
        let rule = self.size_rule(Bytes::ZERO)?;
        let available = match self.config.kind {
            Kind::Directory => Bytes::new(self.host.usage(self.root())?.bytes.available),
            Kind::Image => self.free()?,
        };
        let whole_steps = Bytes::new(available.get() / STEP.get() * STEP.get());
        Ok(Capacity { available: whole_steps, min_volume: rule.min, max_volume: rule.max.min(whole_steps) })
    }

    /// The sizes that a volume of at least `min` can have.
    pub(crate) fn size_rule(&self, min: Bytes) -> Result<SizeRule> {
        let max = match self.config.kind {
            Kind::Directory => Bytes::new(i64::MAX as u64 / STEP.get() * STEP.get()),
            Kind::Image => self.max_image,
        };
        Ok(SizeRule { default: DEFAULT_SIZE.max(min), min: min.max(STEP), max, step: STEP })
    }

    /// Refuses a promise of `bytes` more than now, if it could not be kept.
    pub(crate) fn promise(&self, bytes: Bytes) -> Result<()> {
        if self.config.kind == Kind::Directory || bytes == Bytes::ZERO {
            return Ok(());
        }
        let free = self.free()?;
        if bytes > free {
            return Err(Error::exhausted(format!(
                "backend {} has {free} left and {bytes} are needed; remove volumes or snapshots, add space, or raise its `overcommit`",
                self.backend
            )));
        }
        self.ledger.add(bytes);
        Ok(())
    }

    fn free(&self) -> Result<Bytes> {
        let promised = self.promised()?;
        let here = Bytes::new(self.host.usage(self.root())?.bytes.available);
        let by_space = scaled(here, self.config.overcommit).saturating_sub(promised.outstanding);
        Ok(match self.config.capacity {
            Some(capacity) => scaled(capacity, self.config.overcommit).saturating_sub(promised.volumes).min(by_space),
            None => by_space,
        })
    }

    fn promised(&self) -> Result<Promised> {
        let mut last = self.ledger.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((counted, promised)) = *last
            && counted.elapsed() < COUNT_FOR
        {
            return Ok(promised);
        }
        let mut promised = Promised::default();
        for volume in self.page::<VolumeRecord>(Shelf::Volumes, None, usize::MAX)?.items {
            let digest = volume.id.split('-').next().unwrap_or_default();
            let image = self.layout.object(Shelf::Volumes, digest).join(IMAGE);
            let taken = fs::metadata(&image).map_or(Bytes::ZERO, |m| Bytes::new(m.blocks() * 512));
            promised.volumes = promised.volumes.saturating_add(volume.size);
            promised.outstanding = promised.outstanding.saturating_add(volume.size.saturating_sub(taken));
        }
        for snapshot in self.page::<SnapshotRecord>(Shelf::Snapshots, None, usize::MAX)?.items {
            // Blocks that a snapshot shares with its volume are needed a second time when the volume is written.
            if snapshot.shared {
                promised.outstanding = promised.outstanding.saturating_add(snapshot.data);
            }
        }
        *last = Some((Instant::now(), promised));
        Ok(promised)
    }
}

/// `bytes` times `factor`, rounded down.
fn scaled(bytes: Bytes, factor: f64) -> Bytes {
    // Thousandths are exact enough for a policy, and keep the arithmetic in whole numbers.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000 times a thousand")]
    let thousandths = (factor.clamp(0.0, 1000.0) * 1000.0) as u64;
    let scaled = u128::from(bytes.get()) * u128::from(thousandths) / 1000;
    Bytes::new(u64::try_from(scaled).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_neither_overflows_nor_loses_bytes() {
        assert_eq!(scaled(Bytes::new(u64::MAX / 2), 1.0).get(), u64::MAX / 2);
        assert_eq!(scaled(Bytes::gib(10), 1.5), Bytes::gib(15));
        assert_eq!(scaled(Bytes::new(u64::MAX), 1000.0).get(), u64::MAX);
        assert_eq!(scaled(Bytes::gib(1), f64::NAN), Bytes::ZERO);
    }
}
