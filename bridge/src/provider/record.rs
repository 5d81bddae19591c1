//! RecordIO: how an agent puts messages into one endless answer, `<length>\n<bytes>` each (3rdparty/stout/include/stout/recordio.hpp).

use hawser_volume::{Error, Result};

/// The longest record that is accepted, in bytes. A thousand disks have half a MiB.
const RECORD_MAX: usize = 64 << 20;

/// How many digits its length has.
const DIGITS_MAX: usize = 8;

/// The records of a body that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct Records {
    buffer: Vec<u8>,
    /// The length of the record that has begun.
    length: Option<usize>,
}

impl Records {
    /// Takes the next piece of the body.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next record, once all of it is there. After an error nothing that follows can be understood.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.length.is_none() {
            self.length = self.read_length()?;
        }
        let Some(length) = self.length.filter(|length| self.buffer.len() >= *length) else { return Ok(None) };
        self.length = None;
        Ok(Some(self.buffer.drain(..length).collect()))
    }

    fn read_length(&mut self) -> Result<Option<usize>> {
        let wrong = |what: &str| Error::unavailable(format!("read what the agent says: {what}"));
        let Some(end) = self.buffer.iter().take(DIGITS_MAX + 1).position(|byte| *byte == b'\n') else {
            if self.buffer.len() > DIGITS_MAX || !self.buffer.iter().all(u8::is_ascii_digit) {
                return Err(wrong("a record does not begin with its length"));
            }
            return Ok(None);
        };
        let digits = &self.buffer[..end];
        // `parse` would take a sign.
        let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length: usize =
            digits.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("a record does not begin with its length"))?;
        if length > RECORD_MAX {
            return Err(wrong(&format!("a record has {length} bytes, and {RECORD_MAX} are accepted")));
        }
        self.buffer.drain(..=end);
        Ok(Some(length))
    }

    /// Whether the body may end here.
    pub(super) fn is_whole(&self) -> bool {
        self.length.is_none() && self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All that `pieces` have in them.
    fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Result<bool>) {
        let (mut records, mut found) = (Records::default(), Vec::new());
        for piece in pieces {
            records.push(piece);
            loop {
                match records.next() {
                    Ok(Some(record)) => found.push(record),
                    Ok(None) => break,
                    Err(error) => return (found, Err(error)),
                }
            }
        }
        let is_whole = records.is_whole();
        (found, Ok(is_whole))
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in ["x", "\n", "-1\n", "+1\nx", "1 \nx", "0x1\nx", "123456789", "99999999\n"] {
            assert!(read(&[text.as_bytes()]).1.is_err(), "{text:?}");
        }
        assert_eq!(read(&[b"0\n2\nab"]).0, [b"".to_vec(), b"ab".to_vec()]);
        assert!(!read(&[b"12"]).1.unwrap() && !read(&[b"2\na"]).1.unwrap() && read(&[]).1.unwrap());
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in_however_they_are_cut(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let body: Vec<u8> = records.iter().flat_map(|record| [format!("{}\n", record.len()).as_bytes(), record].concat()).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([0, body.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();
            let (found, end) = read(&pieces);
            prop_assert_eq!(found, records);
            prop_assert!(end.unwrap());
        }

        #[test]
        fn nonsense_ends_in_an_error_or_a_record(piece in prop::collection::vec(any::<u8>(), 0..200)) {
            let (found, _) = read(&[&piece]);
            prop_assert!(found.iter().map(Vec::len).sum::<usize>() <= piece.len());
        }
    }
}
