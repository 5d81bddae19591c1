//! What was seen to be gone for good. It saves waiting; without it the same is found out again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most entries of each kind. All are forgotten when there are more: they are old then.
const MOST: usize = 10_000;

/// Facts that cannot become false: EC2 gives no id twice, and a token stays with its volume.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    gone: HashSet<String>,
    burnt: HashMap<String, u32>,
}

impl Memory {
    /// A volume has gone.
    pub(super) fn is_gone(&self, id: &str) {
        let mut facts = self.facts();
        if facts.gone.len() >= MOST {
            facts.gone.clear();
        }
        facts.gone.insert(id.to_owned());
    }

    /// Whether a volume is known to have gone.
    pub(super) fn has_gone(&self, id: &str) -> bool {
        self.facts().gone.contains(id)
    }

    /// The tokens of a name before this number are of volumes that have gone.
    pub(super) fn burn(&self, named: &str, before: u32) {
        let mut facts = self.facts();
        if facts.burnt.len() >= MOST {
            facts.burnt.clear();
        }
        facts.burnt.insert(named.to_owned(), before);
    }

    /// The first token of a name that may be good.
    pub(super) fn first_token(&self, named: &str) -> u32 {
        self.facts().burnt.get(named).copied().unwrap_or_default()
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
