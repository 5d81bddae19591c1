//! What is wrong with a declaration, or dangerous about it, and where.

use std::fmt;

use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};

/// How many findings of one kind are kept. A file with more than that is no file that a person wrote.
const FINDINGS_MAX: usize = 1000;

/// How much of a key a path repeats, in characters.
const KEY_MAX: usize = 60;

/// Where something is declared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// As a JSONPath (RFC 9535), `$.container.volumes[0]`; or `Opts.size`, `volume_context.size` where there is no file.
    pub path: String,
    /// The line in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Place {
    /// A place that is in no file.
    pub fn named(path: impl Into<String>) -> Self {
        Self { path: path.into(), line: None }
    }

    /// The member `key` of what stands here.
    #[must_use]
    pub fn member(&self, key: &str) -> Self {
        Self { path: format!("{}{}", self.path, segment(key)), line: self.line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{} (line {line})", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// The part of a JSONPath that goes to the member `key`: `.key`, or `['dvdi/size']` where the short form is not allowed.
pub(crate) fn segment(key: &str) -> String {
    let short = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && key.len() <= KEY_MAX;
    if short { format!(".{key}") } else { format!("['{}']", cut(key).replace('\\', "\\\\").replace('\'', "\\'")) }
}

/// The beginning of a key, without control characters.
fn cut(text: &str) -> String {
    let mut kept: String = text.chars().take(KEY_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}

/// One thing that somebody should know, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong and how to mend it.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Everything that was found while reading.
///
/// A **mistake** is what Marathon, Mesos or Hawser would refuse, or would leave out without a word. A **warning** is what they
/// accept and the user may regret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// What would be refused.
    pub mistakes: Vec<Finding>,
    /// What is accepted and dangerous or without effect.
    pub warnings: Vec<Finding>,
    /// How many mistakes and warnings more there are than are kept.
    pub left_out: usize,
    /// All mistakes, those that are left out included.
    wrong: usize,
    /// How many there were when the volume was begun that is being read.
    wrong_before: usize,
}

impl Findings {
    /// Begins to read a volume.
    pub(crate) fn begin(&mut self) {
        self.wrong_before = self.wrong;
    }

    /// Whether no mistake was found since the volume was begun.
    pub(crate) fn is_good(&self) -> bool {
        self.wrong == self.wrong_before
    }

    pub(crate) fn mistake(&mut self, place: &Place, text: impl Into<String>) {
        self.wrong += 1;
        Self::keep(&mut self.mistakes, &mut self.left_out, place, text.into());
    }

    pub(crate) fn warn(&mut self, place: &Place, text: impl Into<String>) {
        Self::keep(&mut self.warnings, &mut self.left_out, place, text.into());
    }

    /// The value, or a mistake at `place` in its stead.
    pub(crate) fn check<T>(&mut self, place: &Place, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.mistake(place, error.to_string())).ok()
    }

    fn keep(list: &mut Vec<Finding>, left_out: &mut usize, place: &Place, text: String) {
        if list.len() < FINDINGS_MAX {
            list.push(Finding { place: place.clone(), text });
        } else {
            *left_out += 1;
        }
    }

    /// All mistakes as one `Invalid` error, for doors that must answer yes or no.
    pub fn into_error(self) -> Error {
        let lines: Vec<String> = self.mistakes.iter().map(ToString::to_string).collect();
        Error::invalid(lines.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_short_where_it_may_be_and_quoted_elsewhere() {
        let place = Place { path: "$".into(), line: Some(3) };
        assert_eq!(place.member("container").member("dvdi/size").path, "$.container['dvdi/size']");
        assert_eq!(place.member("it's").path, "$['it\\'s']");
        assert_eq!(place.member("0").to_string(), "$['0'] (line 3)");
        assert!(place.member(&"k".repeat(1 << 20)).path.len() < 100);
        assert!(!place.member("a\nb").path.contains('\n'));
    }

    #[test]
    fn a_flood_of_findings_is_counted_and_not_kept() {
        let mut findings = Findings::default();
        for _ in 0..FINDINGS_MAX + 5 {
            findings.mistake(&Place::named("$"), "no");
        }
        assert_eq!((findings.mistakes.len(), findings.left_out), (FINDINGS_MAX, 5));
    }
}
