//! When a backend is in trouble.

use std::time::{Duration, SystemTime};

use hawser_volume::Kind;

use super::calls::Outcome;

/// What is wrong with a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: SystemTime,
    /// When it was seen last.
    pub seen: SystemTime,
    /// The method of the seam that failed last.
    pub operation: &'static str,
    /// What it said.
    pub error: String,
    /// How many calls have failed since.
    pub failures: u64,
}

impl Trouble {
    /// Another failure: trouble begins, or goes on.
    pub(super) fn go_on(trouble: &mut Option<Self>, operation: &'static str, error: String) {
        let seen = SystemTime::now();
        let (since, failures) = trouble.as_ref().filter(|old| old.stands()).map_or((seen, 0), |old| (old.since, old.failures));
        *trouble = Some(Self { since, seen, operation, error, failures: failures + 1 });
    }

    /// Whether it was confirmed lately.
    pub(super) fn stands(&self) -> bool {
        self.seen.elapsed().is_ok_and(|age| age <= UNCONFIRMED_MAX)
    }
}

/// How long trouble stands that no other failure has confirmed: nothing may have been asked since.
pub(super) const UNCONFIRMED_MAX: Duration = Duration::from_secs(900);

/// Questions that a backend answers without its storage system, for most of the types: an answer says nothing.
const LOCAL: [&str; 4] = ["answers", "check", "host_state", "is_shared_here"];

/// Questions about the whole backend: what they fail for is wrong with all of it.
const WHOLE: [&str; 5] = ["answers", "capacity", "list", "list_snapshots", "register"];

/// What the end of a call says of its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Answers,
    /// It does not, and someone must look after it.
    Trouble,
    /// Neither.
    Nothing,
}

/// What the end of an `operation` says of the backend, whose trouble it is that `failed` did not work. A refusal of one object is an
/// answer; a refusal of the request may have been given without asking the storage system anything.
pub(super) fn verdict(operation: &str, outcome: Outcome, failed: Option<&str>) -> Verdict {
    let Outcome::Failed(kind) = outcome else {
        // What did not work does.
        let tells = !LOCAL.contains(&operation) || failed == Some(operation);
        return if outcome == Outcome::Done && tells { Verdict::Answers } else { Verdict::Nothing };
    };
    match kind {
        // No kernel module, no such pool, two systems where one was expected.
        Kind::NotFound | Kind::Precondition if WHOLE.contains(&operation) => Verdict::Trouble,
        Kind::NotFound | Kind::AlreadyExists | Kind::Exhausted => Verdict::Answers,
        Kind::Unavailable | Kind::DeadlineExceeded | Kind::PermissionDenied | Kind::Unauthenticated | Kind::Internal => {
            Verdict::Trouble
        }
        Kind::Precondition | Kind::OutOfRange | Kind::Invalid | Kind::BadToken | Kind::Unsupported => Verdict::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_one_object_is_no_trouble_and_one_of_the_whole_is() {
        let of = |operation, kind| verdict(operation, Outcome::Failed(kind), None);
        for operation in ["create", "attach", "delete"] {
            assert_eq!(of(operation, Kind::NotFound), Verdict::Answers);
            assert_eq!(of(operation, Kind::Precondition), Verdict::Nothing);
            assert_eq!(of(operation, Kind::Unavailable), Verdict::Trouble);
        }
        for kind in [Kind::NotFound, Kind::Precondition, Kind::Unauthenticated] {
            assert_eq!(of("list", kind), Verdict::Trouble);
        }
        assert_eq!(of("list", Kind::BadToken), Verdict::Nothing);
        assert_eq!(verdict("list", Outcome::Abandoned, None), Verdict::Nothing);
    }
}
