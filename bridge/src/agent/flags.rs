//! The flags of an agent, from everywhere they come from: words of a command line, a file with variables that the service reads, a
//! directory with a file for each flag.
//!
//! `3rdparty/stout/include/stout/flags/flags.hpp`: words beat the variables `MESOS_<FLAG>`; an unknown word ends the agent, an unknown
//! variable is left aside. `support/packaging/common/mesos-init-wrapper`: how the packages make words of `/etc/mesos-agent/*` and of
//! `/etc/default/mesos-agent`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hawser_volume::error::shown;
use hawser_volume::{Error, Result};

use super::known;
use super::report::{Report, read_text};
use crate::declare::nearest::nearest;
use crate::finding::{Findings, Place};

/// Where flags come from.
#[derive(Debug, Clone)]
pub enum FlagSource {
    /// Words of a command line: `--isolation=…`.
    Words(Vec<String>),
    /// A directory with a file for each flag, as `/etc/mesos-agent`; or a file with lines `MESOS_ISOLATION=…` or `--isolation=…`, as
    /// `/etc/default/mesos-agent`.
    Path(PathBuf),
}

/// A flag that is set.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub value: String,
    /// The file that sets it, or the command line.
    pub file: String,
    pub place: Place,
    /// Whether it comes as a word, which may be given once.
    word: bool,
}

/// All flags that are set.
#[derive(Debug, Default)]
pub(super) struct Flags {
    settings: BTreeMap<String, Setting>,
    /// The first source, for what is missing in all.
    pub source: Option<String>,
}

/// How messages name the words of the command line.
const WORDS: &str = "command line";

/// Variables that the wrapper of Mesos' packages makes words of.
const WRAPPED: [(&str, &str); 4] = [("MASTER", "master"), ("IP", "ip"), ("LOGS", "log_dir"), ("ISOLATION", "isolation")];

