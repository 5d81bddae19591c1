//! Maps of strings (StorageClass parameters, volume context, publish context) read into documented structs.
//!
//! A backend declares a struct with serde's derive; [`read`] fills it. All unknown keys are named in one message, keys are
//! compared without regard to case (users of aws-ebs-csi-driver and REX-Ray write them in any), and a wrong value is
//! reported with its key and what would be accepted.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::error::{Error, Result, shown};

/// The spec's limit for a map, keys and values together, in bytes (CSI spec, "Size Limits").
const MAP_MAX: usize = 4096;

/// Keys that a CO adds for its own use. They say who asks, not what is asked, so they are left out of every comparison.
const CO_KEYS: [&str; 2] = ["csi.storage.k8s.io/", "storage.kubernetes.io/"];

/// The map without the CO's own keys.
pub fn without_co_keys(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    map.iter()
        .filter(|(key, _)| !CO_KEYS.iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The CO's own keys alone.
pub fn co_keys(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_own = |key: &str| CO_KEYS.iter().any(|prefix| key.starts_with(prefix));
    map.iter().filter(|(key, _)| is_own(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Refuses a map over 4 KiB or with control characters. `field` names it in the message.
pub fn check_map(field: &str, map: &BTreeMap<String, String>) -> Result<()> {
    let length: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    if length > MAP_MAX {
        return Err(Error::invalid(format!(
            "{field} has {length} bytes; at most {MAP_MAX} are allowed for keys and values together"
        )));
    }
    match map.iter().find(|(key, value)| key.chars().chain(value.chars()).any(char::is_control)) {
        Some((key, _)) => Err(Error::invalid(format!("{field}: the entry {} has control characters; remove them", shown(key)))),
        None => Ok(()),
    }
}

/// Reads `map` into `T`; `field` names the map in messages.
pub fn read<T: DeserializeOwned>(field: &str, map: &BTreeMap<String, String>) -> Result<T> {
    T::deserialize(Parameters { map }).map_err(|Mistake(text)| Error::invalid(format!("{field}: {text}")))
}

/// A serde error that is only a sentence.
#[derive(Debug)]
struct Mistake(String);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Parameters<'a> {
    map: &'a BTreeMap<String, String>,
}

impl<'de> Deserializer<'de> for Parameters<'_> {
    type Error = Mistake;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let mut known: BTreeMap<&'static str, Value> = BTreeMap::new();
        let mut unknown = Vec::new();
        for (key, value) in self.map {
            match fields.iter().find(|field| field.eq_ignore_ascii_case(key)) {
                Some(field) => {
                    if known.insert(field, Value { key: key.clone(), text: value.clone() }).is_some() {
                        return Err(Mistake(format!("{key:?} is given twice (keys differ in case only)")));
                    }
                }
                None => unknown.push(format!("{key:?}")),
            }
        }
        if unknown.is_empty() {
            return visitor.visit_map(MapDeserializer::new(known.into_iter()));
        }
        let accepted =
            if fields.is_empty() { "none is accepted".to_owned() } else { format!("accepted are {}", fields.join(", ")) };
        Err(Mistake(format!("unknown {}; {accepted}", unknown.join(", "))))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_struct("", &[], visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// One value: text that becomes whatever the field wants.
struct Value {
    key: String,
    text: String,
}

impl Value {
    fn parse<T: std::str::FromStr>(&self, wanted: &str) -> Result<T, Mistake> {
        self.text.trim().parse().map_err(|_| Mistake(format!("{:?} is {:?}; it must be {wanted}", self.key, self.text)))
    }

    fn named<T>(key: &str, result: Result<T, Mistake>) -> Result<T, Mistake> {
        result.map_err(|Mistake(text)| Mistake(if text.starts_with('"') { text } else { format!("{key:?}: {text}") }))
    }
}

impl IntoDeserializer<'_, Mistake> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            let number = self.parse::<$type>(concat!("a whole number (", stringify!($type), ")"))?;
            Self::named(&self.key, visitor.$visit(number))
        })*
    };
}

impl<'de> Deserializer<'de> for Value {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        Self::named(&self.key, visitor.visit_string(self.text))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => visitor.visit_bool(true),
            "false" | "no" | "off" | "0" => visitor.visit_bool(false),
            _ => Err(Mistake(format!("{:?} is {:?}; it must be true or false", self.key, self.text))),
        }
    }

    whole_numbers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let text: StringDeserializer<Mistake> = self.text.into_deserializer();
        Self::named(&self.key, text.deserialize_enum(name, variants, visitor))
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::bytes::Bytes;

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(rename_all = "lowercase")]
    enum Color {
        #[default]
        Red,
        Green,
    }

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Sample {
        iops: Option<u32>,
        encrypted: bool,
        color: Color,
        #[serde(rename = "kmsKeyId", alias = "kms")]
        key: Option<String>,
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn values_are_read_by_the_type_of_their_field() {
        let sample: Sample =
            read("parameters", &map(&[("IOPS", "300"), ("encrypted", "True"), ("color", "green"), ("kms", "k")])).unwrap();
        assert_eq!(sample, Sample { iops: Some(300), encrypted: true, color: Color::Green, key: Some("k".into()) });
    }

    #[test]
    fn all_unknown_keys_are_named_at_once() {
        let error = read::<Sample>("parameters", &map(&[("foo", "1"), ("bar", "2"), ("iops", "1")])).unwrap_err().to_string();
        assert!(error.contains(r#"unknown "bar", "foo"; accepted are iops, encrypted, color, "#), "{error}");
    }

    #[test]
    fn a_wrong_value_is_reported_with_its_key() {
        for (key, value, expected) in [
            ("iops", "many", r#"parameters: "iops" is "many"; it must be a whole number (u32)"#),
            ("encrypted", "perhaps", r#"parameters: "encrypted" is "perhaps"; it must be true or false"#),
            ("color", "blue", r#"parameters: "color": unknown variant `blue`, expected `red` or `green`"#),
        ] {
            assert_eq!(read::<Sample>("parameters", &map(&[(key, value)])).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_key_given_in_two_cases_is_refused() {
        assert!(read::<Sample>("parameters", &map(&[("iops", "1"), ("IOPS", "2")])).is_err());
    }

    #[test]
    fn a_map_over_the_limit_is_refused_with_its_length() {
        let big = map(&[("k", &"x".repeat(4096))]);
        assert!(check_map("parameters", &big).unwrap_err().to_string().contains("4097 bytes"));
    }

    #[test]
    fn bytes_stay_numbers_in_json() {
        assert_eq!(serde_roundtrip(Bytes::gib(1)), Bytes::gib(1));
    }

    fn serde_roundtrip(bytes: Bytes) -> Bytes {
        Bytes::deserialize(IntoDeserializer::<de::value::Error>::into_deserializer(bytes.get())).unwrap()
    }

    proptest! {
        #[test]
        fn any_map_is_read_or_refused(map in prop::collection::btree_map(".*", ".*", 0..8)) {
            let _ = read::<Sample>("parameters", &map);
            let _ = check_map("parameters", &map);
        }
    }
}
