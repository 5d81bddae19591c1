//! The end of the audit log, read back for people: each takeover once, with what came of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::SystemTime;

use hawser_volume::{Error, Result};
use serde::Deserialize;

use super::{Audit, Outcome, TAIL, Taker};
use crate::fence::holder::Holder;
use crate::fence::moment::rfc3339;

/// A takeover, as far as the log tells.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Told {
    /// When its last record was written.
    #[serde(with = "rfc3339")]
    pub time: SystemTime,
    /// Which one it is: a UUID.
    pub takeover: String,
    /// What its last record tells.
    pub outcome: Outcome,
    /// The volume id.
    pub volume: String,
    /// From whom.
    pub from: Holder,
    /// By whom.
    pub to: Taker,
    /// The policy that allowed it, as in a declaration.
    pub policy: String,
    /// How certain it was that the holder was dead, as the log says it.
    pub grade: String,
    /// What was said, and by whom.
    pub evidence: Vec<Said>,
    /// What went wrong.
    #[serde(default)]
    pub error: Option<String>,
}

/// What somebody said of the holder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// Who.
    pub source: String,
    /// When they were asked.
    #[serde(with = "rfc3339")]
    pub asked: SystemTime,
    /// In one word.
    pub says: String,
    /// In a sentence.
    pub words: String,
}

impl Audit {
    /// The takeovers at the end of the log, the newest first, at most `max`. Of a long log only the last MiB is read. What is no record,
    /// such as a line that a crash cut short, is passed over. Blocks; `Unavailable` when the file cannot be read.
    pub fn recent(&self, max: usize) -> Result<Vec<Told>> {
        let failed = |error| Error::unavailable(format!("read the audit log {}", self.path.display())).caused_by(error);
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let length = file.metadata().map_err(failed)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).map_err(failed)?;
        let mut text = Vec::new();
        file.take(TAIL).read_to_end(&mut text).map_err(failed)?;
        // In the order of their last records. The first line may be the end of one.
        let mut last: BTreeMap<usize, Told> = BTreeMap::new();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if let Ok(told) = serde_json::from_slice::<Told>(line) {
                last.retain(|_, other| other.takeover != told.takeover);
                last.insert(number, told);
            }
        }
        Ok(last.into_values().rev().take(max).collect())
    }
}
