//! What a run of the suite has really done, so that it cannot pass by doing nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tonic::Code;

use super::operation::{Action, Disturbance, Node, Page};

/// Every verb, to be counted.
const VERBS: [&str; 20] = [
    "create",
    "create from a volume",
    "create from a snapshot",
    "delete",
    "attach",
    "detach",
    "stage",
    "unstage",
    "publish",
    "unpublish",
    "expand",
    "expand-here",
    "snapshot",
    "delete-snapshot",
    "validate",
    "get",
    "list",
    "list-snapshots",
    "write",
    "restart",
];

/// Every disturbance, to be counted.
const DISTURBANCES: [Disturbance; 12] = [
    Disturbance::None,
    Disturbance::Twice,
    Disturbance::TwiceByBoth,
    Disturbance::Cancelled(0),
    Disturbance::TimedOut(0),
    Disturbance::Killed(0),
    Disturbance::FailedAt(0),
    Disturbance::LostAt(0),
    Disturbance::CancelledAt(0),
    Disturbance::KilledAt(0),
    Disturbance::Beside(Node::A, Action::List { page: Page::All }),
    Disturbance::BesideAt(1, Node::A, Action::List { page: Page::All }),
];

/// The codes that a CO gets to see in a run. What is not among them is not permitted to be rare, but to be absent.
const CODES: [Code; 6] =
    [Code::Ok, Code::InvalidArgument, Code::NotFound, Code::AlreadyExists, Code::FailedPrecondition, Code::OutOfRange];

/// Numbers of a run.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    cases: u64,
    steps: u64,
    compared: u64,
    by_verb: BTreeMap<&'static str, Pair>,
    by_disturbance: BTreeMap<&'static str, Pair>,
    by_code: BTreeMap<i32, u64>,
}

/// How often something was done, and how often it had the effect that it is there for.
#[derive(Debug, Default, Clone, Copy)]
struct Pair {
    all: u64,
    effective: u64,
}

impl Pair {
    fn count(&mut self, effective: bool) {
        self.all += 1;
        self.effective += u64::from(effective);
    }
}

impl Tally {
    fn counts(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A case was played.
    pub fn case(&self) {
        self.counts(|counts| counts.cases += 1);
    }

    /// A step was played; `contents` patterns were compared after it.
    pub fn step(&self, contents: u64) {
        self.counts(|counts| {
            counts.steps += 1;
            counts.compared += contents;
        });
    }

    /// Something was tried.
    pub fn done(&self, action: &Action, succeeded: bool) {
        self.counts(|counts| counts.by_verb.entry(action.verb()).or_default().count(succeeded));
    }

    /// A call was disturbed; `struck` when the disturbance hit it while it ran.
    pub fn disturbance(&self, disturbance: Disturbance, struck: bool) {
        self.counts(|counts| counts.by_disturbance.entry(disturbance.name()).or_default().count(struck));
    }

    /// A call was answered.
    pub fn answer(&self, code: Code) {
        self.counts(|counts| *counts.by_code.entry(code.into()).or_default() += 1);
    }

    /// What a whole run must have done and this one has not.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        self.counts(|counts| {
            let never = |found: Option<&Pair>| found.is_none_or(|pair| pair.effective == 0);
            let verbs = VERBS.iter().filter(|verb| never(counts.by_verb.get(*verb)));
            missing.extend(verbs.map(|verb| format!("{verb:?} never succeeded")));
            let disturbances = DISTURBANCES.iter().filter(|one| never(counts.by_disturbance.get(one.name())));
            missing.extend(disturbances.map(|one| format!("no call was {}", one.name())));
            let codes = CODES.iter().filter(|code| !counts.by_code.contains_key(&i32::from(**code)));
            missing.extend(codes.map(|code| format!("no answer was {code:?}")));
            if counts.compared == 0 {
                missing.push("no content was compared".to_owned());
            }
        });
        missing
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = |map: &BTreeMap<&'static str, Pair>| {
            let words = map.iter().map(|(name, pair)| format!("{name} {}/{}", pair.effective, pair.all));
            words.collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "model: {} cases, {} steps, {} contents compared", counts.cases, counts.steps, counts.compared)?;
        writeln!(f, "  done/tried: {}", pairs(&counts.by_verb))?;
        writeln!(f, "  struck/sent: {}", pairs(&counts.by_disturbance))?;
        let codes = counts.by_code.iter().map(|(code, count)| format!("{:?} {count}", Code::from(*code)));
        write!(f, "  answers: {}", codes.collect::<Vec<_>>().join(", "))
    }
}
