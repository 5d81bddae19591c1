//! How EC2 writes values in XML.

use std::time::SystemTime;

use serde::de::{Deserialize, Deserializer, Error as _};

/// A list: `<set><item/><item/></set>`.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Set<T> {
    #[serde(rename = "item", default = "Vec::new")]
    pub(crate) items: Vec<T>,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

/// The items of a list.
pub(crate) fn items<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Set::deserialize(deserializer).map(|set| set.items)
}

/// A text; an empty element is none.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// A moment.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    match text(deserializer)? {
        None => Ok(None),
        Some(text) => humantime::parse_rfc3339(&text).map(Some).map_err(|error| D::Error::custom(format!("{text:?}: {error}"))),
    }
}

/// An enum of states that EC2 may add to: what is not known is kept as such and never taken for one that is.
macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
        #[serde(from = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// One that this program does not know.
            Unknown,
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown => "in a state that this version does not know",
                })
            }
        }
    };
}

pub(crate) use states;
