//! The parameters of a request.

use std::collections::BTreeMap;

use super::model::Refused;

/// A request's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a body.
    pub fn read(body: &str) -> Self {
        let url = reqwest::Url::parse(&format!("http://x/?{body}")).unwrap();
        Self(url.query_pairs().into_owned().collect())
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets the value of `key`.
    pub fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// The value of `key`, which must be there.
    pub fn must(&self, key: &str) -> Result<&str, Refused> {
        self.get(key).ok_or_else(|| Refused::new("MissingParameter", format!("The request must contain the parameter {key}")))
    }

    /// The number that `key` is.
    pub fn number(&self, key: &str) -> Result<Option<u32>, Refused> {
        let wrong = |text: &str| Refused::new("InvalidParameterValue", format!("Value ({text}) for parameter {key} is invalid."));
        self.get(key).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    /// Whether `key` is true.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The list `key.1`, `key.2`, …
    pub fn list(&self, key: &str) -> Vec<String> {
        (1..).map_while(|number| self.0.get(&format!("{key}.{number}")).cloned()).collect()
    }

    /// The tags `key.1.Key`, `key.1.Value`, …
    pub fn tags(&self, key: &str) -> BTreeMap<String, String> {
        (1..)
            .map_while(|number| {
                let tag = self.0.get(&format!("{key}.{number}.Key"))?.clone();
                Some((tag, self.0.get(&format!("{key}.{number}.Value")).cloned().unwrap_or_default()))
            })
            .collect()
    }

    /// The filters, each with its values.
    pub fn filters(&self) -> Result<Vec<(String, Vec<String>)>, Refused> {
        let filters: Vec<(String, Vec<String>)> = (1..)
            .map_while(|number| {
                let name = self.0.get(&format!("Filter.{number}.Name"))?.clone();
                Some((name, self.list(&format!("Filter.{number}.Value"))))
            })
            .collect();
        match filters.iter().find(|(_, values)| values.len() > 200) {
            Some((name, _)) => {
                Err(Refused::new("FilterLimitExceeded", format!("The maximum number of values for {name} is 200")))
            }
            None => Ok(filters),
        }
    }
}

/// Whether a filter's value lets `text` through: `*` stands for any characters, `?` for one, `\` takes that from the next.
pub fn lets_through(value: &str, text: &str) -> bool {
    fn matches(value: &[char], text: &[char]) -> bool {
        match value {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
            ['?', rest @ ..] => !text.is_empty() && matches(rest, &text[1..]),
            ['\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && matches(rest, &text[1..]),
        }
    }
    let chars = |text: &str| text.chars().collect::<Vec<char>>();
    matches(&chars(value), &chars(text))
}
