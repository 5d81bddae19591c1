//! Whether a JSON value is a message of Mesos, by a table of its fields.
//!
//! Mesos has two readers. Its own (stout, protobuf.hpp `internal::parse`) looks up each key among the fields, drops what it does not
//! know without a word, and drops words that an optional enumeration does not know. The module for profiles uses protobuf's own
//! (`JsonStringToMessage` with `ignore_unknown_fields`, disk_profile_utils.cpp), which also takes `camelCase`. What they drop is a
//! mistake here: whoever wrote it meant something by it.

use hawser_volume::error::shown;

use crate::declare::json::{Node, Object};
use crate::declare::nearest::nearest;
use crate::finding::Findings;

/// A message of Mesos.
#[derive(Debug)]
pub(super) struct Message {
    pub name: &'static str,
    pub fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    name: &'static str,
    count: Count,
    holds: Holds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Required,
    Optional,
    Repeated,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holds {
    Text,
    Boolean,
    Number,
    Whole,
    Choice(&'static [&'static str]),
    Message(&'static Message),
    /// A map from texts to texts.
    Texts,
    /// A map from texts to messages.
    Messages(&'static Message),
    /// What has no bearing on storage, and is not looked into.
    Anything,
}

pub(super) const fn required(name: &'static str, holds: Holds) -> Field {
    Field { name, count: Count::Required, holds }
}

pub(super) const fn optional(name: &'static str, holds: Holds) -> Field {
    Field { name, count: Count::Optional, holds }
}

pub(super) const fn repeated(name: &'static str, holds: Holds) -> Field {
    Field { name, count: Count::Repeated, holds }
}

/// Who reads a file, and what happens when it cannot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// What comes of a file that it refuses, as the end of a sentence.
    pub refused: &'static str,
    /// Whether it is protobuf's own reader.
    pub protobuf: bool,
}

impl Field {
    fn is_called(&self, key: &str, reader: Reader) -> bool {
        self.name == key || reader.protobuf && camel(self.name) == key
    }
}

/// `volumeCapabilities` for `volume_capabilities`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

/// The member `key` of a message that was checked, whatever the reader lets it be called.
pub(super) fn member<'o, 'd>(object: &'o Object<'d>, key: &str) -> Option<&'o Node<'d>> {
    object.get(key).or_else(|| object.get(&camel(key)))
}

/// The elements of a repeated field of a message that was checked. Mesos takes a single value for a list of one.
pub(super) fn elements<'d>(object: &Object<'d>, key: &str) -> Vec<Node<'d>> {
    let Some(node) = member(object, key) else { return Vec::new() };
    if node.is_array() {
        return node.array(&mut Findings::default()).iter().flat_map(|list| list.iter()).collect();
    }
    vec![node.clone()]
}

/// The text `key` of a message that was checked.
pub(super) fn text(object: &Object<'_>, key: &str) -> Option<String> {
    member(object, key)?.text(&mut Findings::default())
}

/// The message in a value that was checked.
pub(super) fn object<'d>(node: &Node<'d>) -> Option<Object<'d>> {
    node.object(&mut Findings::default())
}

impl Message {
    /// The value as this message, with everything told that Mesos would refuse or drop; nothing when it is no object.
    pub fn check<'d>(&self, node: &Node<'d>, reader: Reader, findings: &mut Findings) -> Option<Object<'d>> {
        let object = reader.hear(findings, |findings| node.object(findings))?;
        for (key, value) in object.members() {
            match self.fields.iter().find(|field| field.is_called(key, reader)) {
                _ if value.is_null() => {}
                Some(field) => field.check(value, reader, findings),
                None => {
                    let near = nearest(key, self.fields.iter().map(|field| field.name));
                    let hint = near.map_or_else(|| "take it out".to_owned(), |near| format!("did you mean {near}?"));
                    let text = format!("is no field of {}, and Mesos drops it without a word; {hint}", self.name);
                    findings.mistake(&value.place(), text);
                }
            }
        }
        for field in self.fields.iter().filter(|field| field.count == Count::Required) {
            reader.hear(findings, |findings| object.required(field.name, findings).is_some().then_some(()));
        }
        Some(object)
    }
}

