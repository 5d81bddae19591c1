//! What the controller side tells the node side of an attachment: the publish context, which the CO carries.

use std::collections::BTreeMap;

use hawser_volume::error::shown;
use hawser_volume::{Error, Result};

use crate::volume::is_volume_id;

/// The key of the device name.
pub const DEVICE: &str = "device";

/// The key of the volume's own id.
pub const VOLUME: &str = "volume-id";

/// An attachment that was waited for: the instance has the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The device name of the attachment, `/dev/xvdba`. On NVMe instances a hint only: the kernel names devices in another way, and
    /// the volume's id is the device's serial number.
    pub device: String,
    /// The volume's own id, `vol-…`.
    pub volume: String,
}

impl Grant {
    /// As the CO carries it.
    pub fn to_context(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(DEVICE.to_owned(), self.device.clone()), (VOLUME.to_owned(), self.volume.clone())])
    }

    /// What the CO carried. `Invalid` when it is not a context of this backend's.
    pub fn from_context(context: &BTreeMap<String, String>) -> Result<Self> {
        let get = |key: &str| {
            context.get(key).cloned().ok_or_else(|| {
                Error::invalid(format!("publish_context has no {key:?}; pass on what ControllerPublishVolume answered"))
            })
        };
        let (device, volume) = (get(DEVICE)?, get(VOLUME)?);
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !device.strip_prefix("/dev/").is_some_and(is_name) {
            return Err(Error::invalid(format!("publish_context: {DEVICE:?} is {}, which is no device name", shown(&device))));
        }
        if !is_volume_id(&volume) {
            return Err(Error::invalid(format!("publish_context: {VOLUME:?} is {}, which is no volume of EC2", shown(&volume))));
        }
        Ok(Self { device, volume })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_grant_survives_its_journey() {
        let grant = Grant { device: "/dev/xvdba".to_owned(), volume: "vol-0123456789abcdef0".to_owned() };
        assert_eq!(Grant::from_context(&grant.to_context()).unwrap(), grant);
        for (key, value) in [(DEVICE, "/dev/../sda"), (DEVICE, "xvdba"), (DEVICE, "/dev/"), (VOLUME, "vol-1"), (VOLUME, "")] {
            let mut context = grant.to_context();
            context.insert(key.to_owned(), value.to_owned());
            assert!(Grant::from_context(&context).unwrap_err().to_string().contains(key), "{key} {value}");
        }
    }

    proptest! {
        #[test]
        fn any_context_is_a_grant_or_refused(context in prop::collection::btree_map(".*", ".*", 0..4)) {
            let _ = Grant::from_context(&context);
        }
    }
}
