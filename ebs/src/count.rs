//! What came of requests.

use crate::refusal::Class;

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was done, or answered.
    Done,
    /// It was refused because there were too many.
    Throttled,
    /// It was not answered, or by a fault of EC2.
    Failed,
    /// It was refused for another reason.
    Refused,
}

impl Outcome {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "ok",
            Outcome::Throttled => "throttled",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
        }
    }

    /// The outcome of a refusal of this class.
    pub fn of(class: Class) -> Self {
        match class {
            Class::Throttled => Outcome::Throttled,
            Class::Transient => Outcome::Failed,
            Class::WouldSucceed => Outcome::Done,
            _ => Outcome::Refused,
        }
    }
}
