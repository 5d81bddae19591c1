//! What came of requests.

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
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "ok",
            Outcome::Failed => "failed",
            Outcome::Expired => "expired",
            Outcome::Refused => "refused",
        }
    }

    /// The outcome of a refusal of this class.
    pub fn of(class: Class) -> Self {
        match class {
            Class::Transient | Class::Busy => Outcome::Failed,
            Class::Expired => Outcome::Expired,
            _ => Outcome::Refused,
        }
    }
}
