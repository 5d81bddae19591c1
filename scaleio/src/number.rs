//! Numbers and truths as the gateway writes them: as themselves, as text, or not at all.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Fraction(f64),
    Truth(bool),
    Text(String),
}

/// A whole number; nothing for `null` and empty text. An error for anything else: a size that was misread is worse than none.
pub(crate) fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let written: Option<Written> = Option::deserialize(deserializer)?;
    match written {
        None => Ok(None),
        Some(Written::Number(number)) => Ok(Some(number)),
        Some(Written::Text(text)) if text.trim().is_empty() => Ok(None),
        Some(Written::Text(text)) => {
            text.trim().parse().map(Some).map_err(|_| D::Error::custom(format!("{text:?} is no number")))
        }
        Some(Written::Fraction(number)) => Err(D::Error::custom(format!("{number} is no whole number"))),
        Some(Written::Truth(truth)) => Err(D::Error::custom(format!("{truth} is no number"))),
    }
}

/// The same, where a number must be.
pub(crate) fn must<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    some(deserializer)?.ok_or_else(|| D::Error::custom("a number is missing"))
}

/// The same, nothing being zero.
pub(crate) fn or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    some(deserializer).map(Option::unwrap_or_default)
}

/// A truth, written in any case and form.
pub(crate) fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let written: Option<Written> = Option::deserialize(deserializer)?;
    match written {
        None => Ok(None),
        Some(Written::Truth(truth)) => Ok(Some(truth)),
        Some(Written::Text(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Written::Text(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(D::Error::custom("neither true nor false")),
    }
}

/// A text; nothing for `null` and empty text.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// A list; nothing in it for `null`, which the array writes for an empty one.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list: Option<Vec<T>> = Option::deserialize(deserializer)?;
    Ok(list.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "some")]
        n: Option<u64>,
        #[serde(default, deserialize_with = "truth")]
        t: Option<bool>,
    }

    fn read(json: &str) -> Result<Sample, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn what_is_no_number_is_not_taken_for_one() {
        for (json, expected) in [(r#"{}"#, None), (r#"{"n":null}"#, None), (r#"{"n":""}"#, None), (r#"{"n":" 8 "}"#, Some(8))] {
            assert_eq!(read(json).unwrap().n, expected, "{json}");
        }
        for json in [r#"{"n":-1}"#, r#"{"n":1.5}"#, r#"{"n":"8GB"}"#, r#"{"n":true}"#, r#"{"n":"1e3"}"#, r#"{"n":[]}"#] {
            assert!(read(json).is_err(), "{json}");
        }
        for (json, expected) in [(r#"{"t":"TRUE"}"#, true), (r#"{"t":"False"}"#, false), (r#"{"t":true}"#, true)] {
            assert_eq!(read(json).unwrap().t, Some(expected), "{json}");
        }
        assert!(read(r#"{"t":"yes"}"#).is_err());
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_as_its_text(n in any::<u64>()) {
            prop_assert_eq!(read(&format!("{{\"n\":{n}}}")).unwrap().n, Some(n));
            prop_assert_eq!(read(&format!("{{\"n\":\"{n}\"}}")).unwrap().n, Some(n));
        }

        #[test]
        fn any_json_is_read_or_refused(text in "\\PC{0,20}") {
            let _ = read(&format!("{{\"n\":{text}}}"));
        }
    }
}
