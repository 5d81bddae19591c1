//! Where a volume's directory is below the export: the template `sub-dir`, and the path that it comes to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::layout::HIDDEN;

/// The longest name in a directory, in bytes.
const NAME_MAX: usize = 255;

/// The longest path, in bytes: it is shown in mountinfo and in messages.
const PATH_MAX: usize = 1024;

/// What can stand in `${…}`: as csi-driver-nfs has it, and the key under which the CO says it.
const VARIABLES: [(&str, &str); 4] = [
    ("pvc.metadata.name", "csi.storage.k8s.io/pvc/name"),
    ("pvc.metadata.namespace", "csi.storage.k8s.io/pvc/namespace"),
    ("pv.metadata.name", "csi.storage.k8s.io/pv/name"),
    ("name", ""),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(usize),
}

/// A path with variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

impl TryFrom<String> for Template {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let wrong = |why: String| Error::invalid(format!("sub-dir {text:?} {why}"));
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').ok_or_else(|| wrong("has a ${ without its }".to_owned()))?;
            let variable = VARIABLES.iter().position(|(known, _)| *known == name).ok_or_else(|| {
                let known: Vec<String> = VARIABLES.iter().map(|(known, _)| format!("${{{known}}}")).collect();
                wrong(format!("has ${{{name}}}, which there is not; there is {}", known.join(", ")))
            })?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Variable(variable));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let template = Self { text: text.clone(), parts };
        // With values in place of the variables it must be a path.
        template.fill(|_| Ok("x".to_owned()))?;
        Ok(template)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Template {
    /// The path of the volume called `name`, of which the CO says `labels`. `Invalid` when a variable has no value, or one that would
    /// lead elsewhere.
    pub fn path(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<PathBuf> {
        self.fill(|variable| {
            let (known, key) = VARIABLES[variable];
            let value = if key.is_empty() { Some(name) } else { labels.get(key).map(String::as_str) };
            let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
                Error::invalid(format!(
                    "sub-dir {} needs ${{{known}}}, which the call does not bring ({key}); start external-provisioner with --extra-create-metadata",
                    self.text
                ))
            })?;
            if value.contains('/') || value == "." || value == ".." {
                return Err(Error::invalid(format!("${{{known}}} is {value:?}, which is not the name of a directory")));
            }
            Ok(value.to_owned())
        })
    }

    fn fill(&self, value: impl Fn(usize) -> Result<String>) -> Result<PathBuf> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Variable(variable) => text.push_str(&value(*variable)?),
            }
        }
        checked(&text)
    }
}

/// Reads a path below an export: relative, each part a name, none of ours.
pub fn checked(text: &str) -> Result<PathBuf> {
    let wrong = |why: &str| Error::invalid(format!("the directory {text:?} {why}"));
    if text.starts_with('/') {
        return Err(wrong("must be relative to the export"));
    }
    if text.len() > PATH_MAX {
        return Err(wrong("is too long"));
    }
    for part in text.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(wrong("has an empty part, `.` or `..`"));
        }
        if part.len() > NAME_MAX {
            return Err(wrong("has a part of more than 255 bytes"));
        }
        if part.chars().any(char::is_control) {
            return Err(wrong("has control characters"));
        }
    }
    if text.split('/').next() == Some(HIDDEN) {
        return Err(wrong("is Hawser's own"));
    }
    Ok(Path::new(text).to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (format!("csi.storage.k8s.io/{key}"), (*value).to_owned())).collect()
    }

    #[test]
    fn variables_are_filled_in() {
        let template = Template::try_from("teams/${pvc.metadata.namespace}/${pvc.metadata.name}-${name}".to_owned()).unwrap();
        let labels = labels(&[("pvc/namespace", "web"), ("pvc/name", "data")]);
        assert_eq!(template.path("pvc-1", &labels).unwrap(), Path::new("teams/web/data-pvc-1"));
        let error = template.path("pvc-1", &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("--extra-create-metadata"), "{error}");
    }

    #[test]
    fn what_is_no_path_below_the_export_is_refused() {
        for text in ["", "/x", "a//b", "a/../b", ".", "..", "a/", ".hawser", ".hawser/x", "${", "${x", "${nobody}", "a\nb"] {
            assert!(Template::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        let template = Template::try_from("${name}".to_owned()).unwrap();
        for name in ["..", ".", "a/b", "../x", ".hawser", "", "a\0"] {
            assert!(template.path(name, &BTreeMap::new()).is_err(), "{name:?}");
        }
        let hidden = Template::try_from(".${name}".to_owned()).unwrap();
        assert!(hidden.path("hawser", &BTreeMap::new()).is_err());
        assert!(hidden.path(".", &BTreeMap::new()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_filled_in_stays_below(text in "([a-z./]|\\$\\{name\\}|\\$\\{pvc.metadata.name\\}){1,12}", name in any::<String>(), claim in "[./a-z]{0,6}") {
            if let Ok(template) = Template::try_from(text) {
                let labels = BTreeMap::from([("csi.storage.k8s.io/pvc/name".to_owned(), claim)]);
                if let Ok(path) = template.path(&name, &labels) {
                    prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
                    prop_assert!(!path.starts_with(HIDDEN) && path.components().count() > 0);
                }
            }
        }

        #[test]
        fn any_text_is_a_template_or_a_mistake(text in any::<String>()) {
            if let Ok(template) = Template::try_from(text.clone()) {
                prop_assert_eq!(String::from(template), text);
            }
        }
    }
}
