//! Tags: what is written on volumes and snapshots.

use std::collections::BTreeMap;

use hawser_volume::Deadline;
use serde::{Deserialize, Deserializer};

use crate::client::{Anything, Call, Ec2};
use crate::form::Form;
use crate::refusal::Refusal;
use crate::xml;

/// One tag as EC2 lists it.
#[derive(Debug, Deserialize)]
struct Tag {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
}

/// Reads a set of tags.
pub(crate) fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let tags: Vec<Tag> = xml::items(deserializer)?;
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

impl Ec2 {
    /// Writes tags on an object, over those of the same keys.
    pub async fn create_tags(&self, id: &str, tags: &BTreeMap<String, String>, deadline: Deadline) -> Result<(), Refusal> {
        let form = Form::new().with_list("ResourceId", [id]).with_tags("Tag", tags);
        self.call::<Anything>(&Call::repeatable("CreateTags", form), deadline).await.map(drop)
    }

    /// Takes tags off an object, whatever their values.
    pub async fn delete_tags(&self, id: &str, keys: &[String], deadline: Deadline) -> Result<(), Refusal> {
        let form = (1..).zip(keys).fold(Form::new().with_list("ResourceId", [id]), |form, (number, key): (usize, _)| {
            form.with(format!("Tag.{number}.Key"), key)
        });
        self.call::<Anything>(&Call::repeatable("DeleteTags", form), deadline).await.map(drop)
    }
}
