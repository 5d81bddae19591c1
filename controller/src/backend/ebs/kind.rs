//! The types of volumes, and what each can be ("Amazon EBS volume types").

use std::fmt;

use hawser_volume::{Bytes, SizeRule};
use serde::Deserialize;

/// A type of volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum VolumeType {
    #[default]
    Gp3,
    Gp2,
    Io1,
    Io2,
    St1,
    Sc1,
    Standard,
}

/// How many operations a second a type can have.
#[derive(Debug, Clone, Copy)]
struct Operations {
    min: u32,
    max: u32,
    for_each_gib: u32,
}

/// Size of a volume for which none is asked.
const USUAL: u32 = 16;

impl VolumeType {
    const ALL: [Self; 7] = [Self::Gp3, Self::Gp2, Self::Io1, Self::Io2, Self::St1, Self::Sc1, Self::Standard];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Gp3 => "gp3",
            Self::Gp2 => "gp2",
            Self::Io1 => "io1",
            Self::Io2 => "io2",
            Self::St1 => "st1",
            Self::Sc1 => "sc1",
            Self::Standard => "standard",
        }
    }

    /// The type of this name; nothing for one that is newer than this program.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Smallest and largest size, in GiB.
    fn sizes(self) -> (u32, u32) {
        match self {
            Self::Gp3 => (1, 65_536),
            Self::Gp2 => (1, 16_384),
            Self::Io1 => (4, 16_384),
            Self::Io2 => (4, 65_536),
            Self::St1 | Self::Sc1 => (125, 16_384),
            Self::Standard => (1, 1024),
        }
    }

    /// The sizes that it can have, `least` GiB or more.
    pub(super) fn rule(self, least: u32) -> SizeRule {
        let (min, max) = self.sizes();
        let min = min.max(least);
        SizeRule { default: Bytes::gib(USUAL.max(min).min(max)), min: Bytes::gib(min), max: Bytes::gib(max), step: Bytes::gib(1) }
    }

    fn operations(self) -> Option<Operations> {
        match self {
            Self::Gp3 => Some(Operations { min: 3000, max: 80_000, for_each_gib: 500 }),
            Self::Io1 => Some(Operations { min: 100, max: 64_000, for_each_gib: 50 }),
            Self::Io2 => Some(Operations { min: 100, max: 256_000, for_each_gib: 1000 }),
            Self::Gp2 | Self::St1 | Self::Sc1 | Self::Standard => None,
        }
    }

    /// Whether operations a second can be chosen.
    pub(super) fn has_operations(self) -> bool {
        self.operations().is_some()
    }

    /// Whether several instances can have it at once.
    pub(super) fn is_shareable(self) -> bool {
        matches!(self, Self::Io1 | Self::Io2)
    }

    /// What `wanted` operations a second come to on `size` GiB: never more than the type can have there, which
    /// aws-ebs-csi-driver caps as well; with `raise` never less. `None` when it is less and must not be raised.
    pub(super) fn fit_operations(self, wanted: u32, size: u32, raise: bool) -> Option<u32> {
        let Operations { min, max, for_each_gib } = self.operations()?;
        let most = max.min(for_each_gib.saturating_mul(size)).max(min);
        match wanted {
            less if less < min => raise.then_some(min),
            wanted => Some(wanted.min(most)),
        }
    }

    /// The fewest operations a second.
    pub(super) fn least_operations(self) -> u32 {
        self.operations().map_or(0, |operations| operations.min)
    }
}

impl fmt::Display for VolumeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_fit_the_type_and_the_size() {
        for (kind, wanted, size, raise, fit) in [
            (VolumeType::Io1, 5000, 4, false, Some(200)),
            (VolumeType::Io1, 5000, 1000, false, Some(5000)),
            (VolumeType::Io1, 10, 4, false, None),
            (VolumeType::Io1, 10, 4, true, Some(100)),
            (VolumeType::Io2, 1_000_000, 65_536, false, Some(256_000)),
            (VolumeType::Gp3, 4000, 1, false, Some(3000)),
            (VolumeType::Gp3, 4000, 8, false, Some(4000)),
            (VolumeType::Gp2, 100, 8, true, None),
        ] {
            assert_eq!(kind.fit_operations(wanted, size, raise), fit, "{kind} {wanted} {size} {raise}");
        }
    }

    #[test]
    fn every_type_has_its_own_name() {
        for kind in VolumeType::ALL {
            assert_eq!(VolumeType::named(kind.as_str()), Some(kind));
        }
        assert_eq!(VolumeType::named("gp4"), None);
    }
}
