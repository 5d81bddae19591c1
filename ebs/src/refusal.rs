//! What EC2 says when it does not do something, and what that means.

use std::fmt;

use hawser_volume::{Error, Kind};
use serde::Deserialize;

/// How much of EC2's sentence a message repeats, in characters. An encoded authorization message alone has a thousand.
const SENTENCE_MAX: usize = 300;

/// What a refusal means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too many requests; EC2 has done nothing.
    Throttled,
    /// EC2 could not be reached, failed, or was not understood.
    Transient,
    /// The object does not exist, or not yet for whoever answered.
    NotFound,
    /// The object's state forbids it.
    State,
    /// A client token was used with other parameters.
    TokenMismatch,
    /// The credentials do not allow it.
    Denied,
    /// The credentials are missing, wrong or expired.
    Unauthenticated,
    /// A limit of the account or the instance is reached.
    Quota,
    /// The zone has no hardware left.
    Capacity,
    /// This one object was changed too often; waiting helps, in minutes or hours.
    ObjectRate,
    /// A parameter is wrong.
    Invalid,
    /// Not offered there.
    Unsupported,
    /// Would have been done, had it not been asked for as a trial.
    WouldSucceed,
    /// Something else.
    Other,
}

impl Class {
    /// The class of an error code ("Error codes for the Amazon EC2 API"), or of a status where there is no code.
    pub fn of(code: &str, status: u16) -> Self {
        match code {
            "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "SlowDown"
            | "BandwidthLimitExceeded"
            | "EC2ThrottledException" => Class::Throttled,
            "InternalError"
            | "InternalFailure"
            | "Unavailable"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "PriorRequestNotComplete" => Class::Transient,
            // The zone and the key are parameters: what does not exist is not what the call is about.
            "InvalidZone.NotFound" | "InvalidAvailabilityZone" | "InvalidKmsKey.NotFound" | "InvalidOutpostArn.NotFound" => {
                Class::Invalid
            }
            "InvalidVolume.NotFound"
            | "InvalidSnapshot.NotFound"
            | "InvalidInstanceID.NotFound"
            | "InvalidVolumeModification.NotFound"
            | "InvalidAttachment.NotFound"
            | "InvalidVolumeID.Malformed"
            | "InvalidVolumeId.Malformed"
            | "InvalidVolumeID.NotFound"
            | "InvalidSnapshotID.Malformed"
            | "InvalidSnapshotId.Malformed"
            | "InvalidInstanceID.Malformed" => Class::NotFound,
            "IncorrectState"
            | "IncorrectInstanceState"
            | "IncorrectModificationState"
            | "VolumeInUse"
            | "InvalidVolume.ZoneMismatch"
            | "InvalidSnapshot.InUse"
            | "InvalidState"
            | "ResourceInUse"
            | "OperationNotPermitted" => Class::State,
            "IdempotentParameterMismatch" | "InvalidClientToken" | "IdempotentInstanceTerminated" => Class::TokenMismatch,
            "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "Blocked" | "PendingVerification" => {
                Class::Denied
            }
            "AuthFailure"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "MissingAuthenticationToken"
            | "IncompleteSignature"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "UnrecognizedClientException"
            | "InvalidAccessKeyId"
            | "OptInRequired"
            | "NotSignedUp" => Class::Unauthenticated,
            "VolumeLimitExceeded"
            | "MaxIOPSLimitExceeded"
            | "VolumeIOPSLimit"
            | "VolumeSizeExceedsAccountQuota"
            | "AttachmentLimitExceeded"
            | "VolumesPerInstanceLimitExceeded"
            | "SnapshotLimitExceeded"
            | "ConcurrentSnapshotLimitExceeded"
            | "ResourceLimitExceeded"
            | "TagLimitExceeded"
            | "ActiveVolumeModificationsLimitExceeded" => Class::Quota,
            "InsufficientVolumeCapacity" | "InsufficientCapacity" | "InsufficientCapacityOnHost" | "InsufficientHostCapacity" => {
                Class::Capacity
            }
            "VolumeModificationRateExceeded"
            | "VolumeModificationSizeLimitExceeded"
            | "SnapshotCreationPerVolumeRateExceeded" => Class::ObjectRate,
            "Unsupported"
            | "UnsupportedOperation"
            | "VolumeTypeNotAvailableInZone"
            | "VolumeTypeNotAvailableInRegion"
            | "UnsupportedInstanceAttribute"
            | "InvalidAction" => Class::Unsupported,
            "DryRunOperation" => Class::WouldSucceed,
            code if code.starts_with("Invalid") || code.starts_with("Missing") || code.starts_with("Unknown") => Class::Invalid,
            "MalformedQueryString" | "ValidationError" | "EncryptedVolumesNotSupported" | "InvalidBlockDeviceMapping" => {
                Class::Invalid
            }
            _ => match status {
                429 => Class::Throttled,
                401 => Class::Unauthenticated,
                403 => Class::Denied,
                500.. => Class::Transient,
                _ => Class::Other,
            },
        }
    }

    /// What it is for a CO, where the caller knows nothing better.
    pub fn kind(self) -> Kind {
        match self {
            Class::Throttled | Class::Transient => Kind::Unavailable,
            Class::NotFound => Kind::NotFound,
            Class::State => Kind::Precondition,
            Class::TokenMismatch => Kind::AlreadyExists,
            Class::Denied => Kind::PermissionDenied,
            Class::Unauthenticated => Kind::Unauthenticated,
            Class::Quota | Class::Capacity | Class::ObjectRate => Kind::Exhausted,
            Class::Invalid | Class::Unsupported => Kind::Invalid,
            Class::WouldSucceed | Class::Other => Kind::Internal,
        }
    }
}

