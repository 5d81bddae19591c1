//! What failed lately, for people who ask why. Memory of the process, and bounded.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Key, lock};
use crate::error::{Error, Kind};
use crate::id::STRING_MAX;
use crate::status;

/// How many failures are kept.
const KEPT: usize = 1000;

/// How many objects of a failure are kept. Only group snapshots have more than two.
const KEYS: usize = 32;

/// The last failure of a method on some objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The method.
    pub method: &'static str,
    /// What it was to change.
    pub keys: Vec<Key>,
    /// What came of it.
    pub kind: Kind,
    /// As the caller was told.
    pub message: String,
    /// When it failed for the first time since it last succeeded.
    pub first: Instant,
    /// When it failed for the last time.
    pub last: Instant,
    /// How often since the first time.
    pub times: u64,
    /// What has succeeded since, and when: the method itself, or one after which nobody wants it any more.
    pub overcome: Option<(&'static str, Instant)>,
}

/// The failures of one queue. Cheap to clone; the clones share them.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    /// The newest last.
    kept: Arc<Mutex<VecDeque<Failure>>>,
}

/// Whether nobody who succeeds in `method` on an object wants `failed` on it any more.
fn undoes(method: &str, failed: &str) -> bool {
    match method {
        "DeleteVolume" => true,
        "ControllerUnpublishVolume" => failed == "ControllerPublishVolume",
        "NodeUnstageVolume" => matches!(failed, "NodeStageVolume" | "NodePublishVolume" | "NodeUnpublishVolume"),
        "NodeUnpublishVolume" => failed == "NodePublishVolume",
        "unmount" | "remove" => failed == "mount",
        "unstage" => failed == "stage",
        "unpublish" => failed == "publish",
        _ => false,
    }
}

/// One is about the same as the other.
fn same(ones: &[Key], others: &BTreeSet<Key>) -> bool {
    ones.len() == others.len().min(KEYS) && ones.iter().zip(others).all(|(one, other)| one.may_be(other))
}

impl Failures {
    /// All that are kept, the newest first.
    pub fn newest(&self) -> Vec<Failure> {
        lock(&self.kept).iter().rev().cloned().collect()
    }

    /// Notes that a call was refused before it was put in line. An error that came out of the queue is on record already.
    pub fn refused(&self, keys: impl IntoIterator<Item = Key>, method: &'static str, error: &Error) {
        // What is longer is the name of nothing; it would only fill the memory.
        let keys: BTreeSet<Key> = keys.into_iter().filter(|key| (1..=STRING_MAX).contains(&key.name().len())).collect();
        if !error.is_on_record() && !keys.is_empty() {
            self.note(&keys, method, Some(error));
        }
    }

    /// Notes what came of a call.
    pub(super) fn note(&self, keys: &BTreeSet<Key>, method: &'static str, error: Option<&Error>) {
        let mut kept = lock(&self.kept);
        let now = Instant::now();
        match error {
            None => {
                let overcome = |failure: &Failure| {
                    (failure.method == method && same(&failure.keys, keys))
                        || (undoes(method, failure.method) && failure.keys.iter().any(|key| keys.contains(key)))
                };
                for failure in kept.iter_mut().filter(|failure| failure.overcome.is_none() && overcome(failure)) {
                    failure.overcome = Some((method, now));
                }
            }
            Some(error) => {
                let before = kept.iter().position(|failure| failure.method == method && same(&failure.keys, keys));
                let before = before.and_then(|at| kept.remove(at)).filter(|failure| failure.overcome.is_none());
                if kept.len() >= KEPT {
                    let oldest = kept.iter().position(|failure| failure.overcome.is_some()).unwrap_or(0);
                    kept.remove(oldest);
                }
                kept.push_back(Failure {
                    method,
                    keys: keys.iter().take(KEYS).cloned().collect(),
                    kind: error.kind(),
                    message: status::message(error),
                    first: before.as_ref().map_or(now, |failure| failure.first),
                    last: now,
                    times: before.map_or(1, |failure| failure.times + 1),
                    overcome: None,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(id: &str) -> BTreeSet<Key> {
        [Key::new("volume", id)].into()
    }

    fn told(failures: &Failures) -> Vec<(&'static str, String, u64, Option<&'static str>)> {
        let told = |f: Failure| (f.method, f.keys[0].name().to_owned(), f.times, f.overcome.map(|(method, _)| method));
        failures.newest().into_iter().map(told).collect()
    }

    #[test]
    fn a_success_overcomes_its_own_failure_and_those_of_what_it_undoes() {
        let failures = Failures::default();
        let error = Error::unavailable("away");
        for (id, method) in
            [("a", "NodeStageVolume"), ("a", "NodeStageVolume"), ("a", "NodeExpandVolume"), ("b", "NodeStageVolume")]
        {
            failures.note(&volume(id), method, Some(&error));
        }
        failures.note(&volume("a"), "NodeUnstageVolume", None);
        failures.note(&volume("b"), "NodeStageVolume", None);
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(
            told(&failures),
            [
                ("NodeStageVolume", b.clone(), 1, Some("NodeStageVolume")),
                ("NodeExpandVolume", a.clone(), 1, None),
                ("NodeStageVolume", a.clone(), 2, Some("NodeUnstageVolume")),
            ]
        );
        failures.note(&volume("b"), "NodeStageVolume", Some(&error));
        assert_eq!(told(&failures)[0], ("NodeStageVolume", b, 1, None), "it is counted anew after a success");
        failures.note(&volume("a"), "DeleteVolume", None);
        assert_eq!(told(&failures)[1], ("NodeExpandVolume", a, 1, Some("DeleteVolume")));
    }

    #[test]
    fn a_name_that_was_refused_before_its_backend_was_known_is_the_same_name() {
        let failures = Failures::default();
        failures.refused([Key::new("name", "pvc-1")], "CreateVolume", &Error::invalid("parameters"));
        failures.note(&[Key::within("name", "local", "pvc-2")].into(), "CreateVolume", None);
        assert_eq!(told(&failures)[0].3, None);
        failures.note(&[Key::within("name", "local", "pvc-1")].into(), "CreateVolume", None);
        assert_eq!(told(&failures)[0].3, Some("CreateVolume"));
    }

    #[test]
    fn memory_is_bounded_and_what_still_stands_is_kept_longest() {
        let failures = Failures::default();
        let error = Error::unavailable("x".repeat(1 << 20));
        failures.note(&volume("first"), "CreateVolume", Some(&error));
        failures.note(&volume("second"), "CreateVolume", Some(&error));
        failures.note(&volume("second"), "CreateVolume", None);
        for number in 2..=KEPT {
            failures.note(&volume(&number.to_string()), "CreateVolume", Some(&error));
        }
        let kept = failures.newest();
        assert_eq!(kept.len(), KEPT);
        assert!(kept.iter().all(|failure| failure.message.len() <= 1024));
        assert_eq!(kept[KEPT - 1].keys[0].name(), "first");
        assert!(kept.iter().all(|failure| failure.overcome.is_none()));
        failures.refused([Key::new("volume", "y".repeat(129)), Key::new("volume", "")], "CreateVolume", &error);
        assert_eq!(failures.newest(), kept);
        failures.note(&volume("last"), "CreateVolume", Some(&error));
        assert_eq!((failures.newest().len(), failures.newest()[KEPT - 1].keys[0].name().to_owned()), (KEPT, "2".to_owned()));
    }
}
