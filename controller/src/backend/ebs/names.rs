//! Device names of attachments.
//!
//! A name must be free on its instance. EC2 says which are taken, and refuses one that was taken since; between the two, the calls of
//! this process keep out of each other's way by what is under way, and those of other controllers by beginning at different places.
//!
//! As nobody else gives such names, they also tell how many volumes an instance has besides those that it was started with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hawser_ebs::instance::Instance;

/// The names that are given, `/dev/xvdaa` to `/dev/xvddx`: EC2 takes them for every type of instance, and nobody else uses them
/// ("Device names for volumes on Amazon EC2 instances").
const FIRST: std::ops::RangeInclusive<u8> = b'a'..=b'd';
const SECOND: std::ops::RangeInclusive<u8> = b'a'..=b'x';

/// Names that are under way, by instance.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeMap<String, BTreeSet<String>>>);

/// A name that nobody else in this process asks for. Free again when it is dropped.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    names: &'a Names,
    instance: String,
    /// The name.
    pub(super) device: String,
}

/// Why there is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoName {
    /// The instance has so many volumes as it may have.
    Limit,
    /// All are taken.
    Taken,
}

impl Names {
    /// A name that is free on `instance` and not among `refused`; which one is decided by `volume`, as far as it is free. With those that
    /// are taken and under way there are at most `limit`, if there is one.
    pub(super) fn reserve(
        &self,
        instance: &Instance,
        volume: &str,
        refused: &BTreeSet<String>,
        limit: Option<u32>,
    ) -> Result<Reserved<'_>, NoName> {
        let all: Vec<String> = FIRST
            .flat_map(|first| SECOND.map(move |second| format!("/dev/xvd{}{}", char::from(first), char::from(second))))
            .collect();
        // The end of the id is as good as random.
        let tail = volume.get(volume.len().saturating_sub(8)..).unwrap_or_default();
        let begin = usize::try_from(u32::from_str_radix(tail, 16).unwrap_or_default()).unwrap_or_default() % all.len();
        let taken: BTreeSet<&str> = instance.taken.iter().map(|taken| taken.device.as_str()).collect();
        let mut under_way = self.under_way();
        let own = under_way.entry(instance.id.clone()).or_default();
        let is_used = |name: &&String| taken.contains(name.as_str()) || own.contains(*name);
        let used = all.iter().filter(is_used).count();
        if limit.is_some_and(|limit| u32::try_from(used).unwrap_or(u32::MAX) >= limit) {
            return Err(NoName::Limit);
        }
        let free = |name: &&String| !taken.contains(name.as_str()) && !own.contains(*name) && !refused.contains(*name);
        let device = all[begin..].iter().chain(&all[..begin]).find(free).cloned();
        match device {
            Some(device) => {
                own.insert(device.clone());
                Ok(Reserved { names: self, instance: instance.id.clone(), device })
            }
            None => Err(NoName::Taken),
        }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut under_way = self.names.under_way();
        if let Some(own) = under_way.get_mut(&self.instance) {
            own.remove(&self.device);
            if own.is_empty() {
                under_way.remove(&self.instance);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hawser_ebs::instance::{InstanceState, TakenName};

    use super::*;

    fn instance(taken: &[&str]) -> Instance {
        let taken = taken.iter().map(|device| TakenName { device: (*device).to_owned(), volume: "vol-1".to_owned() }).collect();
        let (instance_type, zone) = Default::default();
        Instance { id: "i-1".to_owned(), state: InstanceState::Running, instance_type, zone, taken, interfaces: 1 }
    }

    #[test]
    fn a_name_is_given_once_until_it_is_free_again() {
        let names = Names::default();
        let host = instance(&["/dev/xvda", "/dev/xvdab"]);
        let none = BTreeSet::new();
        let first = names.reserve(&host, "vol-0000000000000000", &none, None).unwrap();
        assert_eq!(first.device, "/dev/xvdaa");
        let second = names.reserve(&host, "vol-0000000000000000", &none, None).unwrap();
        assert_eq!(second.device, "/dev/xvdac", "aa is under way, ab is taken");
        let refused = BTreeSet::from(["/dev/xvdad".to_owned()]);
        assert_eq!(names.reserve(&host, "vol-0000000000000000", &refused, None).unwrap().device, "/dev/xvdae");
        drop(first);
        assert_eq!(names.reserve(&host, "vol-0000000000000000", &none, None).unwrap().device, "/dev/xvdaa");
        assert_eq!(
            names.reserve(&host, "vol-0000000000000001", &none, None).unwrap().device,
            "/dev/xvdad",
            "its own place is taken"
        );
    }

    #[test]
    fn every_name_is_given_before_there_is_none() {
        let names = Names::default();
        let host = instance(&[]);
        let given: Vec<Reserved<'_>> =
            (0..96).map(|_| names.reserve(&host, "vol-000000000000abcd", &BTreeSet::new(), None).unwrap()).collect();
        let different: BTreeSet<&str> = given.iter().map(|name| name.device.as_str()).collect();
        assert_eq!(different.len(), 96);
        assert_eq!(names.reserve(&host, "vol-1", &BTreeSet::new(), None).unwrap_err(), NoName::Taken);
    }

    #[test]
    fn a_limit_counts_what_is_taken_and_what_is_under_way_and_nothing_of_others() {
        let names = Names::default();
        let host = instance(&["/dev/xvda", "/dev/sdf", "/dev/xvdab"]);
        let reserve = |limit| names.reserve(&host, "vol-0", &BTreeSet::new(), Some(limit));
        assert_eq!(reserve(1).unwrap_err(), NoName::Limit);
        let own = reserve(2).unwrap();
        assert_eq!(reserve(2).unwrap_err(), NoName::Limit);
        // Listed by now, and still under way here: that is one.
        let listed = instance(&["/dev/xvdab", &own.device]);
        assert!(names.reserve(&listed, "vol-0", &BTreeSet::new(), Some(3)).is_ok());
        drop(own);
        assert!(reserve(2).is_ok());
    }
}
