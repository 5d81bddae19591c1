//! Tags whose values are made when the volume is: `team={{ .PVCNamespace | toUpper }}`, as aws-ebs-csi-driver has them.
//!
//! Of Go's templates, what tags are made of: fields, texts, numbers, and pipelines of `field`, `substring`, `toUpper`, `toLower` and
//! `contains`. Anything else is refused with its name.

use std::collections::BTreeMap;

use hawser_ebs::label;
use hawser_volume::error::shown;
use hawser_volume::{Error, Result};

/// What fields stand for, by their names: `PVCName`.
pub(super) type Fields = BTreeMap<&'static str, String>;

/// The fields of a volume and of a snapshot, and the keys under which COs say what they stand for.
const FIELDS: [(&str, &str); 6] = [
    ("PVCName", "csi.storage.k8s.io/pvc/name"),
    ("PVCNamespace", "csi.storage.k8s.io/pvc/namespace"),
    ("PVName", "csi.storage.k8s.io/pv/name"),
    ("VolumeSnapshotName", "csi.storage.k8s.io/volumesnapshot/name"),
    ("VolumeSnapshotNamespace", "csi.storage.k8s.io/volumesnapshot/namespace"),
    ("VolumeSnapshotContentName", "csi.storage.k8s.io/volumesnapshotcontent/name"),
];

/// What the CO's own keys say.
pub(super) fn fields(labels: &BTreeMap<String, String>) -> Fields {
    FIELDS.iter().filter_map(|(field, key)| Some((*field, labels.get(*key)?.clone()))).collect()
}

/// Reads tags: each text is `key=value`, the value possibly with a template.
pub(super) fn tags<'a>(
    texts: impl IntoIterator<Item = (&'a String, &'a String)>,
    fields: &Fields,
) -> Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for (parameter, text) in texts {
        let wrong = |error: Error| error.while_doing(format_args!("parameters: {parameter:?}"));
        let (key, value) =
            text.split_once('=').ok_or_else(|| wrong(Error::invalid(format!("{} must be a tag: key=value", shown(text)))))?;
        let value = fill(value, fields).map_err(wrong)?;
        label::check(key, &value).map_err(wrong)?;
        tags.insert(key.to_owned(), value);
    }
    Ok(tags)
}

/// The text with what its templates come to.
fn fill(text: &str, fields: &Fields) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) =
            after.split_once("}}").ok_or_else(|| Error::invalid(format!("{} has a {{{{ without a }}}}", shown(text))))?;
        filled.push_str(before);
        filled.push_str(&pipeline(inside, fields)?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Field(String),
    Text(String),
    Word(String),
    Pipe,
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            ' ' => drop(chars.next()),
            '|' => {
                chars.next();
                tokens.push(Token::Pipe);
            }
            '"' | '`' => {
                chars.next();
                let mut content = String::new();
                loop {
                    match chars.next() {
                        None => return Err(Error::invalid(format!("a text does not end in {}", shown(text)))),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => content.extend(chars.next()),
                        Some(inner) => content.push(inner),
                    }
                }
                tokens.push(Token::Text(content));
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = chars.next_if(|c| !matches!(c, ' ' | '|' | '"' | '`')) {
                    word.push(c);
                }
                tokens.push(match word.strip_prefix('.') {
                    Some(field) => Token::Field(field.to_owned()),
                    None => Token::Word(word),
                });
            }
        }
    }
    Ok(tokens)
}

fn pipeline(text: &str, fields: &Fields) -> Result<String> {
    let tokens = tokens(text)?;
    let mut value: Option<String> = None;
    for stage in tokens.split(|token| *token == Token::Pipe) {
        value = Some(evaluate(stage, value, fields)?);
    }
    value.ok_or_else(|| Error::invalid("a template is empty"))
}

