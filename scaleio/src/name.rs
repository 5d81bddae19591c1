//! The names of objects on the array, which have 31 characters, made of names of any length and alphabet.
//!
//! A short name of plain characters stays as it is, so that who looks at the array finds it, and a volume that REX-Ray made is found
//! under its name. All others become a mark and 26 characters of base32: those that Kubernetes makes from a UUID keep it and can be
//! told back; of the rest it is a digest of 128 bits. A name that looks like one with a mark gets a digest too, so no two names meet.
//! Volumes and snapshots share the array's names, so snapshots always have a mark.

use hawser_volume::ObjectName;
use hawser_volume::id::digest;

/// Longest name of the array, in characters.
pub const MAX: usize = 31;

/// Longest prefix, in characters.
const PREFIX_MAX: usize = 16;

/// What a name with a mark is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// A volume; a digest.
    Volume,
    /// A volume called `pvc-<uuid>`.
    Claim,
    /// A snapshot; a digest.
    Snapshot,
    /// A snapshot called `snapshot-<uuid>`.
    SnapshotUuid,
    /// The first snapshot of a group: a digest of the group's name, which is the lock on it.
    GroupFirst,
    /// Another snapshot of a group: a digest of the group's name and the volume's id.
    GroupMember,
}

impl Mark {
    const ALL: [(Mark, &'static str); 6] = [
        (Mark::Volume, "hwd-"),
        (Mark::Claim, "hwp-"),
        (Mark::Snapshot, "hws-"),
        (Mark::SnapshotUuid, "hwt-"),
        (Mark::GroupFirst, "hwg-"),
        (Mark::GroupMember, "hwm-"),
    ];

    fn text(self) -> &'static str {
        Self::ALL.iter().find(|(mark, _)| *mark == self).map_or("", |(_, text)| text)
    }

    /// The mark of a name of the array, and the sixteen bytes after it.
    pub fn of(name: &str) -> Option<(Self, [u8; 16])> {
        let (mark, text) = Self::ALL.iter().find(|(_, text)| name.starts_with(text))?;
        Some((*mark, unbase32(name.strip_prefix(text)?)?))
    }

    /// Whether it is a snapshot's.
    pub fn is_snapshot(self) -> bool {
        !matches!(self, Mark::Volume | Mark::Claim)
    }

    /// Whether it is that of a group's snapshot.
    pub fn is_group(self) -> bool {
        matches!(self, Mark::GroupFirst | Mark::GroupMember)
    }

    fn with(self, bytes: [u8; 16]) -> String {
        format!("{}{}", self.text(), base32(bytes))
    }

    fn digest(self, name: &str) -> String {
        // The digest is 32 hexadecimal digits.
        self.with(u128::from_str_radix(&digest(name), 16).unwrap_or_default().to_be_bytes())
    }
}

/// Whether a backend may put this before its names.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= PREFIX_MAX && text.bytes().all(is_plain)
}

/// The name of a volume.
pub fn volume(prefix: &str, name: &ObjectName) -> String {
    let full = format!("{prefix}{name}");
    if let Some(uuid) = uuid_after("pvc-", &full) {
        return Mark::Claim.with(uuid);
    }
    let plain = full.len() <= MAX && full.bytes().all(is_plain);
    if plain && Mark::of(&full).is_none() { full } else { Mark::Volume.digest(&full) }
}

/// The name of a snapshot.
pub fn snapshot(prefix: &str, name: &ObjectName) -> String {
    let full = format!("{prefix}{name}");
    match uuid_after("snapshot-", &full) {
        Some(uuid) => Mark::SnapshotUuid.with(uuid),
        None => Mark::Snapshot.digest(&full),
    }
}

/// The name of the first snapshot of a group. Groups of one name have it in common, whatever their volumes are.
pub fn group_first(prefix: &str, group: &ObjectName) -> String {
    Mark::GroupFirst.digest(&format!("{prefix}{group}"))
}

/// The name of another snapshot of a group, that of the volume with this id.
pub fn group_member(prefix: &str, group: &ObjectName, volume: &str) -> String {
    // A name has no control characters, so nothing else reads like this.
    Mark::GroupMember.digest(&format!("{prefix}{group}\n{volume}"))
}

