//! The mark that a device carries while a filesystem is being put on it.
//!
//! It lies in the first sector and says: nothing on this device has ever been mounted, and whatever is behind this sector may be
//! thrown away. It is written before the first byte of the filesystem and replaced as a whole by the filesystem's own first
//! sector as the last step.

use hawser_volume::{Error, Result};
use sha2::{Digest, Sha256};

/// The length of the mark in bytes: the smallest sector there is.
pub(crate) const LENGTH: usize = 512;

const MAGIC: &[u8; 48] = b"hawser: unfinished format, holds no data, v1\n\0\0\0";
const NAME: usize = 64;
const NAME_MAX: usize = 256;
const DIGEST: usize = 448;

/// The mark for `volume`.
pub(crate) fn encode(volume: &str) -> Result<[u8; LENGTH]> {
    let length = u16::try_from(volume.len()).ok().filter(|length| usize::from(*length) <= NAME_MAX);
    let length = length.ok_or_else(|| Error::invalid(format!("a volume id of {} bytes is too long", volume.len())))?;
    let mut mark = [0; LENGTH];
    mark[..MAGIC.len()].copy_from_slice(MAGIC);
    mark[MAGIC.len()..MAGIC.len() + 2].copy_from_slice(&length.to_le_bytes());
    mark[NAME..NAME + volume.len()].copy_from_slice(volume.as_bytes());
    // Not at the very end: there a digest could look like the mark of a boot sector.
    let digest = Sha256::digest(&mark[..DIGEST]);
    mark[DIGEST..DIGEST + digest.len()].copy_from_slice(&digest);
    Ok(mark)
}

/// The volume whose mark `sector` begins with, if it is one and whole.
pub(crate) fn decode(sector: &[u8]) -> Option<String> {
    let mark = sector.get(..LENGTH)?;
    let digest = Sha256::digest(&mark[..DIGEST]);
    if &mark[..MAGIC.len()] != MAGIC || mark[DIGEST..DIGEST + digest.len()] != digest[..] {
        return None;
    }
    let length = usize::from(u16::from_le_bytes([mark[MAGIC.len()], mark[MAGIC.len() + 1]]));
    String::from_utf8(mark.get(NAME..NAME + length)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use hawser_volume::Kind;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_names_its_volume(volume in "[A-Za-z0-9._-]{1,64}:[A-Za-z0-9._-]{1,63}") {
            let mark = encode(&volume).unwrap();
            prop_assert_eq!(decode(&mark), Some(volume));
            prop_assert_eq!(&mark[510..], &[0, 0]);
        }

        #[test]
        fn any_flipped_bit_in_what_is_signed_spoils_it(byte in 0usize..480, bit in 0u8..8) {
            let mut mark = encode("local:v1").unwrap();
            mark[byte] ^= 1 << bit;
            prop_assert_eq!(decode(&mark), None);
        }

        #[test]
        fn any_bytes_are_a_mark_or_not(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        assert_eq!(encode(&"x".repeat(257)).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(decode(&encode(&"x".repeat(256)).unwrap()), Some("x".repeat(256)));
    }
}
