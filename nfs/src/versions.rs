//! Records that several writers change at once, without a lock, on any filesystem that has links.
//!
//! A record is a row of files `record.1`, `record.2`, … in the directory of its object. Whoever changes it writes the successor aside and
//! links it to the next number; link(2) is exclusive, on an NFS server among all its clients, so of two who saw the same record one is
//! told that the number is taken, and begins anew with what is there now. The highest number holds. Some older ones are kept.
//!
//! One who saw a very old record may be given a number that has been given before and removed since, and one whose number is new may
//! find the row far beyond it when he looks again. To tell the two apart each record carries the marks of those that it came from: what
//! was written holds if the row goes on from it, and is never written twice.

use std::ffi::OsString;

use hawser_host::Directory;
use hawser_host::beneath::Moved;
use hawser_volume::{Bytes, Error, Result};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The beginning of a record's file name, before its number.
const RECORD: &str = "record.";

/// The beginning of the name of a record that is being written.
const ASIDE: &str = ".record.";

/// How many records before the one that holds are kept.
const KEPT: u64 = 4;

/// How many records before it each one names. One who sleeps between his link and his look while more than these are written is told
/// that the outcome is not known.
const LINEAGE: usize = 32;

/// The largest record.
const RECORD_MAX: Bytes = Bytes::mib(1);

/// How often a record that changes all the time is read again.
const AGAIN: usize = 100;

/// What is in the file of a record.
#[derive(Serialize, Deserialize)]
struct Written<T> {
    record: T,
    /// The mark of this one, then those of the ones before it, the newest first.
    lineage: Vec<u64>,
}

/// What may be in the file of a record. Those without a lineage are in exports that were used before there was one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form<T> {
    Marked(Written<T>),
    Bare(T),
}

/// A record that was read, and where it stands in its row.
pub struct Seen<T> {
    /// The record.
    pub record: T,
    place: Place,
}

struct Place {
    number: u64,
    lineage: Vec<u64>,
    /// The numbers that were there, in their order.
    row: Vec<u64>,
}

impl Place {
    /// The place after this one, with a new mark.
    fn next(&self) -> Self {
        let mark = Uuid::new_v4().as_u64_pair().0;
        let lineage = std::iter::once(mark).chain(self.lineage.iter().copied()).take(LINEAGE).collect();
        Self { number: self.number + 1, lineage, row: Vec::new() }
    }
}

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

/// The record that holds; nothing when there is none.
pub fn latest<T: DeserializeOwned>(object: &Directory) -> Result<Option<Seen<T>>> {
    for _ in 0..AGAIN {
        let mut row: Vec<u64> = object.names()?.iter().filter_map(number).collect();
        row.sort_unstable();
        let Some(mut highest) = row.last().copied() else { return Ok(None) };
        let Some(mut text) = object.read(file(highest), RECORD_MAX)? else { continue };
        // A listing that this machine remembers may lack the newest.
        while let Some(newer) = object.read(file(highest + 1), RECORD_MAX)? {
            (highest, text) = (highest + 1, newer);
        }
        let Written { record, lineage } = decode(object, highest, &text)?;
        return Ok(Some(Seen { record, place: Place { number: highest, lineage, row } }));
    }
    Err(Error::unavailable(format!("the record in {} changes all the time", object.shown().display())))
}

/// Writes the first record of an object that nobody else can see.
pub fn first(object: &Directory, record: &impl Serialize) -> Result<()> {
    let place = Place { number: 0, lineage: Vec::new(), row: Vec::new() }.next();
    if object.create(file(place.number), &encode(object, record, &place)?)? {
        Ok(())
    } else {
        Err(Error::internal(format!("{} has a record already", object.shown().display())))
    }
}

/// Puts `record` in the place of the one at `seen`; false when that does not hold any more.
fn replace(object: &Directory, seen: &Place, record: &impl Serialize) -> Result<bool> {
    let next = seen.next();
    if !link(object, &next, record)? {
        return Ok(false);
    }
    if !holds(object, &next)? {
        object.remove_file(file(next.number))?;
        return Ok(false);
    }
    // In their order: `holds` goes by it that a number is not removed before those below it.
    for old in seen.row.iter().filter(|number| **number + KEPT < next.number) {
        object.remove_file(file(*old))?;
    }
    Ok(true)
}