/// The name that a name of the array was made of, where it says so; nothing for a digest.
pub fn original(name: &str) -> Option<String> {
    match Mark::of(name) {
        None => Some(name.to_owned()),
        Some((Mark::Claim, bytes)) => Some(format!("pvc-{}", uuid_text(bytes))),
        Some((Mark::SnapshotUuid, bytes)) => Some(format!("snapshot-{}", uuid_text(bytes))),
        Some(_) => None,
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The UUID that is all of `name` after `start`, in the one form that can be told back.
fn uuid_after(start: &str, name: &str) -> Option<[u8; 16]> {
    let text = name.strip_prefix(start)?;
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let bytes = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?.to_be_bytes();
    (uuid_text(bytes) == text).then_some(bytes)
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// RFC 4648 base32 in lower case without padding: 26 characters.
fn base32(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    // 128 bits are 25 times five and three, which get two zeros.
    let digit = |at: u32| if at == 25 { (number & 7) << 2 } else { (number >> (123 - 5 * at)) & 31 };
    (0..26).map(|at| usize::try_from(digit(at)).map_or('a', |digit| char::from(ALPHABET[digit]))).collect()
}

fn unbase32(text: &str) -> Option<[u8; 16]> {
    if text.len() != 26 {
        return None;
    }
    let mut number: u128 = 0;
    for (at, byte) in text.bytes().enumerate() {
        let digit = u128::try_from(ALPHABET.iter().position(|known| *known == byte)?).ok()?;
        number = match at {
            25 if digit & 3 == 0 => number << 3 | digit >> 2,
            25 => return None,
            _ => number << 5 | digit,
        };
    }
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> ObjectName {
        text.parse().unwrap()
    }

    #[test]
    fn plain_names_stay_and_uuids_can_be_told_back() {
        assert_eq!(volume("", &name("orders-db.1")), "orders-db.1");
        assert_eq!(volume("prod-", &name("orders")), "prod-orders");
        let claim = "pvc-0b4c3d2e-1f60-4718-9a2b-3c4d5e6f7081";
        let made = volume("", &name(claim));
        assert_eq!((made.len(), original(&made).as_deref()), (30, Some(claim)));
        let upper = volume("", &name(&claim.to_uppercase()));
        assert!(Mark::of(&upper).unwrap().0 == Mark::Volume && original(&upper).is_none());
        let cut = snapshot("", &name("snapshot-0b4c3d2e-1f60-4718-9a2b-3c4d5e6f7081"));
        assert_eq!(original(&cut).as_deref(), Some("snapshot-0b4c3d2e-1f60-4718-9a2b-3c4d5e6f7081"));
        // RFC 4648 has no vector of sixteen bytes; this is its "foobarfoobarfoob".
        assert_eq!(base32(*b"foobarfoobarfoob"), "mzxw6ytbojtg633cmfzgm33pmi");
    }

    #[test]
    fn names_that_share_31_characters_stay_apart() {
        let (a, b) = (volume("", &name(&format!("{}a", "x".repeat(31)))), volume("", &name(&format!("{}b", "x".repeat(31)))));
        assert!(a != b && a.len() <= MAX && b.len() <= MAX, "{a} {b}");
        assert_eq!(volume("", &name(&"x".repeat(31))), "x".repeat(31));
    }

    fn any_name() -> impl Strategy<Value = ObjectName> {
        let marked = "(pvc-|snapshot-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
        prop_oneof!["\\PC{1,40}", "[A-Za-z0-9._-]{1,40}", "hw[dpstgm]-[a-z2-7]{26}", marked, "x{28,34}"]
            .prop_filter_map("a name", |text: String| text.parse().ok())
    }

    proptest! {
        #[test]
        fn every_name_fits_and_no_two_meet(a in any_name(), b in any_name(), prefix in "[a-z]{0,4}") {
            let all = |n: &ObjectName| [volume(&prefix, n), snapshot(&prefix, n), group_first(&prefix, n), group_member(&prefix, n, "1")];
            for made in all(&a) {
                prop_assert!(!made.is_empty() && made.len() <= MAX && made.bytes().all(is_plain), "{}", made);
            }
            let (of_a, of_b) = (all(&a), all(&b));
            for (i, x) in of_a.iter().enumerate() {
                for (j, y) in of_b.iter().enumerate() {
                    prop_assert_eq!(x == y, i == j && a == b, "{} {}", a, b);
                }
            }
        }

        #[test]
        fn a_name_is_told_back_as_it_was_or_not_at_all(a in any_name()) {
            if let Some(back) = original(&volume("", &a)) {
                prop_assert_eq!(back, a.as_str());
            }
            prop_assert!(Mark::of(&snapshot("", &a)).is_some_and(|(mark, _)| mark.is_snapshot()));
        }

        #[test]
        fn base32_is_told_back(bytes in any::<[u8; 16]>()) {
            prop_assert_eq!(unbase32(&base32(bytes)), Some(bytes));
        }
    }
}
