//! The one error type between a backend and the gRPC edge.
//!
//! An error says *what came of it* ([`Kind`]), *what was attempted on which object* (the message), and keeps the cause.
//! The kind alone decides the gRPC code, in [`crate::status`].

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

/// The result of everything that can fail between a service and the outside world.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How much of a caller's text a message repeats, in characters.
const SHOWN_MAX: usize = 60;

/// A caller's text as a message may repeat it: quoted, escaped, and not longer than a line.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
    }
}

/// What came of a call. Each kind maps to exactly one gRPC code (see [`crate::status`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A field of the request is missing, malformed or in conflict with another one. Sending it again cannot help.
    Invalid,
    /// The named volume, snapshot, group or node does not exist.
    NotFound,
    /// The object exists with other properties than those asked for.
    AlreadyExists,
    /// The object is in a state that forbids the call (held elsewhere, in use, not staged); someone must act first.
    Precondition,
    /// A size (or other quantity) that this backend cannot provide exactly.
    OutOfRange,
    /// No space, no attachment slot, no place in the wanted topology. Nothing was left running.
    Exhausted,
    /// The storage system or a device cannot be reached at the moment; the same call may succeed later.
    Unavailable,
    /// The call's time ran out; the work goes on and the next identical call finds it.
    DeadlineExceeded,
    /// A listing token that is no longer (or never was) valid: the caller must start over.
    BadToken,
    /// The credentials are valid and do not allow this.
    PermissionDenied,
    /// The credentials are missing or wrong.
    Unauthenticated,
    /// This backend cannot do that at all.
    Unsupported,
    /// A fault of this program or of the machine below it that none of the others describes.
    Internal,
}

impl Kind {
    /// Every kind, for table tests.
    pub const ALL: [Kind; 13] = [
        Kind::Invalid,
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Precondition,
        Kind::OutOfRange,
        Kind::Exhausted,
        Kind::Unavailable,
        Kind::DeadlineExceeded,
        Kind::BadToken,
        Kind::PermissionDenied,
        Kind::Unauthenticated,
        Kind::Unsupported,
        Kind::Internal,
    ];
}

/// A failure: its kind, a message for people, and the cause.
///
/// Cloning is cheap: several callers that share one running call receive the same error.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    on_record: bool,
}

impl Error {
    /// An error of `kind`; `message` says what was attempted on which object and how to mend it.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, on_record: false }
    }

    /// Keeps `source` as the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What the operating system said, if that is where it came from.
    pub fn os_error(&self) -> Option<&io::Error> {
        let mut cause = self.source();
        while let Some(inner) = cause {
            if let Some(error) = inner.downcast_ref::<io::Error>().filter(|error| error.raw_os_error().is_some()) {
                return Some(error);
            }
            cause = inner.source();
        }
        None
    }

    /// The same failure seen from one step further out: the kind stays, `message` goes in front.
    #[must_use]
    pub fn while_doing(self, message: impl fmt::Display) -> Self {
        Self { message: format!("{message}: {}", self.message), ..self }
    }

    /// The same failure under another kind, where a caller knows better what it means.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// That [`crate::queue::Failures`] need not be told of it.
    #[must_use]
    pub(crate) fn on_record(mut self) -> Self {
        self.on_record = true;
        self
    }

    /// Whether it comes out of the queue, which has noted what there is to note of it.
    pub(crate) fn is_on_record(&self) -> bool {
        self.on_record
    }

    /// What came of it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message and every cause, once each, joined by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source.as_deref().map(|s| s as &dyn StdError);
        while let Some(error) = cause {
            let part = error.to_string();
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.kind, self.chain())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

/// One constructor a kind, so that a call site reads as what happened.
macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                Self::new(Kind::$kind, message)
            })*
        }
    };
}

constructors! {
    /// See [`Kind::Invalid`].
    invalid => Invalid;
    /// See [`Kind::NotFound`].
    not_found => NotFound;
    /// See [`Kind::AlreadyExists`].
    already_exists => AlreadyExists;
    /// See [`Kind::Precondition`].
    precondition => Precondition;
    /// See [`Kind::OutOfRange`].
    out_of_range => OutOfRange;
    /// See [`Kind::Exhausted`].
    exhausted => Exhausted;
    /// See [`Kind::Unavailable`].
    unavailable => Unavailable;
    /// See [`Kind::DeadlineExceeded`].
    deadline_exceeded => DeadlineExceeded;
    /// See [`Kind::BadToken`].
    bad_token => BadToken;
    /// See [`Kind::Unsupported`].
    unsupported => Unsupported;
    /// See [`Kind::Internal`].
    internal => Internal;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_repeats_is_one_short_line() {
        assert_eq!(shown("a\n\0b"), r#""a\n\0b""#);
        assert_eq!(shown(&"x".repeat(60)).len(), 62);
        assert!(shown(&"ä\n".repeat(1 << 20)).len() < 200);
        assert!(shown(&"ä".repeat(61)).ends_with("…\""));
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let cause = io::Error::other("disk on fire");
        let error = Error::unavailable("read /dev/loop1").caused_by(cause).while_doing("stage local:v1");
        assert_eq!(error.chain(), "stage local:v1: read /dev/loop1: disk on fire");
        assert_eq!(error.kind(), Kind::Unavailable);
    }
}