/// Gives `record` the number of its place; false when that is taken.
fn link(object: &Directory, place: &Place, record: &impl Serialize) -> Result<bool> {
    let aside = format!("{ASIDE}{}", Uuid::new_v4());
    object.create(&aside, &encode(object, record, place)?)?;
    let linked = object.link(&aside, object, &file(place.number));
    object.remove_file(&aside)?;
    Ok(linked? == Moved::Done)
}

/// Whether what was linked at `place` is part of the row, and not at a number that had been given before.
fn holds(object: &Directory, place: &Place) -> Result<bool> {
    let (before, mark) = (place.number - 1, place.lineage[0]);
    if let Some(text) = object.read(file(before), RECORD_MAX)?
        && decode::<IgnoredAny>(object, before, &text)?.lineage.first() == place.lineage.get(1)
    {
        // While the one before it is there, no number after that has been removed.
        return Ok(true);
    }
    let now = latest::<IgnoredAny>(object)?.map(|now| now.place);
    now.and_then(|now| {
        let since = usize::try_from(now.number.checked_sub(place.number)?).ok()?;
        now.lineage.get(since).map(|its| *its == mark)
    })
    .ok_or_else(|| {
        Error::unavailable(format!(
            "the record in {} was changed by many others at the same time, and whether this change is among them is not known; repeat \
             the call",
            object.shown().display()
        ))
    })
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
    seen: Seen<T>,
    mut decide: impl FnMut(T) -> Result<Change<T, R>>,
) -> Result<Option<R>> {
    let mut seen = Some(seen);
    for _ in 0..AGAIN {
        let Some(Seen { record, place }) = seen.take().map_or_else(|| latest(object), |seen| Ok(Some(seen)))? else {
            return Ok(None);
        };
        match decide(record)? {
            Change::Keep(result) => return Ok(Some(result)),
            Change::Write(record, result) if replace(object, &place, &record)? => return Ok(Some(result)),
            Change::Write(..) => {}
        }
    }
    Err(Error::unavailable(format!("the record in {} is changed by others all the time", object.shown().display())))
}

fn encode(object: &Directory, record: impl Serialize, place: &Place) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(&Written { record, lineage: place.lineage.clone() })
        .map_err(|error| Error::internal(format!("encode the record in {}", object.shown().display())).caused_by(error))
}

