//! The one place where a [`Kind`] becomes a gRPC code, and an error becomes what a CO shows its user.
//!
//! The choice follows the CSI spec's error schemes and what Mesos, Nomad and the Kubernetes sidecars do with each code:
//! only UNAVAILABLE is retried well by all of them, ABORTED ends an operation for Mesos and Nomad, and everything the user
//! must mend is a final code. ABORTED is therefore used for what the spec demands alone: a bad listing token.

use tonic::{Code, Status};

use crate::error::{Error, Kind};

/// Longest message sent to a CO, in bytes. Mesos prints it in a task's status; the whole chain is in our own log.
const MESSAGE_MAX: usize = 1024;

/// The gRPC code of a kind.
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::Precondition => Code::FailedPrecondition,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::BadToken => Code::Aborted,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Unsupported => Code::Unimplemented,
        Kind::Internal => Code::Internal,
    }
}

/// The canonical name of a gRPC code, as the CSI spec writes it.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The kind that a CSI driver's code stands for, to its client. What the codes of the spec do not cover is the driver's fault.
pub fn kind(code: Code) -> Kind {
    match code {
        Code::InvalidArgument => Kind::Invalid,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::FailedPrecondition => Kind::Precondition,
        Code::OutOfRange => Kind::OutOfRange,
        Code::ResourceExhausted => Kind::Exhausted,
        Code::Unavailable => Kind::Unavailable,
        // tonic says CANCELLED when the time that its caller gave has run out.
        Code::DeadlineExceeded | Code::Cancelled => Kind::DeadlineExceeded,
        Code::Aborted => Kind::BadToken,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::Unimplemented => Kind::Unsupported,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Kind::Internal,
    }
}

/// What a caller is told, and a message keeps: the whole chain, cut to a length that COs can show.
pub fn message(error: &Error) -> String {
    let mut message = error.chain();
    if message.len() > MESSAGE_MAX {
        let cut = (0..=MESSAGE_MAX - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(cut);
        message.push('…');
    }
    message
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Status::new(code(error.kind()), message(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_back_the_kind_that_a_driver_meant() {
        for kind_meant in Kind::ALL {
            assert_eq!(kind(code(kind_meant)), kind_meant);
        }
    }

    /// The sentence of the spec (or the CO's behaviour) that each code rests on.
    #[test]
    fn every_kind_has_the_code_that_the_spec_gives_it() {
        let table = [
            (Kind::Invalid, Code::InvalidArgument, "Error Scheme: required field missing or invalid"),
            (Kind::NotFound, Code::NotFound, "Volume does not exist; Node does not exist"),
            (Kind::AlreadyExists, Code::AlreadyExists, "Volume already exists but is incompatible"),
            (Kind::Precondition, Code::FailedPrecondition, "Volume published to another node; Volume in use"),
            (Kind::OutOfRange, Code::OutOfRange, "Unsupported capacity_range"),
            (Kind::Exhausted, Code::ResourceExhausted, "Unable to provision in accessible_topology; Max volumes attached"),
            (Kind::Unavailable, Code::Unavailable, "retried by provisioner, attacher, resizer, Nomad and Mesos"),
            (Kind::DeadlineExceeded, Code::DeadlineExceeded, "the CO repeats the same call"),
            (Kind::BadToken, Code::Aborted, "Invalid starting_token"),
            (Kind::PermissionDenied, Code::PermissionDenied, "Error Scheme"),
            (Kind::Unauthenticated, Code::Unauthenticated, "Error Scheme: invalid or missing secrets"),
            (Kind::Unsupported, Code::Unimplemented, "Error Scheme: call not implemented, do not retry"),
            (Kind::Internal, Code::Internal, "final everywhere; for faults of our own"),
        ];
        assert_eq!(table.len(), Kind::ALL.len());
        for (kind, expected, why) in table {
            assert_eq!(code(kind), expected, "{kind:?}: {why}");
        }
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let status = Status::from(Error::internal("ü".repeat(4000)));
        assert!(status.message().len() <= MESSAGE_MAX);
        assert!(status.message().ends_with('…'));
    }
}
