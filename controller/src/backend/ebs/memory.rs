//! What was seen to be gone for good, and since when something has been seen. It saves waiting, and tells the age of what EC2 gives no time
//! for; without it the same is found out again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hawser_ebs::volume::{Attachment, AttachmentState};

/// Most entries of each kind. All are forgotten when there are more: they are old then.
const MOST: usize = 10_000;

/// Facts that cannot become false: EC2 gives no id twice, and a token stays with its volume.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    gone: HashSet<String>,
    burnt: HashMap<String, u32>,
    /// The volume of the token of a name that was used last.
    tokens: HashMap<String, (u32, String)>,
    /// When an attachment was first seen to be ending.
    ending: HashMap<Ending, Instant>,
}

/// An attachment: volume, instance, and when it began, which tells it from others of the two. One that ends is never whole again.
type Ending = (String, String, Option<SystemTime>);

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

    /// The token of a name with this number is the volume's.
    pub(super) fn belongs(&self, named: &str, number: u32, id: &str) {
        let mut facts = self.facts();
        if facts.tokens.len() >= MOST {
            facts.tokens.clear();
        }
        facts.tokens.insert(named.to_owned(), (number, id.to_owned()));
    }

    /// Whether the token of a name with this number is known to be that of a volume that has gone.
    pub(super) fn is_spent(&self, named: &str, number: u32) -> bool {
        let facts = self.facts();
        facts.tokens.get(named).is_some_and(|(of, id)| *of == number && facts.gone.contains(id))
    }

    /// For how long an attachment has been seen to be ending, by this process; nothing when it is not. EC2 tells only when it began.
    pub(super) fn ending(&self, attachment: &Attachment) -> Option<Duration> {
        let mut facts = self.facts();
        if !matches!(attachment.state, AttachmentState::Detaching | AttachmentState::Busy) {
            return None;
        }
        if facts.ending.len() >= MOST {
            facts.ending.clear();
        }
        let key = (attachment.volume.clone(), attachment.instance.clone(), attachment.since);
        Some(facts.ending.entry(key).or_insert_with(Instant::now).elapsed())
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(state: &str, began: u64) -> Attachment {
        let (volume, instance, device) = ("vol-1".to_owned(), "i-1".to_owned(), "/dev/xvdaa".to_owned());
        let since = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(began));
        Attachment { volume, instance, device, state: state.to_owned().into(), since }
    }

    #[test]
    fn an_attachment_that_ends_has_an_age_and_another_one_has_its_own() {
        let memory = Memory::default();
        assert_eq!(memory.ending(&attachment("attached", 1)), None);
        let first = memory.ending(&attachment("detaching", 1)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let second = memory.ending(&attachment("busy", 1)).unwrap();
        assert!(second >= first + Duration::from_millis(20), "{first:?} {second:?}");
        assert!(memory.ending(&attachment("detaching", 2)).unwrap() < second, "another attachment of the same two");
    }

    #[test]
    fn a_token_is_spent_when_its_volume_has_gone() {
        let memory = Memory::default();
        memory.belongs("name", 0, "vol-1");
        assert!(!memory.is_spent("name", 0));
        memory.is_gone("vol-1");
        assert!(memory.is_spent("name", 0) && !memory.is_spent("name", 1) && !memory.is_spent("other", 0));
    }
}
