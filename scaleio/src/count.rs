//! How often each action was sent, and what came of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::refusal::Class;

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was done, or answered.
    Done,
    /// It was not answered, or by a fault of the gateway.
    Failed,
    /// The token had run out.
    Expired,
    /// It was refused for another reason.
    Refused,
}

impl Outcome {
    /// The outcome of a refusal of this class.
    pub fn of(class: Class) -> Self {
        match class {
            Class::Transient | Class::Busy => Outcome::Failed,
            Class::Expired => Outcome::Expired,
            _ => Outcome::Refused,
        }
    }
}

/// Requests by action and outcome, each attempt one.
#[derive(Debug, Default)]
pub struct Counts(Mutex<BTreeMap<(&'static str, Outcome), u64>>);

impl Counts {
    /// Counts one request.
    pub fn add(&self, action: &'static str, outcome: Outcome) {
        *self.lock().entry((action, outcome)).or_default() += 1;
    }

    /// The counts now.
    pub fn read(&self) -> BTreeMap<(&'static str, Outcome), u64> {
        self.lock().clone()
    }

    /// How often `action` was sent.
    pub fn of(&self, action: &str) -> u64 {
        self.lock().iter().filter(|((known, _), _)| *known == action).map(|(_, count)| count).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, Outcome), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