/// A request that was not done, as far as is known.
#[derive(Debug, Clone)]
pub struct Refusal {
    action: &'static str,
    class: Class,
    code: String,
    sentence: String,
    request: String,
    uncertain: bool,
}

impl Refusal {
    /// What EC2 answered with `status` other than 200.
    pub(crate) fn answered(action: &'static str, status: u16, body: &[u8]) -> Self {
        let envelope = quick_xml::de::from_reader::<_, Envelope>(body).unwrap_or_default();
        let Fault { code, message } = envelope.errors.error.into_iter().next().unwrap_or_default();
        let sentence = match (code.is_empty(), message.trim()) {
            (true, _) => format!("it answers {status} without saying why"),
            (false, "") => format!("it answers {status}"),
            (false, message) => message.to_owned(),
        };
        let class = Class::of(&code, status);
        // An answer of EC2's own says that nothing was done; a gateway's fault says nothing.
        let uncertain = class == Class::Transient;
        Self { action, class, sentence: cut(&sentence), request: envelope.request_id, code, uncertain }
    }

    /// No answer, or none that can be read; `uncertain` when the request may have arrived.
    pub(crate) fn unanswered(action: &'static str, sentence: impl fmt::Display, uncertain: bool) -> Self {
        let (code, request) = (String::new(), String::new());
        Self { action, class: Class::Transient, code, sentence: cut(&sentence.to_string()), request, uncertain }
    }

    /// What EC2 answered within an answer that is otherwise well.
    pub(crate) fn told(action: &'static str, code: &str, sentence: impl fmt::Display) -> Self {
        let (class, code) = (Class::of(code, 400), code.to_owned());
        Self { action, class, sentence: cut(&sentence.to_string()), request: String::new(), code, uncertain: false }
    }

    /// There is nothing to sign the request with.
    pub(crate) fn unsigned(action: &'static str, error: &Error) -> Self {
        let class = if error.kind() == Kind::Unavailable { Class::Transient } else { Class::Unauthenticated };
        let (code, request) = (String::new(), String::new());
        Self { action, class, code, sentence: cut(&error.chain()), request, uncertain: false }
    }

    /// What it means.
    pub fn class(&self) -> Class {
        self.class
    }

    /// EC2's code; empty when there was no answer.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// EC2's sentence.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Whether it may have been done nevertheless.
    pub fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// The refusal after an earlier attempt that may have been done.
    #[must_use]
    pub(crate) fn after(mut self, earlier_uncertain: bool) -> Self {
        self.uncertain |= earlier_uncertain;
        self
    }

