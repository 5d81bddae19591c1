//! What the gateway says when it does not do something, and what that means.

use std::fmt;

use hawser_volume::{Error, Kind};
use serde::Deserialize;

use crate::number;

/// How much of the gateway's sentence a message repeats, in characters.
const SENTENCE_MAX: usize = 300;

/// What a refusal means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The array has too much to do at the moment, and has done nothing.
    Busy,
    /// The gateway could not be reached, failed, or was not understood.
    Transient,
    /// The token has run out.
    Expired,
    /// User or password are wrong.
    Unauthenticated,
    /// The user may not do it.
    Denied,
    /// The volume or snapshot does not exist, or nothing has this name.
    NotFound,
    /// The SDC does not exist.
    NoSdc,
    /// Pool, protection domain or system do not exist, or not together.
    NoPlace,
    /// Another volume has the name.
    NameInUse,
    /// The SDC has the volume already.
    MappedHere,
    /// Another SDC has the volume.
    MappedElsewhere,
    /// The SDC has not got the volume.
    NotMapped,
    /// An SDC has the volume, so it cannot go.
    Mapped,
    /// The volume is going already.
    Removing,
    /// A limit of the array is reached.
    Quota,
    /// The pool has not enough left.
    Capacity,
    /// No volume can have this size.
    Size,
    /// A volume cannot become smaller.
    Shrink,
    /// The state of an object forbids it.
    State,
    /// A parameter is wrong.
    Invalid,
    /// Something else.
    Other,
}

/// What the array's sentences mean, by parts of them in lower case. Asked before the code: the numbers above 300 move from release to
/// release, and 4.x has others. The sentences are those of the table in goscaleio (`types/v1`, `code.properties.go`) and of
/// PowerFlex' documentation.
const SENTENCES: [(&str, Class); 46] = [
    ("could not find the volume", Class::NotFound),
    ("volume not found", Class::NotFound),
    ("could not find the sdc", Class::NoSdc),
    ("could not find the host", Class::NoSdc),
    ("could not find storage pool", Class::NoPlace),
    ("could not find the storage pool", Class::NoPlace),
    ("could not find protection domain", Class::NoPlace),
    ("could not find the protection domain", Class::NoPlace),
    ("not in the specified protection domain", Class::NoPlace),
    ("volume name already in use", Class::NameInUse),
    ("name already in use", Class::NameInUse),
    ("already mapped to this sdc", Class::MappedHere),
    ("already mapped to this host", Class::MappedHere),
    ("mapped to all sdcs", Class::MappedElsewhere),
    ("may not be mapped to additional", Class::MappedElsewhere),
    ("only a single sdc may be mapped", Class::MappedElsewhere),
    ("mapped to too many volumes", Class::Quota),
    ("is not mapped to", Class::NotMapped),
    ("volume is mapped", Class::Mapped),
    ("removal operation is currently in progress", Class::Removing),
    ("removal in progress", Class::Removing),
    ("too many volumes", Class::Quota),
    ("too many snapshots", Class::Quota),
    ("too many vtrees", Class::Quota),
    ("volume allocation limit", Class::Capacity),
    ("not enough capacity", Class::Capacity),
    ("insufficient capacity", Class::Capacity),
    ("capacity limit", Class::Capacity),
    ("volume size too large", Class::Size),
    ("volume size is illegal", Class::Size),
    ("volume size must be", Class::Size),
    ("capacity can only be increased", Class::Shrink),
    ("do not have permission", Class::Denied),
    ("system is busy", Class::Busy),
    ("is busy", Class::Busy),
    ("try again", Class::Busy),
    ("maximum number of sessions", Class::Busy),
    ("sdc is not approved", Class::State),
    ("access mode", Class::State),
    ("exceeds the allowed length", Class::Invalid),
    ("invalid characters", Class::Invalid),
    // Asked for by an id that cannot be one.
    ("must be a hexadecimal number", Class::NotFound),
    ("could not be found", Class::NotFound),
    ("no mdm", Class::Transient),
    ("mdm is not", Class::Transient),
    ("connect to the mdm", Class::Transient),
];