impl Reader {
    /// Adds to the mistakes of `read` what comes of them.
    fn hear<T>(self, findings: &mut Findings, read: impl FnOnce(&mut Findings) -> Option<T>) -> Option<T> {
        let mut heard = Findings::default();
        let value = read(&mut heard);
        for mistake in heard.mistakes {
            let twice = mistake.text.starts_with("is given twice");
            let text = if twice { mistake.text } else { format!("{}: {}", mistake.text, self.refused) };
            findings.mistake(&mistake.place, text);
        }
        value
    }
}

impl Field {
    fn check(&self, node: &Node<'_>, reader: Reader, findings: &mut Findings) {
        if self.count != Count::Repeated {
            return self.check_one(node, reader, findings);
        }
        if node.is_array() {
            let list = node.array(findings);
            for element in list.iter().flat_map(|list| list.iter()) {
                self.check_one(&element, reader, findings);
            }
        } else if reader.protobuf {
            reader.hear(findings, |findings| node.array(findings).map(|_| ()));
        } else {
            // protobuf.hpp: a value that is no array is added to a repeated field.
            findings.warn(&node.place(), "is taken for a list of one; write a list");
            self.check_one(node, reader, findings);
        }
    }

    fn check_one(&self, node: &Node<'_>, reader: Reader, findings: &mut Findings) {
        match self.holds {
            Holds::Anything => {}
            Holds::Text => drop(reader.hear(findings, |findings| node.text(findings))),
            Holds::Message(message) => drop(message.check(node, reader, findings)),
            Holds::Boolean => drop(reader.hear(findings, |findings| match quoted(node).as_deref() {
                Some("true" | "false") => Some(true),
                _ => node.boolean(findings),
            })),
            Holds::Number | Holds::Whole => drop(number(node, matches!(self.holds, Holds::Whole), reader, findings)),
            Holds::Choice(words) => self.check_choice(node, words, reader, findings),
            Holds::Texts => {
                for (_, value) in map(node, reader, findings) {
                    reader.hear(findings, |findings| value.text(findings));
                }
            }
            Holds::Messages(message) => {
                for (_, value) in map(node, reader, findings) {
                    message.check(&value, reader, findings);
                }
            }
        }
    }

    fn check_choice(&self, node: &Node<'_>, words: &[&str], reader: Reader, findings: &mut Findings) {
        let Some(word) = reader.hear(findings, |findings| node.text(findings)) else { return };
        if words.contains(&word.as_str()) {
            return;
        }
        let comes = if self.count == Count::Required || reader.protobuf {
            reader.refused
        } else {
            "Mesos drops the word silently, as if nothing stood here"
        };
        let near = nearest(&word, words.iter().copied()).map(|near| format!("did you mean {near}?"));
        let mend = near.unwrap_or_else(|| format!("write one of {}", words.join(", ")));
        findings.mistake(&node.place(), format!("{} is not known: {comes}; {mend}", shown(&word)));
    }
}

/// Both readers take numbers and booleans also in quotes.
fn quoted(node: &Node<'_>) -> Option<String> {
    node.text(&mut Findings::default())
}

/// The number in a value, or a mistake.
pub(super) fn number(node: &Node<'_>, whole: bool, reader: Reader, findings: &mut Findings) -> Option<f64> {
    let digits = match quoted(node) {
        Some(text) => text,
        None => reader.hear(findings, |findings| node.number(findings))?.to_owned(),
    };
    let read = digits.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    match read {
        None => findings.mistake(&node.place(), format!("{} is no finite number: {}", shown(&digits), reader.refused)),
        Some(number) if whole && (number.fract() != 0.0 || number < 0.0) => {
            findings.mistake(&node.place(), format!("must be a whole number, not negative, and is {}", shown(&digits)));
        }
        Some(_) => {}
    }
    read
}

fn map<'d>(node: &Node<'d>, reader: Reader, findings: &mut Findings) -> Vec<(String, Node<'d>)> {
    let object = reader.hear(findings, |findings| node.object(findings));
    let members = object.iter().flat_map(|object| object.members());
    members.map(|(key, value)| (key.to_owned(), value.clone())).collect()
}