impl Flags {
    /// Reads all sources.
    ///
    /// `Invalid` for one that cannot be read.
    pub fn read(sources: &[FlagSource], report: &mut Report) -> Result<Self> {
        let mut flags = Self::default();
        for source in sources {
            match source {
                FlagSource::Words(words) => flags.words(words, report.of(WORDS)),
                FlagSource::Path(path) if path.is_dir() => flags.directory(path, report)?,
                FlagSource::Path(path) => {
                    let name = path.display().to_string();
                    let text = read_text(path)?;
                    flags.file(&name, &text, report.of(&name));
                }
            }
        }
        Ok(flags)
    }

    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.get(name)
    }

    fn words(&mut self, words: &[String], findings: &mut Findings) {
        self.source.get_or_insert_with(|| WORDS.to_owned());
        for (index, word) in words.iter().enumerate() {
            let place = Place::named(format!("word {}", index + 1));
            self.word(word, WORDS, &place, findings);
        }
    }

    /// What does not begin with `--` is left aside by Mesos.
    fn word(&mut self, word: &str, file: &str, place: &Place, findings: &mut Findings) {
        let word = word.trim();
        let Some(flag) = word.strip_prefix("--") else {
            if word.starts_with('-') {
                findings.mistake(place, format!("{} is left aside by Mesos without a word: flags begin with --", shown(word)));
            }
            return;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let name = name.to_lowercase();
        let (known, negated) = match name.strip_prefix("no-") {
            Some(rest) => (rest.to_owned(), true),
            None => (name, false),
        };
        let place = Place { path: format!("--{}", shown_name(&known)), line: place.line };
        if !known::flags().any(|flag| flag == known) {
            let near = nearest(&known, known::flags()).map(|near| format!("; did you mean --{near}?")).unwrap_or_default();
            return findings.mistake(&place, format!("is no flag of Mesos 1.12, and the agent exits{near}"));
        }
        let value = match (known::is_switch(&known), negated, value) {
            (true, _, None | Some("")) => (!negated).to_string(),
            (true, true, Some(_)) => return findings.mistake(&place, "is given as --no- and with a value, and the agent exits"),
            (false, true, _) => return findings.mistake(&place, "is no switch that --no- turns off, and the agent exits"),
            (false, false, None) => return findings.mistake(&place, "has no value, and the agent exits; write --flag=value"),
            (_, false, Some(value)) => value.to_owned(),
        };
        self.set(known, Setting { value, file: file.to_owned(), place, word: true }, findings);
    }

    fn set(&mut self, name: String, setting: Setting, findings: &mut Findings) {
        if let Some(before) = self.settings.get(&name) {
            if before.word && setting.word {
                let text =
                    format!("is also given at {} {}, and the agent exits: a flag is given once", before.file, before.place);
                return findings.mistake(&setting.place, text);
            }
            if before.value != setting.value {
                let (wins, loses) = if before.word { (before, &setting) } else { (&setting, before) };
                let text = format!("is also set at {} {}; {} is what counts", before.file, before.place, shown(&wins.value));
                findings.warn(&loses.place.clone(), text);
            }
            if before.word {
                return;
            }
        }
        self.settings.insert(name, setting);
    }

    fn file(&mut self, file: &str, text: &str, findings: &mut Findings) {
        self.source.get_or_insert_with(|| file.to_owned());
        for (index, line) in text.lines().enumerate() {
            let place = Place { path: "$".to_owned(), line: Some(index + 1) };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('-') {
                self.word(&unquoted(line), file, &place, findings);
                continue;
            }
            let Some((name, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else {
                findings.mistake(&place, format!("{} is neither NAME=value nor --flag=value", shown(line)));
                continue;
            };
            self.variable(name.trim_start(), value, file, &place, findings);
        }
    }

    fn variable(&mut self, name: &str, raw: &str, file: &str, place: &Place, findings: &mut Findings) {
        let place = Place { path: shown_name(name), line: place.line };
        if name.ends_with(char::is_whitespace) || raw.starts_with(' ') {
            return findings.mistake(&place, "has a blank beside its =, which no shell takes for an assignment");
        }
        let wrapped = WRAPPED.iter().find(|(variable, _)| *variable == name).map(|(_, flag)| (*flag).to_owned());
        let word = wrapped.is_some();
        let Some(flag) = wrapped.or_else(|| name.strip_prefix("MESOS_").map(str::to_lowercase)) else { return };
        if !raw.starts_with('\'') && raw.contains(['$', '`']) {
            return findings.warn(&place, "is worked out by the shell, so what the agent gets is not checked");
        }
        let value = unquoted(raw);
        if !word && !known::flags().any(|known| known == flag.strip_prefix("no-").unwrap_or(&flag)) {
            // Other parts of Mesos have variables of their own, such as MESOS_NATIVE_JAVA_LIBRARY.
            if let Some(near) = nearest(&flag, known::flags()) {
                let text = format!(
                    "is no flag, and the agent leaves it aside without a word; did you mean MESOS_{}?",
                    near.to_uppercase()
                );
                findings.mistake(&place, text);
            }
            return;
        }
        self.set(flag, Setting { value, file: file.to_owned(), place, word }, findings);
    }

    fn directory(&mut self, directory: &Path, report: &mut Report) -> Result<()> {
        self.source.get_or_insert_with(|| directory.display().to_string());
        let wrong = |error| Error::invalid(format!("list {}", directory.display())).caused_by(error);
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(wrong)? {
            paths.push(entry.map_err(wrong)?.path());
        }
        paths.sort();
        for path in paths.iter().filter(|path| path.is_file()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // The wrapper's `*` passes over them.
            if name.starts_with('.') {
                continue;
            }
            let file = path.display().to_string();
            let word = match name.strip_prefix('?') {
                Some(switch) => format!("--{switch}"),
                None => format!("--{name}={}", read_text(path)?.trim_end_matches('\n')),
            };
            self.word(&word, &file, &Place { path: "$".to_owned(), line: Some(1) }, report.of(&file));
        }
        Ok(())
    }
}

/// A name in a message, without what a terminal would take for a command.
fn shown_name(name: &str) -> String {
    name.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The value as a shell takes it, for the quotes that people write.
fn unquoted(raw: &str) -> String {
    let raw = raw.trim();
    let inner = |quote| raw.strip_prefix(quote).and_then(|rest: &str| rest.split_once(quote)).map(|(inner, _)| inner);
    match inner('"').or_else(|| inner('\'')) {
        Some(inner) => inner.to_owned(),
        // A comment ends what is not quoted.
        None => raw.split_once(" #").map_or(raw, |(value, _)| value.trim_end()).to_owned(),
    }
}