/// The same by the words and numbers of the array, those of 2.x to 4.x.
const CODES: [(&str, &[u32], Class); 24] = [
    ("NOT_FOUND", &[3], Class::NotFound),
    ("VOL_NOT_FOUND", &[78, 79], Class::NotFound),
    ("INI_NOT_FOUND", &[80], Class::NoSdc),
    ("VOL_ALREADY_MAPPED_TO_THIS_INI", &[81, 4037], Class::MappedHere),
    ("VOL_ALREADY_MAPPED_TO_ALL_INIS", &[82], Class::MappedElsewhere),
    ("VOL_MAPPED_TO_ALL_INIS", &[86], Class::MappedElsewhere),
    ("VOL_NOT_MAPPED_TO_INI", &[84, 4039], Class::NotMapped),
    ("TOO_MANY_VOLS", &[97], Class::Quota),
    ("VOL_NAME_IN_USE", &[99], Class::NameInUse),
    ("VOL_MAPPED", &[104], Class::Mapped),
    ("VOL_DECREASE_NOT_SUPPORTED", &[133], Class::Shrink),
    ("FD_NOT_FOUND", &[142], Class::NoPlace),
    ("NO_PERMISSIONS", &[168], Class::Denied),
    ("STORAGE_POOL_NOT_FOUND", &[171], Class::NoPlace),
    ("TOO_MANY_SNAPS_IN_VTREE", &[182], Class::Quota),
    ("VOL_SIZE_TOO_LARGE", &[190], Class::Size),
    ("FD_AND_SP_MISMATCH", &[197], Class::NoPlace),
    ("VOL_REMOVE_IN_PROGRESS", &[212], Class::Removing),
    ("VOL_SIZE_ILLEGAL", &[225], Class::Size),
    ("INVALID_NAME", &[226, 227], Class::Invalid),
    ("TOO_MANY_SESSIONS", &[252], Class::Busy),
    ("INI_MAPPED_TO_TOO_MANY_VOLS", &[294], Class::Quota),
    ("NOT_ALLOWED_MORE_THAN_ONE_MAPPING", &[297, 306], Class::MappedElsewhere),
    ("TOO_MUCH_THIN_CAPACITY", &[300], Class::Capacity),
];

impl Class {
    /// The class of a sentence, a word and a number of the array.
    pub fn of(sentence: &str, word: &str, code: u32) -> Option<Self> {
        let lower = sentence.to_ascii_lowercase();
        // Exactly these two words: others have them in a sentence about something else.
        if lower.trim().trim_end_matches('.') == "not found" {
            return Some(Class::NotFound);
        }
        let by_sentence = SENTENCES.iter().find(|(part, _)| lower.contains(part)).map(|(_, class)| *class);
        let by_word = || CODES.iter().find(|(known, _, _)| *known == word).map(|(_, _, class)| *class);
        let by_code = || CODES.iter().find(|(_, codes, _)| codes.contains(&code)).map(|(_, _, class)| *class);
        by_sentence.or_else(by_word).or_else(by_code)
    }

    /// What it is for a CO, where the caller knows nothing better.
    pub fn kind(self) -> Kind {
        match self {
            Class::Busy | Class::Transient | Class::Removing => Kind::Unavailable,
            Class::Expired | Class::Unauthenticated => Kind::Unauthenticated,
            Class::Denied => Kind::PermissionDenied,
            Class::NotFound | Class::NoSdc => Kind::NotFound,
            Class::NameInUse => Kind::AlreadyExists,
            Class::MappedHere | Class::MappedElsewhere | Class::NotMapped | Class::Mapped | Class::State => Kind::Precondition,
            Class::Quota | Class::Capacity => Kind::Exhausted,
            Class::Size | Class::Shrink => Kind::OutOfRange,
            Class::NoPlace | Class::Invalid => Kind::Invalid,
            Class::Other => Kind::Internal,
        }
    }
}

/// A request that was not done, as far as is known.
#[derive(Debug, Clone)]
pub struct Refusal {
    action: &'static str,
    class: Class,
    code: u32,
    sentence: String,
    uncertain: bool,
    forbidden: bool,
}

