//! What an examination found, step by step, in words for people.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

/// One step, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub step: String,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What a step found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Finding {
    /// It is as it should be.
    Well {
        /// What there is.
        found: String,
    },
    /// It works, and should not be so.
    Doubtful {
        /// What is not as it should be.
        why: String,
        /// What to do about it.
        mend: String,
    },
    /// It does not work.
    Wrong {
        /// Why.
        why: String,
        /// What to do about it.
        mend: String,
    },
}

impl Check {
    /// A step that found `found`.
    pub fn well(step: impl Into<String>, found: impl Into<String>) -> Self {
        Self { step: step.into(), finding: Finding::Well { found: found.into() } }
    }

    /// A step that found what works and should not be so.
    pub fn doubtful(step: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { step: step.into(), finding: Finding::Doubtful { why: why.into(), mend: mend.into() } }
    }

    /// A step that failed.
    pub fn wrong(step: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { step: step.into(), finding: Finding::Wrong { why: why.into(), mend: mend.into() } }
    }

    /// Whether the step failed.
    pub fn is_wrong(&self) -> bool {
        matches!(self.finding, Finding::Wrong { .. })
    }
}

/// By how much clocks may differ without anybody noticing.
const SKEW_SMALL: Duration = Duration::from_secs(30);

/// By how much they may differ before signed requests are refused (Signature Version 4 allows five minutes).
const SKEW_MAX: Duration = Duration::from_secs(300);

/// Compares this machine's clock with the header `Date` of an answer of `whom` that came at `now`. Nothing without such a header.
pub fn clock(whom: &str, date: Option<&str>, now: SystemTime) -> Option<Check> {
    let told = httpdate::parse_http_date(date?).ok()?;
    let (apart, is_fast) = match now.duration_since(told) {
        Ok(apart) => (apart, true),
        Err(error) => (error.duration(), false),
    };
    let step = format!("the clock, compared with {whom}");
    if apart <= SKEW_SMALL {
        return Some(Check::well(step, "is the same"));
    }
    let way = if is_fast { "fast" } else { "slow" };
    let why = format!("this machine's clock is {} s {way}", apart.as_secs());
    let mend = "set the clock, and have it kept right: `timedatectl set-ntp true`, or chrony";
    Some(if apart <= SKEW_MAX {
        Check::doubtful(step, why, mend)
    } else {
        Check::wrong(step, format!("{why}, and requests that are signed with its time are refused"), mend)
    })
}

/// Work that looks at one thing, and may hang there.
pub struct Step {
    name: String,
    work: Box<dyn FnOnce() -> Vec<Check> + Send>,
}

impl Step {
    /// A step called `name`, which is also what is said of it when it does not end.
    pub fn new(name: impl Into<String>, work: impl FnOnce() -> Vec<Check> + Send + 'static) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }

    /// The same for a step with one finding.
    pub fn one(name: impl Into<String>, work: impl FnOnce() -> Check + Send + 'static) -> Self {
        Self::new(name, move || vec![work()])
    }
}

/// Does all steps at the same time, and gives what they found in their order. One that has not ended within `patience` is left behind on
/// its thread, and counts as wrong: what hangs here hangs whoever needs it.
pub fn side_by_side(steps: Vec<Step>, patience: Duration) -> Vec<Check> {
    let end = Instant::now() + patience;
    let begun: Vec<_> = steps.into_iter().map(|step| (step.name.clone(), begin(step))).collect();
    let mut checks = Vec::new();
    for (name, found) in begun {
        let found = found.map(|found| found.recv_timeout(end.saturating_duration_since(Instant::now())));
        match found {
            Ok(Ok(found)) => checks.extend(found),
            Ok(Err(mpsc::RecvTimeoutError::Timeout)) => checks.push(Check::wrong(
                name,
                format!("no answer within {} s: a server or a device below it is silent", patience.as_secs()),
                "see what hangs there: `dmesg`, `cat /proc/mounts`, and the storage system",
            )),
            Ok(Err(mpsc::RecvTimeoutError::Disconnected)) => {
                checks.push(Check::wrong(
                    name,
                    "looking at it failed",
                    "this is a fault of Hawser: report what was written to standard error",
                ));
            }
            Err(error) => {
                checks.push(Check::wrong(name, format!("no thread to look at it: {error}"), "see what fills this machine"))
            }
        }
    }
    checks
}

fn begin(step: Step) -> std::io::Result<mpsc::Receiver<Vec<Check>>> {
    let (tell, found) = mpsc::channel();
    thread::Builder::new().name(step.name).spawn(move || {
        let _ = tell.send((step.work)());
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 12:00:00 GMT").unwrap();
        let told = |date: &str| clock("x", Some(date), now).map(|check| format!("{:?}", check.finding));
        assert!(told("Sun, 22 Nov 2026 12:00:20 GMT").unwrap().starts_with("Well"));
        assert!(told("Sun, 22 Nov 2026 12:01:00 GMT").unwrap().contains("60 s slow"));
        let fast = told("Sun, 22 Nov 2026 11:00:00 GMT").unwrap();
        assert!(fast.starts_with("Wrong") && fast.contains("3600 s fast"), "{fast}");
        assert!(told("yesterday").is_none() && clock("x", None, now).is_none());
    }

    #[test]
    fn steps_are_done_at_once_and_one_that_hangs_is_told() {
        let steps = vec![
            Step::one("a", || {
                thread::sleep(Duration::from_millis(300));
                Check::well("a", "slow")
            }),
            Step::one("b", || {
                thread::sleep(Duration::from_secs(3600));
                Check::well("b", "never")
            }),
            Step::new("c", || vec![Check::well("c", "1"), Check::well("c", "2")]),
        ];
        let began = Instant::now();
        let found = side_by_side(steps, Duration::from_secs(2));
        assert!(began.elapsed() < Duration::from_secs(60));
        let names: Vec<_> = found.iter().map(|check| (check.step.as_str(), check.is_wrong())).collect();
        assert_eq!(names, [("a", false), ("b", true), ("c", false), ("c", false)]);
    }
}
