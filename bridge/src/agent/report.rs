//! What was found, file by file.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hawser_volume::{Bytes, Error, Result};
use serde::Serialize;

use crate::finding::{Finding, Findings};

/// The largest file that is read. No configuration comes near it.
const FILE_MAX: Bytes = Bytes::mib(16);

/// What was found in all files of an agent.
#[derive(Debug, Default)]
pub struct Report {
    files: Vec<(String, Findings)>,
}

/// What was found in one file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport<'r> {
    /// Its path, or `command line`.
    pub file: &'r str,
    /// What an agent would not survive, or would drop without a word.
    pub mistakes: Vec<&'r Finding>,
    /// What works, and somebody may regret.
    pub warnings: Vec<&'r Finding>,
    /// How many more there are of both.
    pub left_out: usize,
}

impl Report {
    /// What was found in `file`, which counts as looked at from now on.
    pub(super) fn of(&mut self, file: &str) -> &mut Findings {
        let index = self.files.iter().position(|(name, _)| name == file).unwrap_or_else(|| {
            self.files.push((file.to_owned(), Findings::default()));
            self.files.len() - 1
        });
        &mut self.files[index].1
    }

    /// The files, in the order in which they were read, and their findings in the order of their lines.
    pub fn files(&self) -> impl Iterator<Item = FileReport<'_>> {
        self.files.iter().map(|(file, findings)| {
            let mut mistakes: Vec<_> = findings.mistakes.iter().collect();
            let mut warnings: Vec<_> = findings.warnings.iter().collect();
            mistakes.sort_by_key(|finding| finding.place.line);
            warnings.sort_by_key(|finding| finding.place.line);
            FileReport { file, mistakes, warnings, left_out: findings.left_out }
        })
    }

    /// How many mistakes there are, of those that are kept.
    pub fn mistakes(&self) -> usize {
        self.files.iter().map(|(_, findings)| findings.mistakes.len()).sum()
    }

    /// How many warnings there are, of those that are kept.
    pub fn warnings(&self) -> usize {
        self.files.iter().map(|(_, findings)| findings.warnings.len()).sum()
    }
}

impl fmt::Display for Report {
    /// A line for each finding, as compilers write them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for FileReport { file, mistakes, warnings, left_out } in self.files() {
            let mistakes = mistakes.into_iter().map(|finding| ("mistake", finding));
            let warnings = warnings.into_iter().map(|finding| ("warning", finding));
            let mut all: Vec<_> = mistakes.chain(warnings).collect();
            all.sort_by_key(|(_, finding)| finding.place.line);
            for (kind, Finding { place, text }) in all {
                let line = place.line.map(|line| format!(":{line}")).unwrap_or_default();
                writeln!(f, "{file}{line}: {kind}: {}: {text}", place.path)?;
            }
            if left_out > 0 {
                writeln!(f, "{file}: and {left_out} more")?;
            }
        }
        Ok(())
    }
}

/// The text of a file.
///
/// `Invalid` when it cannot be read, is no UTF-8, or is larger than any configuration.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let name = path.display();
    let wrong = |error: std::io::Error| Error::invalid(format!("read {name}")).caused_by(error);
    let mut bytes = Vec::new();
    let limit = FILE_MAX.get() + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(wrong)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length == limit) {
        return Err(Error::invalid(format!("{name} is larger than {FILE_MAX}, which no configuration is")));
    }
    String::from_utf8(bytes).map_err(|error| Error::invalid(format!("{name} is not UTF-8")).caused_by(error.utf8_error()))
}