    /// The error of a call that tried to do `what`.
    pub fn while_doing(self, what: impl fmt::Display) -> Error {
        let mend = match self.class {
            Class::Unauthenticated => "; check the credentials and the clock",
            Class::Denied => "; check the policy of the credentials",
            Class::Quota => "; ask for a higher limit of the account, or free some",
            _ => "",
        };
        Error::new(self.class.kind(), format!("{what}: {self}{mend}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EC2 {}", self.action)?;
        if !self.code.is_empty() {
            write!(f, ": {}", self.code)?;
        }
        write!(f, ": {}", self.sentence.trim_end_matches('.'))?;
        if !self.request.is_empty() {
            write!(f, " (request {})", self.request)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

fn cut(sentence: &str) -> String {
    let line: String = sentence.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(SENTENCE_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[derive(Debug, Default, Deserialize)]
struct Envelope {
    #[serde(default, rename = "Errors")]
    errors: Faults,
    #[serde(default, rename = "RequestID", alias = "RequestId")]
    request_id: String,
}

#[derive(Debug, Default, Deserialize)]
struct Faults {
    #[serde(default, rename = "Error")]
    error: Vec<Fault>,
}

#[derive(Debug, Default, Deserialize)]
struct Fault {
    #[serde(default, rename = "Code")]
    code: String,
    #[serde(default, rename = "Message")]
    message: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(code: &str, message: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message>\
             </Error></Errors><RequestID>r-1</RequestID></Response>"
        )
        .into_bytes()
    }

    #[test]
    fn every_code_has_its_meaning() {
        for (status, code, class, kind) in [
            (503, "RequestLimitExceeded", Class::Throttled, Kind::Unavailable),
            (503, "Unavailable", Class::Transient, Kind::Unavailable),
            (500, "InternalError", Class::Transient, Kind::Unavailable),
            (400, "InvalidVolume.NotFound", Class::NotFound, Kind::NotFound),
            (400, "InvalidZone.NotFound", Class::Invalid, Kind::Invalid),
            (400, "VolumeInUse", Class::State, Kind::Precondition),
            (400, "IdempotentParameterMismatch", Class::TokenMismatch, Kind::AlreadyExists),
            (403, "UnauthorizedOperation", Class::Denied, Kind::PermissionDenied),
            (401, "AuthFailure", Class::Unauthenticated, Kind::Unauthenticated),
            (400, "VolumeLimitExceeded", Class::Quota, Kind::Exhausted),
            (400, "AttachmentLimitExceeded", Class::Quota, Kind::Exhausted),
            (500, "InsufficientVolumeCapacity", Class::Capacity, Kind::Exhausted),
            (400, "VolumeModificationRateExceeded", Class::ObjectRate, Kind::Exhausted),
            (400, "InvalidParameterValue", Class::Invalid, Kind::Invalid),
            (412, "DryRunOperation", Class::WouldSucceed, Kind::Internal),
            (400, "SomethingNew", Class::Other, Kind::Internal),
        ] {
            let refusal = Refusal::answered("X", status, &answer(code, "m"));
            assert_eq!((refusal.class(), refusal.code()), (class, code));
            assert_eq!(refusal.class().kind(), kind, "{code}");
        }
    }

    #[test]
    fn a_message_says_what_why_and_how_to_mend_it() {
        let refusal = Refusal::answered("CreateVolume", 403, &answer("UnauthorizedOperation", "You are not authorized."));
        assert_eq!(
            refusal.while_doing("make volume a").to_string(),
            "make volume a: EC2 CreateVolume: UnauthorizedOperation: You are not authorized (request r-1); check the policy of the \
             credentials"
        );
        let long = Refusal::answered("X", 403, &answer("UnauthorizedOperation", &"ä".repeat(5000))).to_string();
        assert!(long.chars().count() < 400, "{long}");
    }

    #[test]
    fn a_fault_without_a_reason_leaves_open_what_happened() {
        for body in ["<html>", "", "<Response/>", "<Response><Errors/></Response>"] {
            let refusal = Refusal::answered("X", 502, body.as_bytes());
            assert!(refusal.is_uncertain() && refusal.class() == Class::Transient, "{body}");
        }
        assert!(!Refusal::answered("X", 503, &answer("RequestLimitExceeded", "m")).is_uncertain());
        assert!(!Refusal::answered("X", 400, &answer("VolumeInUse", "m")).is_uncertain());
    }

    proptest! {
        #[test]
        fn any_answer_is_a_refusal(status in 300_u16..600, body in any::<Vec<u8>>()) {
            prop_assert!(!Refusal::answered("X", status, &body).to_string().contains('\n'));
        }
    }
}
