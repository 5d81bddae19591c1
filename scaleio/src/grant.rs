//! What the controller side tells the node side of a mapping: the publish context, which the CO carries. No address and no secret of a
//! gateway is in it.

use std::collections::BTreeMap;

use hawser_volume::error::shown;
use hawser_volume::{Bytes, Error, Result};

use crate::sdc::is_guid;
use crate::volume::{MappingMode, is_id};

/// The key of the system's id.
pub const SYSTEM: &str = "system-id";

/// The key of the volume's own id.
pub const VOLUME: &str = "volume-id";

/// The key of the GUID of the SDC that the volume is mapped to.
pub const SDC: &str = "sdc-guid";

/// The key of the size that the volume had then, in bytes.
pub const SIZE: &str = "size-bytes";

/// The key of what the node may do with it: the array's word, [`MappingMode`].
pub const MODE: &str = "access-mode";

/// A mapping that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The system's id.
    pub system: String,
    /// The volume's own id.
    pub volume: String,
    /// The SDC that has it, by its GUID.
    pub sdc: String,
    /// The volume's size. It may have grown since.
    pub size: Bytes,
    /// Whether the SDC can only read it. COs do not tell this when they stage a volume.
    pub read_only: bool,
}

impl Grant {
    /// As the CO carries it.
    pub fn to_context(&self) -> BTreeMap<String, String> {
        let size = self.size.get().to_string();
        let mode = if self.read_only { MappingMode::ReadOnly } else { MappingMode::ReadWrite };
        [(SYSTEM, &*self.system), (VOLUME, &self.volume), (SDC, &self.sdc), (SIZE, &size), (MODE, mode.as_str())]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// What the CO carried. `Invalid` when it is not a context of this backend's.
    pub fn from_context(context: &BTreeMap<String, String>) -> Result<Self> {
        let get = |key: &str, is: fn(&str) -> bool| match context.get(key) {
            None => Err(Error::invalid(format!("publish_context has no {key:?}; pass on what ControllerPublishVolume answered"))),
            Some(value) if is(value) => Ok(value.clone()),
            Some(value) => {
                Err(Error::invalid(format!("publish_context: {key:?} is {}, which this backend never says", shown(value))))
            }
        };
        let size = get(SIZE, |text| text.parse::<u64>().is_ok())?.parse().unwrap_or_default();
        let mode = get(MODE, |text| [MappingMode::ReadOnly, MappingMode::ReadWrite].iter().any(|mode| mode.as_str() == text))?;
        Ok(Self {
            system: get(SYSTEM, is_id)?,
            volume: get(VOLUME, is_id)?,
            sdc: get(SDC, is_guid)?,
            size: Bytes::new(size),
            read_only: mode == MappingMode::ReadOnly.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back_and_nothing_else() {
        let grant = Grant {
            system: "14a2b3c4d5e6f700".to_owned(),
            volume: "d3b2a1c000000001".to_owned(),
            sdc: "0C05CA60-7A4F-4F9B-8A2B-000000000001".to_owned(),
            size: Bytes::gib(8),
            read_only: false,
        };
        let reader = Grant { read_only: true, ..grant.clone() };
        for grant in [&grant, &reader] {
            assert_eq!(Grant::from_context(&grant.to_context()).unwrap(), *grant);
        }
        for key in [SYSTEM, VOLUME, SDC, SIZE, MODE] {
            for value in [None, Some("../../sda"), Some("")] {
                let mut context = grant.to_context();
                match value {
                    Some(value) => context.insert(key.to_owned(), value.to_owned()),
                    None => context.remove(key),
                };
                assert!(Grant::from_context(&context).is_err(), "{key} {value:?}");
            }
        }
    }
}