fn decode<T: DeserializeOwned>(object: &Directory, number: u64, text: &[u8]) -> Result<Written<T>> {
    let form = serde_json::from_slice(text).map_err(|error| {
        let path = object.shown().join(file(number));
        Error::internal(format!("{} is not a record that this version understands; it is left as it is", path.display()))
            .caused_by(error)
    })?;
    Ok(match form {
        Form::Marked(written) => written,
        Form::Bare(record) => Written { record, lineage: Vec::new() },
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        let object = Directory::open(place.path()).unwrap();
        (place, object)
    }

    fn now<T: DeserializeOwned>(object: &Directory) -> (u64, T) {
        let seen = latest(object).unwrap().unwrap();
        (seen.place.number, seen.record)
    }

    fn add(object: &Directory, entry: u32) {
        let append = |mut entries: Vec<u32>| {
            entries.push(entry);
            Ok(Change::Write(entries, ()))
        };
        change(object, append).unwrap().unwrap();
    }

    #[test]
    fn no_change_is_lost_or_made_twice_among_many_writers() {
        let (place, object) = scratch();
        first(&object, &Vec::<u32>::new()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let mine = Directory::open(place.path()).unwrap();
                scope.spawn(move || {
                    for entry in (0..25).map(|n| writer * 25 + n) {
                        let is_unknown = Cell::new(false);
                        let append = |mut entries: Vec<u32>| {
                            if entries.contains(&entry) {
                                assert!(is_unknown.get(), "{entry} was written, and is to be written again");
                                return Ok(Change::Keep(()));
                            }
                            entries.push(entry);
                            Ok(Change::Write(entries, ()))
                        };
                        while change(&mine, &append).is_err() {
                            is_unknown.set(true);
                        }
                    }
                });
            }
        });
        let (number, mut entries) = now::<Vec<u32>>(&object);
        entries.sort_unstable();
        assert_eq!((number, entries), (101, (0..100).collect()));
        let left = object.names().unwrap().len();
        assert!(left <= 1 + usize::try_from(KEPT).unwrap() + 1, "{left} files are left");
    }

    #[test]
    fn what_was_written_holds_however_far_the_row_has_gone_on() {
        for others in 0..u32::try_from(LINEAGE).unwrap() + 3 {
            let (_place, object) = scratch();
            first(&object, &vec![0u32]).unwrap();
            let mine = latest::<Vec<u32>>(&object).unwrap().unwrap().place.next();
            assert!(link(&object, &mine, &vec![0u32, 1]).unwrap());
            for other in 0..others {
                add(&object, 2 + other);
            }
            match holds(&object, &mine) {
                Ok(holds) => assert!(holds, "{others}"),
                Err(error) => assert!(others as usize >= LINEAGE, "{others}: {error}"),
            }
            assert_eq!(now::<Vec<u32>>(&object).1, (0..2 + others).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_saw_an_old_record_cannot_write() {
        let (_place, object) = scratch();
        first(&object, &vec![0u32]).unwrap();
        let mut seen = Vec::new();
        for entry in 1..20 {
            seen.push(latest::<Vec<u32>>(&object).unwrap().unwrap().place);
            add(&object, entry);
        }
        for stale in &seen {
            assert!(!replace(&object, stale, &vec![99u32]).unwrap(), "{}", stale.number);
            assert_eq!(now::<Vec<u32>>(&object), (20, (0..20).collect()));
        }
        // Of one who saw what is forgotten nothing is said that is not known.
        for entry in 20..20 + u32::try_from(LINEAGE).unwrap() {
            add(&object, entry);
        }
        assert_eq!(replace(&object, &seen[0], &vec![99u32]).unwrap_err().kind(), hawser_volume::Kind::Unavailable);
        assert_eq!(now::<Vec<u32>>(&object).1, (0..52).collect::<Vec<_>>());
    }

    #[test]
    fn a_writer_that_was_killed_is_in_nobodys_way() {
        let (_place, object) = scratch();
        first(&object, &1u32).unwrap();
        object.create(".record.half", b"{").unwrap();
        assert_eq!(change(&object, |value: u32| Ok(Change::Write(value + 1, value))).unwrap(), Some(1));
        assert_eq!(now::<u32>(&object), (2, 2));
    }

    #[test]
    fn a_row_that_began_without_lineages_goes_on() {
        let (_place, object) = scratch();
        object.create("record.6", b"[0, 1]").unwrap();
        object.create("record.7", b"[0, 1, 2]").unwrap();
        assert_eq!(now::<Vec<u32>>(&object), (7, vec![0, 1, 2]));
        let mine = latest::<Vec<u32>>(&object).unwrap().unwrap().place;
        for entry in 3..20 {
            add(&object, entry);
        }
        assert!(!replace(&object, &mine, &vec![99u32]).unwrap());
        assert_eq!(now::<Vec<u32>>(&object), (24, (0..20).collect()));
    }

    #[test]
    fn a_record_of_another_version_is_left_alone() {
        let (_place, object) = scratch();
        object.create("record.1", b"[1, 2").unwrap();
        assert_eq!(latest::<u32>(&object).err().unwrap().kind(), hawser_volume::Kind::Internal);
        let (_place, empty) = scratch();
        assert!(latest::<u32>(&empty).unwrap().is_none());
        assert_eq!(change(&empty, |value: u32| Ok(Change::Write(value, ()))).unwrap(), None);
    }
}
