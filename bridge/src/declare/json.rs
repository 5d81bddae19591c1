//! JSON that remembers where each value stands.
//!
//! Nothing is read that nobody asks for: a [`Node`] is the raw text of a value and its path, and becomes a member list, a text or
//! a number on demand. So numbers keep every digit, members that are given twice are seen, and the depth of a hostile file costs
//! nothing. serde_json checks the syntax of the whole file first, without recursion.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use hawser_volume::error::shown;

use super::nearest::nearest;
use crate::finding::{Findings, Place};

/// A file.
#[derive(Debug)]
pub(crate) struct Document<'d> {
    text: &'d str,
    /// Where each line but the first begins.
    lines: Vec<usize>,
}

/// A value in a file.
#[derive(Debug, Clone)]
pub(crate) struct Node<'d> {
    document: &'d Document<'d>,
    raw: &'d str,
    path: String,
}

/// A value with members.
#[derive(Debug)]
pub(crate) struct Object<'d> {
    /// The value itself.
    pub node: Node<'d>,
    /// In the order of the file; each key once.
    members: Vec<(String, Node<'d>)>,
}

/// The elements of a list, made one by one: a list may have a million of them.
#[derive(Debug)]
pub(crate) struct Array<'d> {
    node: Node<'d>,
    elements: Vec<&'d RawValue>,
}

impl<'d> Document<'d> {
    pub fn new(text: &'d str) -> Self {
        Self { text, lines: text.match_indices('\n').map(|(at, _)| at + 1).collect() }
    }

    /// The whole file as a value, or a mistake with the line at which it ceases to be JSON.
    pub fn root(&'d self, findings: &mut Findings) -> Option<Node<'d>> {
        match serde_json::from_str::<&RawValue>(self.text) {
            Ok(raw) => Some(Node { document: self, raw: raw.get(), path: "$".to_owned() }),
            Err(error) => {
                let place = Place { path: "$".to_owned(), line: Some(error.line()) };
                findings.mistake(&place, format!("is not JSON: {error}"));
                None
            }
        }
    }
}

impl<'d> Node<'d> {
    pub fn place(&self) -> Place {
        // Both texts are parts of the document, one within the other.
        let at = self.raw.as_ptr().addr() - self.document.text.as_ptr().addr();
        Place { path: self.path.clone(), line: Some(self.document.lines.partition_point(|begin| *begin <= at) + 1) }
    }

    pub fn is_null(&self) -> bool {
        self.raw == "null"
    }

    pub fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    pub fn is_array(&self) -> bool {
        self.raw.starts_with('[')
    }

    /// What it is, for messages.
    fn kind(&self) -> &'static str {
        match self.raw.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'"') => "text",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    fn unexpected(&self, wanted: &str, findings: &mut Findings) {
        findings.mistake(&self.place(), format!("must be {wanted}, and is {}", self.kind()));
    }

    pub fn object(&self, findings: &mut Findings) -> Option<Object<'d>> {
        if !self.is_object() {
            self.unexpected("an object", findings);
            return None;
        }
        let raw: Members = serde_json::from_str(self.raw).map_err(|error| self.unreadable(&error, findings)).ok()?;
        let mut seen = BTreeSet::new();
        let mut members = Vec::with_capacity(raw.0.len());
        for (key, value) in raw.0 {
            let node = Node { document: self.document, raw: value.get(), path: self.place_of_member(&key) };
            if seen.insert(key.clone()) {
                members.push((key, node));
            } else {
                findings.mistake(&node.place(), "is given twice; Marathon and Mesos keep one of them without a word");
            }
        }
        Some(Object { node: self.clone(), members })
    }

    fn place_of_member(&self, key: &str) -> String {
        Place::named(self.path.as_str()).member(key).path
    }

    pub fn array(&self, findings: &mut Findings) -> Option<Array<'d>> {
        if !self.is_array() {
            self.unexpected("a list", findings);
            return None;
        }
        let elements = serde_json::from_str(self.raw).map_err(|error| self.unreadable(&error, findings)).ok()?;
        Some(Array { node: self.clone(), elements })
    }

    pub fn text(&self, findings: &mut Findings) -> Option<String> {
        if !self.raw.starts_with('"') {
            let quoted = matches!(self.kind(), "a number" | "a boolean") && self.raw.len() < 40;
            let wanted = if quoted { format!("text (write it as \"{}\")", self.raw) } else { "text".to_owned() };
            self.unexpected(&wanted, findings);
            return None;
        }
        serde_json::from_str(self.raw).map_err(|error| self.unreadable(&error, findings)).ok()
    }

    pub fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        match self.raw {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.unexpected("true or false, without quotes", findings);
                None
            }
        }
    }

    /// The digits of a number, as they are written.
    pub fn number(&self, findings: &mut Findings) -> Option<&'d str> {
        if self.kind() != "a number" {
            self.unexpected("a number, without quotes", findings);
            return None;
        }
        Some(self.raw)
    }

    /// A whole number of 32 bits, not negative.
    pub fn count(&self, findings: &mut Findings) -> Option<u32> {
        let digits = self.number(findings)?;
        let read = digits.parse().ok();
        if read.is_none() {
            findings.mistake(&self.place(), format!("must be a whole number from 0 to {}, and is {}", u32::MAX, shown(digits)));
        }
        read
    }

    /// A number from 0 to 1.
    pub fn share(&self, findings: &mut Findings) -> Option<f64> {
        let digits = self.number(findings)?;
        let read = digits.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        if read.is_none() {
            findings.mistake(&self.place(), format!("must be from 0 to 1, and is {}", shown(digits)));
        }
        read
    }

    /// Valid JSON by its grammar that is no value all the same, as half of a surrogate pair.
    fn unreadable(&self, error: &serde_json::Error, findings: &mut Findings) {
        findings.mistake(&self.place(), format!("cannot be read: {error}"));
    }
}

