//! What a workload writes into a volume and reads from it: a file in a mounted directory, or the device itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

/// Where content is put on a raw device: not at the start, where a signature could be looked for.
const OFFSET: u64 = 1 << 20;

/// The length of a block of [`pattern`].
const BLOCK: usize = 64 << 10;

/// Bytes that no hole and no other seed can be mistaken for: blocks of noise, each beginning with its seed and number.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    // splitmix64: any seed gives a different stream.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut noise = Vec::with_capacity(BLOCK);
    while noise.len() < BLOCK {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        noise.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    let mut bytes = Vec::with_capacity(length + BLOCK);
    for number in 0..length.div_ceil(BLOCK) {
        noise[..8].copy_from_slice(&seed.to_le_bytes());
        noise[8..16].copy_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&noise);
    }
    bytes.truncate(length);
    bytes
}

fn is_device(target: &Path) -> bool {
    fs::metadata(target).unwrap().file_type().is_block_device()
}

fn file(target: &Path, name: &str) -> PathBuf {
    if is_device(target) { target.to_owned() } else { target.join(name) }
}

/// Writes `bytes` at `target` without asking for them to be flushed: leaving a node must do that.
pub fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let device = is_device(target);
    let file = OpenOptions::new().write(true).create(!device).truncate(!device).open(file(target, "data"))?;
    file.write_all_at(bytes, if device { OFFSET } else { 0 })
}

/// Writes and flushes.
pub fn write_through(target: &Path, bytes: &[u8]) -> io::Result<()> {
    write(target, bytes)?;
    File::open(file(target, "data"))?.sync_all()
}

/// Flushes all that was written at `target`.
pub fn write_out(target: &Path) -> io::Result<()> {
    let file = File::open(target)?;
    if is_device(target) { file.sync_all() } else { Ok(rustix::fs::syncfs(file)?) }
}

/// Reads `length` bytes of what [`write()`] wrote.
pub fn read(target: &Path, length: usize) -> Vec<u8> {
    let device = is_device(target);
    let file = File::open(file(target, "data")).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, if device { OFFSET } else { 0 }).unwrap();
    bytes
}

/// What is found where [`write()`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No file, or a device of zeros.
    Nothing,
    /// The pattern of this seed.
    Pattern(u64),
    /// Something else: torn, mixed or somebody else's.
    Other,
}

/// Looks for the pattern of any seed at `target`.
pub fn look(target: &Path, length: usize) -> io::Result<Found> {
    let device = is_device(target);
    let file = match File::open(file(target, "data")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        file => file?,
    };
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, if device { OFFSET } else { 0 }) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Found::Other),
        read => read?,
    }
    if device && bytes.iter().all(|byte| *byte == 0) {
        return Ok(Found::Nothing);
    }
    let seed = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    Ok(if bytes == pattern(seed, length) { Found::Pattern(seed) } else { Found::Other })
}

/// Panics unless the bytes of `seed` are at `target`, without printing them all.
#[track_caller]
pub fn assert_holds(target: &Path, seed: u64, length: usize) {
    let (found, expected) = (read(target, length), pattern(seed, length));
    // Comparing whole slices is fast even without optimisation; the place is looked for only when there is one.
    if found != expected {
        let at = found.iter().zip(&expected).position(|(found, expected)| found != expected);
        panic!("{} differs from what was written, first at byte {} of {length}", target.display(), at.unwrap_or(length));
    }
}

/// Panics unless writing at `target` is refused for a reason of its being read-only.
#[track_caller]
pub fn assert_read_only(target: &Path) {
    let error = if is_device(target) {
        // Some kernels let a read-only device be opened for writing and refuse the write.
        match OpenOptions::new().write(true).open(target) {
            Ok(device) => device
                .write_all_at(&[1; 4096], OFFSET)
                .and_then(|()| device.sync_all())
                .expect_err("a read-only device was written"),
            Err(error) => error,
        }
    } else {
        File::create(target.join("intruder")).expect_err("a file was made in a read-only mount")
    };
    let expected = matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied);
    assert!(expected, "writing {} failed for another reason: {error}", target.display());
}

/// Takes `bytes` of a mounted volume without writing them: proof that they are there.
pub fn take(target: &Path, bytes: i64) {
    let file = File::create(target.join("taken")).unwrap();
    let bytes = u64::try_from(bytes).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)
        .unwrap_or_else(|error| panic!("{bytes} bytes: {error}"));
}

/// The size of a block device, or of the filesystem at a directory, in bytes.
pub fn size(target: &Path) -> u64 {
    if is_device(target) {
        let mut device = File::open(target).unwrap();
        return io::Seek::seek(&mut device, io::SeekFrom::End(0)).unwrap();
    }
    let space = rustix::fs::statvfs(target).unwrap();
    space.f_blocks * space.f_frsize
}

/// A journal of numbered lines, each flushed before the next: what a database is to a snapshot.
#[derive(Debug)]
pub struct Journal {
    file: File,
    next: u64,
}

impl Journal {
    /// An empty journal in a mounted directory.
    pub fn new(target: &Path) -> Self {
        Self { file: File::create(target.join("journal")).unwrap(), next: 0 }
    }

    /// Adds a line and returns how many there are; when it returns, the line is on the device.
    pub fn append(&mut self) -> u64 {
        writeln!(self.file, "{:08}", self.next).unwrap();
        self.file.sync_data().unwrap();
        self.next += 1;
        self.next
    }

    /// How many lines the journal at `target` has; panics if they are not 0, 1, 2 and so on. The last one may be torn.
    pub fn count(target: &Path) -> u64 {
        let text = fs::read_to_string(target.join("journal")).unwrap_or_default();
        let mut count = 0;
        for line in text.split_inclusive('\n').filter(|line| line.len() == 9) {
            assert_eq!(line.trim().parse::<u64>().ok(), Some(count), "the journal has a gap");
            count += 1;
        }
        count
    }
}
