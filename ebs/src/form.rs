//! The parameters of an action, as the Query protocol has them: flat, lists and structures numbered and dotted from 1.

use std::collections::BTreeMap;
use std::fmt;

/// Version of the API whose actions and fields these are.
const VERSION: &str = "2016-11-15";

/// An action's parameters.
#[derive(Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// No parameters yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With `key`.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.push((key.into(), value.to_string()));
        self
    }

    /// With `key`, if there is a value.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// With a list: `Key.1`, `Key.2`, …
    #[must_use]
    pub fn with_list(self, key: &str, values: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        (1..).zip(values).fold(self, |form, (number, value): (usize, _)| form.with(format!("{key}.{number}"), value))
    }

    /// With a filter that lets through what has one of `values`.
    #[must_use]
    pub fn with_filter(self, name: &str, values: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        let number = 1 + self.0.iter().filter(|(key, _)| key.starts_with("Filter.") && key.ends_with(".Name")).count();
        self.with(format!("Filter.{number}.Name"), name).with_list(&format!("Filter.{number}.Value"), values)
    }

    /// With tags for the object of type `of` that the action makes.
    #[must_use]
    pub fn with_tags_for(self, of: &str, tags: &BTreeMap<String, String>) -> Self {
        if tags.is_empty() {
            return self;
        }
        self.with("TagSpecification.1.ResourceType", of).with_tags("TagSpecification.1.Tag", tags)
    }

    /// With tags below `key`.
    #[must_use]
    pub fn with_tags(self, key: &str, tags: &BTreeMap<String, String>) -> Self {
        (1..).zip(tags).fold(self, |form, (number, (tag, value)): (usize, _)| {
            form.with(format!("{key}.{number}.Key"), tag).with(format!("{key}.{number}.Value"), value)
        })
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The body of the request for `action`.
    pub fn body(&self, action: &str) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", action)
            .append_pair("Version", VERSION)
            .extend_pairs(&self.0)
            .finish()
    }
}

/// Keys alone: values may be what a user keeps to himself.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What botocore sends for the same.
    #[test]
    fn the_body_is_what_other_clients_send() {
        let tags = BTreeMap::from([("a".to_owned(), "b c".to_owned()), ("d/e".to_owned(), "ü=&".to_owned())]);
        let form = Form::new()
            .with("Size", 4)
            .with_some("Iops", None::<u32>)
            .with_tags_for("volume", &tags)
            .with_list("VolumeId", ["vol-1", "vol-2"])
            .with_filter("tag-key", ["x"])
            .with_filter("status", ["available", "in-use"]);
        assert_eq!(
            form.body("CreateVolume"),
            "Action=CreateVolume&Version=2016-11-15&Size=4&TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=a\
             &TagSpecification.1.Tag.1.Value=b+c&TagSpecification.1.Tag.2.Key=d%2Fe&TagSpecification.1.Tag.2.Value=%C3%BC%3D%26\
             &VolumeId.1=vol-1&VolumeId.2=vol-2&Filter.1.Name=tag-key&Filter.1.Value.1=x&Filter.2.Name=status\
             &Filter.2.Value.1=available&Filter.2.Value.2=in-use"
        );
    }
}
