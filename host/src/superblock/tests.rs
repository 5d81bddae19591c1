use std::os::unix::fs::FileExt;
use std::sync::LazyLock;
use std::time::Duration;

use hawser_volume::Deadline;
use proptest::prelude::*;

use super::*;
use crate::scratch::Scratch;

const SIZE: Bytes = Bytes::mib(320);

/// A superblock as mkfs writes it.
fn real(filesystem: Filesystem, offset: u64) -> Vec<u8> {
    let scratch = Scratch::new(&std::env::temp_dir(), SIZE).unwrap();
    scratch.make(filesystem, 512, &["-L".into(), "name".into()], Deadline::after(Duration::from_secs(60))).unwrap();
    let mut bytes = vec![0; SUPERBLOCK_MAX];
    scratch.file().read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

static EXT4: LazyLock<Vec<u8>> = LazyLock::new(|| real(Filesystem::Ext4, EXT_OFFSET));
static XFS: LazyLock<Vec<u8>> = LazyLock::new(|| real(Filesystem::Xfs, 0));
static BTRFS: LazyLock<Vec<u8>> = LazyLock::new(|| real(Filesystem::Btrfs, BTRFS_OFFSET));

fn sound(verdict: Verdict) -> Superblock {
    match verdict {
        Verdict::Sound(superblock) => superblock,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_mkfs_wrote_is_read() {
    for (superblock, filesystem) in [
        (sound(ext(&EXT4, SIZE)), Filesystem::Ext4),
        (sound(xfs(&XFS, SIZE)), Filesystem::Xfs),
        (sound(btrfs(&BTRFS, SIZE)), Filesystem::Btrfs),
    ] {
        let info = superblock.info;
        assert_eq!((info.filesystem, info.size, info.block_size), (filesystem, SIZE, 4096));
        assert_eq!(info.label.as_deref(), Some("name"));
        assert!(info.uuid.is_some() && !info.has_errors && !info.needs_recovery);
        assert_eq!(superblock.journal >= Bytes::mib(4), filesystem != Filesystem::Btrfs);
    }
}

#[test]
fn a_device_that_is_too_small_makes_it_damaged() {
    let smaller = SIZE.saturating_sub(Bytes::new(1));
    for verdict in [ext(&EXT4, smaller), xfs(&XFS, smaller), btrfs(&BTRFS, smaller)] {
        assert!(matches!(&verdict, Verdict::Other(name) if name.starts_with("damaged")), "{verdict:?}");
    }
}

#[test]
fn a_place_that_is_cut_off_holds_nothing() {
    assert_eq!(ext(&EXT4[..1023], SIZE), Verdict::Absent);
    assert_eq!(xfs(&XFS[..511], SIZE), Verdict::Absent);
    assert_eq!(btrfs(&BTRFS[..4095], SIZE), Verdict::Absent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_flipped_bit_goes_unnoticed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let flip = |bytes: &[u8], covered: usize, spared: usize| {
            let mut bytes = bytes.to_vec();
            bytes[spared + at.index(covered - spared)] ^= 1 << bit;
            bytes
        };
        // Not when the flip itself says that there is no checksum, or one of a kind that is left to the kernel.
        let (spoilt, features) = (flip(&EXT4, 1024, 0), 100..104);
        prop_assert!(spoilt[features.clone()] != EXT4[features] || !matches!(ext(&spoilt, SIZE), Verdict::Sound(_)));
        prop_assert!(!matches!(xfs(&flip(&XFS, 512, 0), SIZE), Verdict::Sound(_)));
        // The field for the checksum has room for longer ones.
        let (spoilt, kind) = (flip(&BTRFS, 4096, 32), 196..198);
        prop_assert!(spoilt[kind.clone()] != BTRFS[kind] || !matches!(btrfs(&spoilt, SIZE), Verdict::Sound(_)));
    }

    #[test]
    fn any_bytes_are_read_without_a_fault(
        mut bytes in prop::collection::vec(any::<u8>(), 0..5000),
        magic in 0usize..4,
        size in any::<u64>(),
    ) {
        let magics: [(usize, &[u8]); 4] = [(56, &[0x53, 0xEF]), (0, b"XFSB"), (64, b"_BHRfS_M"), (0, b"")];
        let (at, magic) = magics[magic];
        if let Some(place) = bytes.get_mut(at..at + magic.len()) {
            place.copy_from_slice(magic);
        }
        for read in [ext, xfs, btrfs] {
            let _ = read(&bytes, Bytes::new(size));
        }
    }
}
