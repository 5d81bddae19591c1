//! Records that several writers change at once, without a lock, on any filesystem that has links.
//!
//! A record is a row of files `record.1`, `record.2`, … in the directory of its object. Whoever changes it writes the successor aside and
//! links it to the next number; link(2) is exclusive, on an NFS server among all its clients, so of two who saw the same record one is
//! told that the number is taken, and begins anew with what is there now. The highest number holds. Some older ones are kept: so one who
//! saw a very old record cannot take a number that has been given before and removed since.

use std::ffi::OsString;

use hawser_host::Directory;
use hawser_host::beneath::Moved;
use hawser_volume::{Bytes, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The beginning of a record's file name, before its number.
const RECORD: &str = "record.";

/// The beginning of the name of a record that is being written.
const ASIDE: &str = ".record.";

/// How many records before the one that holds are kept.
const KEPT: u64 = 4;

/// The largest record.
const RECORD_MAX: Bytes = Bytes::mib(1);

/// How often a record that changes all the time is read again.
const AGAIN: usize = 100;

fn file(number: u64) -> String {
    format!("{RECORD}{number}")
}

fn number(name: &OsString) -> Option<u64> {
    name.to_str()?.strip_prefix(RECORD)?.parse().ok()
}

/// Whether this is a record that was begun and not finished.
pub(crate) fn is_unfinished(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(ASIDE.as_bytes())
}

/// The record that holds, with its number; nothing when there is none.
pub fn latest<T: DeserializeOwned>(object: &Directory) -> Result<Option<(u64, T)>> {
    for _ in 0..AGAIN {
        let names = object.names()?;
        let Some(mut highest) = names.iter().filter_map(number).max() else { return Ok(None) };
        let Some(mut text) = object.read(file(highest), RECORD_MAX)? else { continue };
        // A listing that this machine remembers may lack the newest.
        while let Some(newer) = object.read(file(highest + 1), RECORD_MAX)? {
            (highest, text) = (highest + 1, newer);
        }
        let record = serde_json::from_slice(&text).map_err(|error| {
            let path = object.shown().join(file(highest));
            Error::internal(format!("{} is not a record that this version understands; it is left as it is", path.display()))
                .caused_by(error)
        })?;
        return Ok(Some((highest, record)));
    }
    Err(Error::unavailable(format!("the record in {} changes all the time", object.shown().display())))
}

/// Writes the first record of an object that nobody else can see.
pub fn first(object: &Directory, record: &impl Serialize) -> Result<()> {
    if object.create(file(1), &encode(object, record)?)? {
        Ok(())
    } else {
        Err(Error::internal(format!("{} has a record already", object.shown().display())))
    }
}

/// Puts `record` in the place of the one numbered `number`; false when that does not hold any more.
pub fn replace(object: &Directory, number_seen: u64, record: &impl Serialize) -> Result<bool> {
    let aside = format!("{ASIDE}{}", Uuid::new_v4());
    object.create(&aside, &encode(object, record)?)?;
    let next = number_seen + 1;
    let linked = object.link(&aside, object, &file(next));
    object.remove_file(&aside)?;
    if linked? != Moved::Done {
        return Ok(false);
    }
    let numbers: Vec<u64> = object.names()?.iter().filter_map(number).collect();
    if numbers.iter().any(|number| *number > next) {
        // The number had been given before. It does not hold, so nobody goes by it.
        object.remove_file(file(next))?;
        return Ok(false);
    }
    for old in numbers.into_iter().filter(|number| number + KEPT < next) {
        object.remove_file(file(old))?;
    }
    Ok(true)
}

/// What comes of a look at a record.
pub enum Change<T, R> {
    /// It stays.
    Keep(R),
    /// This is its successor.
    Write(T, R),
}

/// Changes the record of an object: `decide` is asked again with what is there then, each time that somebody else was faster.
/// Nothing when the object has no record.
pub fn change<T: DeserializeOwned + Serialize, R>(
    object: &Directory,
    decide: impl FnMut(T) -> Result<Change<T, R>>,
) -> Result<Option<R>> {
    match latest(object)? {
        Some(seen) => change_seen(object, seen, decide),
        None => Ok(None),
    }
}

/// The same for who has read the record a moment ago.
pub(crate) fn change_seen<T: DeserializeOwned + Serialize, R>(
    object: &Directory,
    seen: (u64, T),
    mut decide: impl FnMut(T) -> Result<Change<T, R>>,
) -> Result<Option<R>> {
    let mut seen = Some(seen);
    for _ in 0..AGAIN {
        let Some((number, record)) = seen.take().map_or_else(|| latest(object), |seen| Ok(Some(seen)))? else {
            return Ok(None);
        };
        match decide(record)? {
            Change::Keep(result) => return Ok(Some(result)),
            Change::Write(record, result) if replace(object, number, &record)? => return Ok(Some(result)),
            Change::Write(..) => {}
        }
    }
    Err(Error::unavailable(format!("the record in {} is changed by others all the time", object.shown().display())))
}

fn encode(object: &Directory, record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(record)
        .map_err(|error| Error::internal(format!("encode the record in {}", object.shown().display())).caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        let object = Directory::open(place.path()).unwrap();
        (place, object)
    }

    #[test]
    fn no_change_is_lost_among_many_writers() {
        let (place, object) = scratch();
        first(&object, &0u64).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mine = Directory::open(place.path()).unwrap();
                    for _ in 0..25 {
                        while change(&mine, |value: u64| Ok(Change::Write(value + 1, ()))).is_err() {}
                    }
                });
            }
        });
        assert_eq!(latest::<u64>(&object).unwrap(), Some((101, 100)));
        let left = object.names().unwrap().len();
        assert!(left <= 1 + usize::try_from(KEPT).unwrap() + 1, "{left} files are left");
    }

    #[test]
    fn who_saw_an_old_record_cannot_write() {
        let (_place, object) = scratch();
        first(&object, &1u32).unwrap();
        for value in 2..20u32 {
            let (number, _) = latest::<u32>(&object).unwrap().unwrap();
            assert!(replace(&object, number, &value).unwrap());
        }
        for stale in 1..19 {
            assert!(!replace(&object, stale, &99u32).unwrap(), "{stale}");
        }
        assert_eq!(latest::<u32>(&object).unwrap(), Some((19, 19)));
    }

    #[test]
    fn a_writer_that_was_killed_is_in_nobodys_way() {
        let (_place, object) = scratch();
        first(&object, &1u32).unwrap();
        object.create(".record.half", b"{").unwrap();
        assert_eq!(change(&object, |value: u32| Ok(Change::Write(value + 1, value))).unwrap(), Some(1));
        assert_eq!(latest::<u32>(&object).unwrap(), Some((2, 2)));
    }

    #[test]
    fn a_record_of_another_version_is_left_alone() {
        let (_place, object) = scratch();
        object.create("record.1", b"[1, 2").unwrap();
        assert_eq!(latest::<u32>(&object).unwrap_err().kind(), hawser_volume::Kind::Internal);
        let (_place, empty) = scratch();
        assert_eq!(latest::<u32>(&empty).unwrap(), None);
        assert_eq!(change(&empty, |value: u32| Ok(Change::Write(value, ()))).unwrap(), None);
    }
}
