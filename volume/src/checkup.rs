//! What an examination found, step by step, in words for people.

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