impl Refusal {
    /// What a gateway answered with `status` other than 200; `html` when it is a page of the web server before it.
    pub(crate) fn answered(action: &'static str, status: u16, body: &[u8], html: bool) -> Self {
        let told: Option<Told> = if html { None } else { serde_json::from_slice(body).ok() };
        let Some(told) = told else {
            // Not the gateway's own word: something before it speaks while the gateway starts or has gone.
            let class = match status {
                401 | 403 => Class::Expired,
                _ => Class::Transient,
            };
            let uncertain = !matches!(status, 401 | 403 | 404);
            return Self {
                action,
                class,
                code: 0,
                sentence: format!("the web server answers {status}"),
                uncertain,
                forbidden: status == 403,
            };
        };
        let detail = told.details.into_iter().next().unwrap_or_default();
        let code = u32::try_from(told.error_code.or(detail.rc).unwrap_or_default()).unwrap_or(u32::MAX);
        // "Error with details" and such say nothing; the detail does.
        let general = told.message.to_ascii_lowercase().contains("details") || told.message.is_empty();
        let sentence = if general && !detail.error_message.is_empty() { detail.error_message } else { told.message };
        let known = Class::of(&sentence, &detail.error, code);
        let class = known.unwrap_or(match status {
            401 | 403 => Class::Expired,
            400 => Class::Invalid,
            502..=504 | 408 | 429 => Class::Transient,
            _ => Class::Other,
        });
        let sentence = match (sentence.trim(), detail.error.as_str()) {
            ("", "") => format!("it answers {status} without saying why"),
            ("", word) => word.to_owned(),
            (sentence, _) => sentence.to_owned(),
        };
        // A reason that is known was given before anything was done.
        let uncertain = known.is_none() && status >= 500;
        Self { action, class, code, sentence: cut(&sentence), uncertain, forbidden: status == 403 }
    }

    /// No answer, or none that can be read; `uncertain` when the request may have arrived.
    pub(crate) fn unanswered(action: &'static str, sentence: impl fmt::Display, uncertain: bool) -> Self {
        Self { action, class: Class::Transient, code: 0, sentence: cut(&sentence.to_string()), uncertain, forbidden: false }
    }

    /// A login that cannot succeed until somebody changes something.
    pub(crate) fn unauthenticated(sentence: impl fmt::Display) -> Self {
        Self {
            action: "login",
            class: Class::Unauthenticated,
            code: 0,
            sentence: cut(&sentence.to_string()),
            uncertain: false,
            forbidden: false,
        }
    }

    /// What it means.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The array's number; zero when there is none.
    pub fn code(&self) -> u32 {
        self.code
    }

    /// Whether it may have been done nevertheless.
    pub fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// Whether it is 403, which may be about the token or about the user.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.forbidden
    }

    /// The refusal under another class, where the caller knows what it was about.
    #[must_use]
    pub(crate) fn with_class(mut self, class: Class) -> Self {
        self.class = class;
        self
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
            Class::Unauthenticated | Class::Expired => "; check user and password of the backend",
            Class::Denied => "; give the backend's user a role that may",
            Class::Quota => "; free some, or ask for a higher limit of the array",
            Class::Capacity => "; free some, or use another storage pool",
            _ => "",
        };
        Error::new(self.class.kind(), format!("{what}: {self}{mend}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the gateway, {}: {}", self.action, self.sentence.trim_end_matches('.'))?;
        if self.code != 0 { write!(f, " ({})", self.code) } else { Ok(()) }
    }
}

/// One line, not too long.
fn cut(sentence: &str) -> String {
    let line: String = sentence.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(SENTENCE_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(default, deserialize_with = "words")]
    message: String,
    #[serde(default, deserialize_with = "number::some")]
    error_code: Option<u64>,
    #[serde(default, deserialize_with = "number::list")]
    details: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default, deserialize_with = "words")]
    error: String,
    #[serde(default, deserialize_with = "number::some")]
    rc: Option<u64>,
    #[serde(default, deserialize_with = "words")]
    error_message: String,
}

