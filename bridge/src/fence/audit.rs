//! The audit log: what was taken from whom, on what evidence, and what came of it.
//!
//! One JSON object a line. A takeover has two lines with one id: `intended`, which is on disk before anything is detached, and `done`
//! or `failed`. An `intended` alone says that the bridge died in between, and nobody knows whether the volume was detached.
//!
//! The file is opened anew for each record, so it can be renamed at any time and the next record makes a new one. A record is
//! written with one call and flushed to the device before [`Audit::append`] returns. A line that a crash cut short stays as it is: the
//! next record begins on a line of its own, and a line before it says how long the torn one was.

mod recent;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hawser_volume::{Error, NodeId, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::evidence::{Grade, Statement};
use super::holder::Holder;
use super::moment::Moment;
use super::proof::Proof;
use crate::mesos::AgentId;
use crate::policy::Takeover;

pub use recent::{Said, Told};

/// How much of the end of the file is searched for the beginning of a torn line. Longer than any record.
const TAIL: u64 = 1 << 20;

/// Who takes a volume: the node of this bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taker {
    /// Its CSI node.
    pub node: NodeId,
    /// Its agent, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
}

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The volume is about to be detached.
    Intended,
    /// It was detached.
    Done,
    /// It was not, or nobody knows: `error` says what happened.
    Failed,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record<'a> {
    /// When it was written.
    pub time: Moment,
    /// Which takeover it belongs to.
    pub takeover: Uuid,
    /// What it tells.
    pub outcome: Outcome,
    /// The volume id.
    pub volume: &'a str,
    /// From whom.
    pub from: &'a Holder,
    /// By whom.
    pub to: &'a Taker,
    /// The policy that allowed it.
    pub policy: Takeover,
    /// How certain it was that the holder is dead.
    pub grade: Grade,
    /// What was said, and by whom.
    pub evidence: &'a [Statement],
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl<'a> Record<'a> {
    /// The record of `outcome` of the `takeover` of `volume` by `to` on `proof`.
    pub fn new(takeover: Uuid, outcome: Outcome, volume: &'a str, to: &'a Taker, proof: &'a Proof) -> Self {
        Self {
            time: Moment::now(),
            takeover,
            outcome,
            volume,
            from: proof.holder(),
            to,
            policy: proof.policy(),
            grade: proof.grade(),
            evidence: &proof.evidence().statements,
            error: None,
        }
    }
}

/// Before the next record after a line that was cut short.
#[derive(Serialize)]
struct Torn {
    time: Moment,
    torn_bytes: u64,
}

/// A line, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A record, or whatever else is a JSON object.
    Record(serde_json::Map<String, serde_json::Value>),
    /// A line that is none: cut short by a crash, as a rule.
    Torn(String),
}

/// The file.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    /// One record at a time.
    turn: Mutex<()>,
}

impl Audit {
    /// The log at `path`, whose directory exists. The file is made (mode 0600) with the first record.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), turn: Mutex::new(()) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `record`. On return it is on disk; an error says that it may not be. Blocks.
    pub fn append(&self, record: &Record<'_>) -> Result<()> {
        let failed =
            |error: std::io::Error| Error::unavailable(format!("write the audit log {}", self.path.display())).caused_by(error);
        let line = |value: serde_json::Result<Vec<u8>>| {
            let mut text = value.map_err(|error| Error::internal("write a record of the audit log").caused_by(error))?;
            text.push(b'\n');
            Ok::<_, Error>(text)
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path).map_err(failed)?;
        let mut text = Vec::new();
        let torn_bytes = torn(&mut file).map_err(failed)?;
        if torn_bytes > 0 {
            tracing::warn!(path = %self.path.display(), torn_bytes, "the last line of the audit log was cut short by a crash");
            text.push(b'\n');
            text.append(&mut line(serde_json::to_vec(&Torn { time: Moment::now(), torn_bytes }))?);
        }
        text.append(&mut line(serde_json::to_vec(record))?);
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        // The name of a new file too: without it the record would be on disk and nowhere to be found.
        let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// All lines, in their order. A file that is not there has none.
    pub fn lines(&self) -> Result<Vec<Line>> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(Error::unavailable(format!("read the audit log {}", self.path.display())).caused_by(error));
            }
        };
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines
            .map(|line| match serde_json::from_slice(line) {
                Ok(record) => Line::Record(record),
                Err(_) => Line::Torn(String::from_utf8_lossy(line).into_owned()),
            })
            .collect())
    }
}

/// The length of the last line if it does not end with a newline, else nothing.
fn torn(file: &mut File) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok((tail.len() - whole) as u64)
}

#[cfg(test)]
mod tests;
