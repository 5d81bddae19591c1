//! The name by which a volume is found or made, which may have places for the framework's name and the task's slot.
//!
//! mesos/elasticsearch names its volumes `<framework name><node id>data`, where the node id is the lowest number that no running
//! task has (`Configuration.dataVolumeName`, `ClusterState.getElasticNodeId`); so the task that replaces node 2 has node 2's
//! data. A name `{framework}{slot}data` asks for the same, for any framework.

use std::fmt;
use std::str::FromStr;

use hawser_volume::id::STRING_MAX;
use hawser_volume::{Error, ObjectName, Result};
use serde::{Deserialize, Serialize};

use crate::slot::Slot;

/// A name, or a pattern of names: `{framework}` and `{slot}` are replaced when the task is known. Nothing else may stand in
/// braces, and braces cannot be part of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameTemplate(String);

/// What a name is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    Framework,
    Slot,
}

impl NameTemplate {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a slot must be found before the name is known.
    pub fn has_slot(&self) -> bool {
        self.parts().any(|part| part == Part::Slot)
    }

    /// Whether the name depends on the framework's.
    pub fn has_framework(&self) -> bool {
        self.parts().any(|part| part == Part::Framework)
    }

    /// What stands before the number: the volumes of one task have this in common.
    pub fn series(&self) -> &str {
        self.0.split_once("{slot}").map_or(self.as_str(), |(before, _)| before)
    }

    /// The name, when it is the same for every task.
    pub fn fixed(&self) -> Option<ObjectName> {
        if self.0.contains('{') { None } else { self.0.parse().ok() }
    }

    /// The name for a task of `framework` in `slot`.
    ///
    /// `Invalid` when the result is longer than a name may be, or the framework's name has characters that no name may have.
    pub fn resolve(&self, framework: &str, slot: Slot) -> Result<ObjectName> {
        let mut name = String::new();
        for part in self.parts() {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Framework => name.push_str(framework),
                Part::Slot => name.push_str(&slot.to_string()),
            }
        }
        name.parse().map_err(|error: Error| error.while_doing(format_args!("the volume name {}", self.0)))
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        // Between braces there is nothing but the two words, which from_str has checked.
        self.0.split_inclusive('}').flat_map(|piece| {
            let (text, word) = piece.split_once('{').unwrap_or((piece, ""));
            let word = match word {
                "framework}" => Some(Part::Framework),
                "slot}" => Some(Part::Slot),
                _ => None,
            };
            (!text.is_empty()).then_some(Part::Text(text)).into_iter().chain(word)
        })
    }
}

impl From<&ObjectName> for NameTemplate {
    fn from(name: &ObjectName) -> Self {
        Self(name.as_str().to_owned())
    }
}

impl FromStr for NameTemplate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid("a volume name is required"));
        }
        if text.len() > STRING_MAX {
            return Err(Error::invalid(format!("the name has {} bytes; at most {STRING_MAX} are allowed", text.len())));
        }
        if text.chars().any(char::is_control) {
            return Err(Error::invalid(format!(
                "the name {} has control characters; remove them",
                hawser_volume::error::shown(text)
            )));
        }
        let rest = text.replace("{framework}", "").replace("{slot}", "");
        // A word that appears only when another one is taken out, as in {sl{slot}ot}, stands in `text` with two braces in a row.
        let nested = text.split('{').skip(1).any(|piece| !piece.contains('}'));
        if rest.contains(['{', '}']) || nested {
            return Err(Error::invalid(format!(
                "the name {} has braces; only {{framework}} and {{slot}} may stand in them",
                hawser_volume::error::shown(text)
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for NameTemplate {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<NameTemplate> for String {
    fn from(name: NameTemplate) -> Self {
        name.0
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_of_mesos_elasticsearch_come_out() {
        let name: NameTemplate = "{framework}{slot}data".parse().unwrap();
        assert!(name.has_slot() && name.fixed().is_none());
        assert_eq!(name.resolve("elasticsearch", Slot(0)).unwrap().as_str(), "elasticsearch0data");
        assert_eq!(name.resolve("elasticsearch", Slot(12)).unwrap().as_str(), "elasticsearch12data");
        assert!(name.resolve(&"x".repeat(128), Slot(0)).is_err());
        assert!(name.resolve("a\0", Slot(0)).is_err());
    }

    #[test]
    fn a_plain_name_is_itself_for_everybody() {
        let name: NameTemplate = "pgdata".parse().unwrap();
        assert!(!name.has_slot());
        assert_eq!(name.fixed().unwrap().as_str(), "pgdata");
        assert_eq!(name.resolve("any", Slot(7)).unwrap().as_str(), "pgdata");
    }

    #[test]
    fn other_braces_are_refused() {
        for text in [
            "{",
            "}",
            "{slots}",
            "{Slot}",
            "{sl{slot}ot}",
            "{sl{framework}ot}",
            "{frame{slot}work}",
            "}{",
            "a{}",
            "{{slot}}",
            "{slot",
        ] {
            assert!(text.parse::<NameTemplate>().is_err(), "{text}");
        }
    }

    proptest! {
        /// Whatever is accepted resolves to the text with the words replaced, as a naive reader would do it.
        #[test]
        fn resolving_is_replacing(text in "([a-z{} ]|\\{framework\\}|\\{slot\\}){0,20}", framework in "[a-z]{1,8}", slot in 0u32..1000) {
            if let Ok(name) = text.parse::<NameTemplate>() {
                let expected = text.replace("{framework}", &framework).replace("{slot}", &slot.to_string());
                prop_assert!(!expected.contains(['{', '}']), "{}", expected);
                let resolved = name.resolve(&framework, Slot(slot)).unwrap();
                prop_assert_eq!(resolved.as_str(), expected);
            }
        }

        #[test]
        fn any_text_is_a_name_or_an_error(text in any::<String>()) {
            if let Ok(name) = text.parse::<NameTemplate>() {
                prop_assert_eq!(name.as_str(), text);
            }
        }
    }
}