/// One stage of a pipeline; what comes from the one before is the last argument.
fn evaluate(stage: &[Token], before: Option<String>, fields: &Fields) -> Result<String> {
    let argument = |token: &Token| match token {
        Token::Field(name) => fields.get(name.as_str()).cloned().ok_or_else(|| {
            let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            Error::invalid(format!(
                "field {} is not known here; the CO has to send it, and it must be one of {}",
                shown(name),
                known.join(", ")
            ))
        }),
        Token::Text(text) | Token::Word(text) => Ok(text.clone()),
        Token::Pipe => Err(Error::invalid("two | follow each other")),
    };
    let (first, rest) = stage.split_first().ok_or_else(|| Error::invalid("a | has nothing before or after it"))?;
    let mut arguments: Vec<String> = rest.iter().map(argument).collect::<Result<_>>()?;
    let had_before = before.is_some();
    arguments.extend(before);
    let Token::Word(function) = first else {
        if !arguments.is_empty() {
            let what = if had_before { "a value takes nothing from a |" } else { "a value is followed by something" };
            return Err(Error::invalid(format!("{what}; write {{{{ .Field | function arguments }}}}")));
        }
        return argument(first);
    };
    let number = |text: &String| {
        text.parse::<usize>().map_err(|_| Error::invalid(format!("{function}: {} must be a whole number", shown(text))))
    };
    match (function.as_str(), arguments.as_slice()) {
        ("field", [delimiter, index, text]) => {
            let index = number(index)?;
            text.split(delimiter.as_str())
                .nth(index)
                .map(str::to_owned)
                .ok_or_else(|| Error::invalid(format!("field: {} has no part {index}", shown(text))))
        }
        ("substring", [start, end, text]) => {
            let (start, end) = (number(start)?, number(end)?);
            text.get(start..end)
                .map(str::to_owned)
                .ok_or_else(|| Error::invalid(format!("substring: {} has no part from {start} to {end}", shown(text))))
        }
        ("toUpper", [text]) => Ok(text.to_uppercase()),
        ("toLower", [text]) => Ok(text.to_lowercase()),
        ("contains", [part, text]) => Ok(text.contains(part.as_str()).to_string()),
        ("field" | "substring" | "toUpper" | "toLower" | "contains", _) => {
            Err(Error::invalid(format!("{function} has the wrong number of arguments")))
        }
        _ => Err(Error::invalid(format!(
            "{} is not known in a tag; use .Field, \"text\", field, substring, toUpper, toLower or contains",
            shown(function)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known() -> Fields {
        fields(&BTreeMap::from([
            ("csi.storage.k8s.io/pvc/name".to_owned(), "ebs-claim".to_owned()),
            ("csi.storage.k8s.io/pvc/namespace".to_owned(), "ns-prod-abcdef".to_owned()),
        ]))
    }

    /// The examples of aws-ebs-csi-driver's docs/tagging.md come to what it says.
    #[test]
    fn templates_come_to_what_they_do_in_the_other_driver() {
        for (text, expected) in [
            ("hello world", "hello world"),
            ("{{ .PVCNamespace }}", "ns-prod-abcdef"),
            ("a-{{.PVCName}}-b", "a-ebs-claim-b"),
            (r#"{{ .PVCNamespace | contains "prod" }}"#, "true"),
            (r#"{{ .PVCNamespace | field "-" 2 | toUpper }}"#, "ABCDEF"),
            (r#"{{ substring 0 4 .PVCNamespace }}"#, "ns-p"),
            ("{{ \"X\" | toLower }}", "x"),
        ] {
            assert_eq!(fill(text, &known()).unwrap(), expected, "{text}");
        }
        for (text, word) in [
            ("{{ .PVName }}", "PVName"),
            ("{{ .PVCName", "without"),
            ("{{ if true }}x{{ end }}", "if"),
            ("{{ .PVCName | field \"-\" 9 }}", "part 9"),
            ("{{ substring 4 1 .PVCName }}", "from 4 to 1"),
            ("{{ }}", "|"),
            ("{{ .PVCName .PVCName }}", "followed"),
            ("{{ \"x }}", "does not end"),
        ] {
            let error = fill(text, &known()).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_tag_is_a_key_and_a_value_that_is_the_users() {
        let one = |text: &str| tags([(&"tagSpecification_1".to_owned(), &text.to_owned())], &known());
        assert_eq!(one("key3=").unwrap(), BTreeMap::from([("key3".to_owned(), String::new())]));
        assert_eq!(one("a=b=c").unwrap()["a"], "b=c");
        for text in ["novalue", "aws:a=b", "=x", "CSIVolumeName=x"] {
            assert!(one(text).unwrap_err().to_string().contains("tagSpecification_1"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_filled_or_refused(text in ".*") {
            let _ = fill(&text, &known());
            let _ = fill(&format!("{{{{{text}}}}}"), &known());
        }
    }
}
