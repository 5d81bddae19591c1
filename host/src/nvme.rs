//! What an NVMe device says of itself, asked of the open device.
//!
//! The answer is the controller's identification (NVM Express base specification, "Identify Controller data structure"). What
//! stands in its last quarter is the vendor's own; Amazon writes there under which name a volume of EBS was to be attached.

use std::fs::File;

use hawser_volume::{Error, Kind, Result};
use nix::errno::Errno;

use crate::errno;
use crate::ioctl::{self, NvmeCommand};

/// Bytes of an identification.
pub const PAGE: usize = 4096;

/// Where the vendor's own part begins.
const VENDOR_SPECIFIC: usize = 3072;

/// The PCI vendor id of Amazon.
const AMAZON: u16 = 0x1d0f;

/// Longest name that Amazon writes, in bytes.
const NAME_MAX: usize = 32;

/// The controller of an NVMe device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// The PCI vendor id of its maker.
    pub vendor: u16,
    /// The serial number, without the spaces that fill it up.
    pub serial: String,
    /// The model, without the spaces that fill it up.
    pub model: String,
    /// The name under which EC2 was asked to attach it, without `/dev/`; only Amazon's devices have one.
    pub asked_name: Option<String>,
}

impl Controller {
    /// Reads an identification. `Internal` when it is too short to be one.
    pub fn parse(page: &[u8]) -> Result<Self> {
        let short = || Error::internal(format!("an identification of {} bytes, where NVMe has {PAGE}", page.len()));
        let part = |from: usize, length: usize| page.get(from..from + length).ok_or_else(short);
        if page.len() < PAGE {
            return Err(short());
        }
        let vendor = part(0, 2)?;
        let vendor = u16::from_le_bytes([vendor[0], vendor[1]]);
        let asked_name = (vendor == AMAZON).then(|| asked_name(part(VENDOR_SPECIFIC, NAME_MAX).unwrap_or_default())).flatten();
        Ok(Self { vendor, serial: filled(part(4, 20)?), model: filled(part(24, 40)?), asked_name })
    }

    /// Asks the open device. `Unavailable` when it does not answer, `Precondition` when this process may not ask, `Invalid` when it is
    /// no NVMe device.
    pub fn of(device: &File) -> Result<Self> {
        let mut page = Box::new([0; PAGE]);
        let status = ioctl::nvme_admin(device, &NvmeCommand::identify_controller(), &mut page).map_err(refused)?;
        if status != 0 {
            return Err(Error::unavailable(format!("the NVMe controller answers with status {status:#x}")));
        }
        Self::parse(page.as_slice())
    }
}

/// The number of the namespace that the open device is, within its controller. Errors as of [`Controller::of`].
pub fn namespace(device: &File) -> Result<u32> {
    let number = ioctl::nvme_namespace(device).map_err(refused)?;
    u32::try_from(number).map_err(|_| Error::internal("an NVMe namespace has a negative number"))
}

fn refused(errno: Errno) -> Error {
    if matches!(errno, Errno::ENODEV | Errno::ENXIO) {
        return Error::unavailable("the device is gone, it has been detached").caused_by(std::io::Error::from(errno));
    }
    let kind = match errno {
        Errno::EACCES | Errno::EPERM => Kind::Precondition,
        Errno::ENOTTY => Kind::Invalid,
        _ => Kind::Unavailable,
    };
    errno::error("ask the device who it is", errno).with_kind(kind)
}

/// The text of a field that is filled up with spaces. What is no ASCII is shown as such, so that it equals no name.
fn filled(field: &[u8]) -> String {
    let text: String = field.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' }).collect();
    text.trim_matches(|c| c == ' ' || c == '\0').to_owned()
}

/// `/dev/sdf`, `sdf`, filled up with zeros or spaces.
fn asked_name(field: &[u8]) -> Option<String> {
    let text = field.split(|byte| *byte == 0).next().map(filled)?;
    let name = text.trim_start_matches("/dev/");
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(vendor: u16, serial: &str, model: &str, name: &[u8]) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[..2].copy_from_slice(&vendor.to_le_bytes());
        for (at, length, text) in [(4, 20, serial), (24, 40, model)] {
            page[at..at + length].copy_from_slice(format!("{text:length$}").as_bytes());
        }
        page[VENDOR_SPECIFIC..VENDOR_SPECIFIC + name.len()].copy_from_slice(name);
        page
    }

    #[test]
    fn a_volume_of_ebs_is_known_by_its_page() {
        let filled_up = format!("{:32}", "/dev/xvdba");
        for name in [&b"/dev/xvdba\0"[..], b"xvdba\0\0", filled_up.as_bytes()] {
            let found = Controller::parse(&page(AMAZON, "vol0123456789abcdef0", "Amazon Elastic Block Store", name)).unwrap();
            assert_eq!((found.serial.as_str(), found.model.as_str()), ("vol0123456789abcdef0", "Amazon Elastic Block Store"));
            assert_eq!(found.asked_name.as_deref(), Some("xvdba"), "{name:?}");
        }
        let other = Controller::parse(&page(0x144d, "S1", "Samsung", b"/dev/sda\0")).unwrap();
        assert_eq!(other.asked_name, None);
        for name in [&b""[..], b"/dev/../x\0", b"\xff\xff", b"a b\0"] {
            assert_eq!(Controller::parse(&page(AMAZON, "s", "m", name)).unwrap().asked_name, None, "{name:?}");
        }
        assert!(Controller::parse(&[0; PAGE - 1]).is_err());
    }

    #[test]
    fn what_is_no_nvme_device_is_not_asked() {
        let kind = |path: &str| Controller::of(&File::open(path).unwrap()).unwrap_err().kind();
        assert_eq!(kind("/dev/null"), Kind::Invalid);
    }

    proptest! {
        #[test]
        fn any_page_is_read(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            if let Ok(found) = Controller::parse(&bytes) {
                prop_assert!(found.serial.chars().count() <= 20 && found.model.chars().count() <= 40);
            }
        }

        #[test]
        fn any_vendors_part_is_read(name in prop::collection::vec(any::<u8>(), 32)) {
            if let Some(name) = Controller::parse(&page(AMAZON, "s", "m", &name)).unwrap().asked_name {
                prop_assert!(name.len() <= NAME_MAX && !name.contains('/'));
            }
        }
    }
}