fn words<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    number::text(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(message: &str, code: u32) -> Refusal {
        let body = serde_json::json!({"message": message, "httpStatusCode": 500, "errorCode": code}).to_string();
        Refusal::answered("x", 500, body.as_bytes(), false)
    }

    #[test]
    fn every_sentence_has_its_meaning_whatever_its_number() {
        for (message, class, kind) in [
            ("Could not find the volume", Class::NotFound, Kind::NotFound),
            ("Not found", Class::NotFound, Kind::NotFound),
            ("Could not find the SDC", Class::NoSdc, Kind::NotFound),
            ("Could not find Storage Pool", Class::NoPlace, Kind::Invalid),
            ("Volume name already in use. Please use a different name.", Class::NameInUse, Kind::AlreadyExists),
            ("The volume is already mapped to this SDC", Class::MappedHere, Kind::Precondition),
            ("The volume is already mapped to all SDCs", Class::MappedElsewhere, Kind::Precondition),
            (
                "This volume is already mapped and may not be mapped to additional SDCs.",
                Class::MappedElsewhere,
                Kind::Precondition,
            ),
            ("Only a single SDC may be mapped to this volume at a time", Class::MappedElsewhere, Kind::Precondition),
            ("The SDC is mapped to too many volumes", Class::Quota, Kind::Exhausted),
            ("The volume is not mapped to SDC", Class::NotMapped, Kind::Precondition),
            ("Volume is mapped", Class::Mapped, Kind::Precondition),
            ("A volume removal operation is currently in progress.", Class::Removing, Kind::Unavailable),
            ("There are too many snapshots in the VTree", Class::Quota, Kind::Exhausted),
            ("Requested volume size exceeds the volume allocation limit", Class::Capacity, Kind::Exhausted),
            ("The specified volume size is illegal. Volume size must be in 8 GB blocks", Class::Size, Kind::OutOfRange),
            ("Volume capacity can only be increased", Class::Shrink, Kind::OutOfRange),
            ("You do not have permission to perform this operation.", Class::Denied, Kind::PermissionDenied),
            ("id must be a hexadecimal number", Class::NotFound, Kind::NotFound),
            ("The given name contains invalid characters", Class::Invalid, Kind::Invalid),
        ] {
            for code in [0, 4037, 99_999] {
                let refusal = answer(message, code);
                assert_eq!((refusal.class(), refusal.class().kind()), (class, kind), "{message} {code}");
                assert!(!refusal.is_uncertain());
            }
        }
    }

    #[test]
    fn a_number_decides_where_the_sentence_says_nothing() {
        for (code, class) in [
            (99, Class::NameInUse),
            (79, Class::NotFound),
            (78, Class::NotFound),
            (4037, Class::MappedHere),
            (306, Class::MappedElsewhere),
        ] {
            assert_eq!(answer("Fehler", code).class(), class, "{code}");
            assert_eq!(answer("", code).class(), class, "{code}");
        }
        let unknown = answer("Something new", 0);
        assert!(unknown.class() == Class::Other && unknown.is_uncertain());
    }

    #[test]
    fn details_are_read_where_the_message_only_points_to_them() {
        let body = br#"{"message":"Error with details in details section","httpStatusCode":"500","errorCode":"0","details":
            [{"error":"VOL_NAME_IN_USE","rc":99,"errorMessage":"The name is taken"}]}"#;
        let refusal = Refusal::answered("createVolume", 500, body, false);
        assert_eq!(
            (refusal.class(), refusal.to_string().as_str()),
            (Class::NameInUse, "the gateway, createVolume: The name is taken")
        );
    }

    #[test]
    fn a_page_of_the_web_server_is_no_answer_of_the_array() {
        for (status, class, uncertain) in [
            (404, Class::Transient, false),
            (502, Class::Transient, true),
            (500, Class::Transient, true),
            (401, Class::Expired, false),
        ] {
            let refusal = Refusal::answered("x", status, b"<html><h1>Could not find the volume</h1></html>", true);
            assert_eq!((refusal.class(), refusal.is_uncertain()), (class, uncertain), "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_a_refusal(status in 300_u16..600, body in any::<Vec<u8>>(), html in any::<bool>()) {
            prop_assert!(!Refusal::answered("x", status, &body, html).to_string().contains('\n'));
        }

        #[test]
        fn any_json_is_a_refusal(message in "\\PC*", code in any::<i64>(), word in "[A-Z_]*") {
            let body = serde_json::json!({"message": message, "errorCode": code, "details": [{"error": word, "rc": null}]}).to_string();
            prop_assert!(Refusal::answered("x", 500, body.as_bytes(), false).to_string().chars().count() < 400);
        }
    }
}
