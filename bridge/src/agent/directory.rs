//! A directory of configurations, read as an agent reads it: every file in it, whatever its name, and no directory.

use std::fs;
use std::path::Path;

use hawser_volume::error::shown;
use hawser_volume::{Error, Result};

use super::report::{Report, read_text};
use crate::declare::json::{Document, Node};
use crate::finding::{Findings, Place};

/// What stands in the file `name` of a directory.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub file: String,
    pub value: T,
}

/// What an agent does about a directory, each as the end of a sentence.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When it is not there.
    pub missing: &'static str,
    /// When it has no file, and whether that is a mistake.
    pub empty: (&'static str, bool),
    /// When it cannot make sense of a file.
    pub refused: &'static str,
}

/// Reads all files of `directory` with `read`.
///
/// `Invalid` for a directory that cannot be listed.
pub(super) fn read_all<T>(
    directory: &Path,
    outcome: &Outcome,
    read: impl Fn(&Node<'_>, &mut Findings) -> Option<T>,
    report: &mut Report,
) -> Result<Vec<Entry<T>>> {
    let name = directory.display().to_string();
    let here = Place::named("$");
    if !directory.is_dir() {
        report.of(&name).mistake(&here, format!("is no directory: {}", outcome.missing));
        return Ok(Vec::new());
    }
    let wrong = |error| Error::invalid(format!("list {name}")).caused_by(error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(wrong)? {
        paths.push(entry.map_err(wrong)?.path());
    }
    paths.sort();
    let files: Vec<_> = paths.into_iter().filter(|path| !path.is_dir()).collect();
    if files.is_empty() {
        let (text, is_mistake) = outcome.empty;
        let text = format!("has no file: {text}");
        if is_mistake { report.of(&name).mistake(&here, text) } else { report.of(&name).warn(&here, text) }
    }
    let mut entries = Vec::new();
    for path in files {
        let file = path.display().to_string();
        let findings = report.of(&file);
        let before = findings.mistakes.len();
        match read_text(&path) {
            Ok(text) => {
                let value = root(&text, outcome.refused, findings, &read);
                entries.extend(value.map(|value| Entry { file: file.clone(), value }));
            }
            Err(error) => findings.mistake(&here, format!("cannot be read ({}), and the agent passes over it", error.chain())),
        }
        if findings.mistakes.len() > before && is_leftover(&path) {
            let text =
                "looks like what an editor or a package left behind; Mesos reads every file of the directory: move it away";
            findings.warn(&here, text);
        }
    }
    Ok(entries)
}

/// Reads one file with `read`.
pub(super) fn root<T>(
    text: &str,
    refused: &str,
    findings: &mut Findings,
    read: impl Fn(&Node<'_>, &mut Findings) -> Option<T>,
) -> Option<T> {
    let document = Document::new(text);
    let mut heard = Findings::default();
    let root = document.root(&mut heard);
    for mistake in heard.mistakes {
        findings.mistake(&mistake.place, format!("{}: {refused}", mistake.text));
    }
    read(&root?, findings)
}

/// Tells of a second file with the same key, which Mesos passes over.
pub(super) fn tell_of_doubles<T>(entries: &[Entry<T>], what: &str, key: impl Fn(&T) -> (String, Place), report: &mut Report) {
    for (index, entry) in entries.iter().enumerate() {
        let (name, place) = key(&entry.value);
        if let Some(first) = entries[..index].iter().find(|first| key(&first.value).0 == name) {
            let text =
                format!("describes {what} {} as {} does; Mesos keeps one of the two and only logs it", shown(&name), first.file);
            report.of(&entry.file).mistake(&place, text);
        }
    }
}

fn is_leftover(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.')
        || name.ends_with('~')
        || [".bak", ".swp", ".orig", ".rej", ".rpmnew", ".rpmsave", ".dpkg-dist", ".dpkg-old", ".tmp", ".md", ".txt"]
            .iter()
            .any(|ending| name.ends_with(ending))
}