impl<'d> Object<'d> {
    /// The member `key`; null is as good as none, to Marathon and to Mesos.
    pub fn get(&self, key: &str) -> Option<&Node<'d>> {
        self.members.iter().find(|(known, _)| known == key).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The member `key`, or a mistake.
    pub fn required(&self, key: &str, findings: &mut Findings) -> Option<&Node<'d>> {
        let found = self.get(key);
        if found.is_none() {
            let hint =
                self.similar(key).map(|other| format!("; {} is there, which is not read", shown(other))).unwrap_or_default();
            findings.mistake(&self.node.place().member(key), format!("is required{hint}"));
        }
        found
    }

    fn similar(&self, key: &str) -> Option<&str> {
        nearest(key, self.members.iter().map(|(key, _)| key.as_str()))
    }

    /// Warns of members that `reader` leaves out without a word.
    pub fn warn_of_others(&self, known: &[&str], reader: &str, findings: &mut Findings) {
        for (key, node) in &self.members {
            if !known.contains(&key.as_str()) {
                let hint = nearest(key, known.iter().copied()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                findings.warn(&node.place(), format!("is not a field that {reader} knows, so it has no effect{hint}"));
            }
        }
    }

    pub fn members(&self) -> impl Iterator<Item = (&str, &Node<'d>)> {
        self.members.iter().map(|(key, node)| (key.as_str(), node))
    }
}

impl<'d> Array<'d> {
    pub fn iter(&self) -> impl Iterator<Item = Node<'d>> + '_ {
        self.elements.iter().enumerate().map(|(index, raw)| Node {
            document: self.node.document,
            raw: raw.get(),
            path: format!("{}[{index}]", self.node.path),
        })
    }
}

/// The members of an object in their order, also those that are given twice.
struct Members<'d>(Vec<(String, &'d RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_root<T>(text: &str, read: impl FnOnce(&Node<'_>, &mut Findings) -> T) -> (T, Findings) {
        let mut findings = Findings::default();
        let document = Document::new(text);
        let root = document.root(&mut findings).unwrap();
        let value = read(&root, &mut findings);
        (value, findings)
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "{\n \"a\": [1,\n  2],\n \"b/c\": {\"d\":\n\"e\"}}\n";
        with_root(text, |root, findings| {
            let root = root.object(findings).unwrap();
            let place = |node: &Node<'_>| node.place().to_string();
            assert_eq!(place(&root.node), "$ (line 1)");
            let list = root.get("a").unwrap().array(findings).unwrap();
            assert_eq!(list.iter().map(|node| place(&node)).collect::<Vec<_>>(), ["$.a[0] (line 2)", "$.a[1] (line 3)"]);
            let inner = root.get("b/c").unwrap().object(findings).unwrap();
            assert_eq!(place(inner.get("d").unwrap()), "$['b/c'].d (line 5)");
        });
    }

    #[test]
    fn a_member_that_is_given_twice_is_a_mistake_and_the_first_is_read() {
        let (value, findings) = with_root("{\"a\": 1,\n \"a\": 2}", |root, findings| {
            root.object(findings).unwrap().get("a").unwrap().count(findings)
        });
        assert_eq!(value, Some(1));
        assert_eq!(findings.mistakes[0].place.to_string(), "$.a (line 2)");
    }

    #[test]
    fn a_wrong_kind_is_told_with_what_is_there() {
        for (text, wanted, is) in
            [("5", "write it as \"5\"", "a number"), ("[]", "text", "a list"), ("true", "\"true\"", "a boolean")]
        {
            let (value, findings) = with_root(text, |root, findings| root.text(findings));
            assert_eq!(value, None);
            let said = findings.mistakes[0].to_string();
            assert!(said.contains(wanted) && said.contains(is), "{said}");
        }
        for number in ["-1", "1.0", "1e3", "4294967296", "99999999999999999999999999"] {
            assert_eq!(with_root(number, |root, findings| root.count(findings)).0, None, "{number}");
        }
        assert_eq!(with_root("0.50", |root, findings| root.share(findings)).0, Some(0.5));
        assert_eq!(with_root("1.01", |root, findings| root.share(findings)).0, None);
    }

    #[test]
    fn half_a_surrogate_pair_is_a_mistake_at_its_place() {
        let (value, findings) =
            with_root("{\"a\": \"\\ud800\"}", |root, findings| root.object(findings).unwrap().get("a").unwrap().text(findings));
        assert_eq!(value, None);
        assert_eq!(findings.mistakes[0].place.path, "$.a");
    }

    #[test]
    fn depth_costs_no_stack() {
        let text = "[".repeat(1 << 20) + &"]".repeat(1 << 20);
        with_root(&text, |root, findings| assert_eq!(root.array(findings).unwrap().iter().count(), 1));
        let mut findings = Findings::default();
        assert!(Document::new(&"{\"a\":".repeat(1 << 20)).root(&mut findings).is_none());
        assert_eq!(findings.mistakes.len(), 1);
    }
}
