//! What EC2 sees wrong with volumes.

use std::collections::BTreeMap;

use hawser_volume::Deadline;
use serde::Deserialize;

use crate::client::{Ec2, Paged};
use crate::form::Form;
use crate::refusal::Refusal;
use crate::xml;

/// How a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `ok`, `warning`, `impaired` or `insufficient-data`.
    pub status: String,
    /// What has happened to it, in EC2's words.
    pub events: Vec<String>,
}

impl Health {
    /// What is wrong, if something is. That EC2 does not know is not wrong: it does not for new volumes.
    pub fn trouble(&self) -> Option<String> {
        match self.status.as_str() {
            "ok" | "insufficient-data" => None,
            status if self.events.is_empty() => Some(format!("EC2 says that it is {status}")),
            status => Some(format!("EC2 says that it is {status}: {}", self.events.join("; "))),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    volume_id: String,
    volume_status: Status,
    #[serde(default, deserialize_with = "xml::items")]
    events_set: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    status: String,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    description: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statuses {
    #[serde(default, deserialize_with = "xml::items")]
    volume_status_set: Vec<Item>,
    #[serde(default, deserialize_with = "xml::text")]
    next_token: Option<String>,
}

impl Paged for Statuses {
    type Item = (String, Health);

    fn split(self) -> (Vec<Self::Item>, Option<String>) {
        let health = |item: Item| {
            let events = item.events_set.into_iter().map(|event| event.description).collect();
            (item.volume_id, Health { status: item.volume_status.status, events })
        };
        (self.volume_status_set.into_iter().map(health).collect(), self.next_token)
    }
}

impl Ec2 {
    /// How these volumes (at most 200) are, by volume.
    pub async fn describe_health(&self, volumes: &[String], deadline: Deadline) -> Result<BTreeMap<String, Health>, Refusal> {
        let form = Form::new().with_filter("volume-id", volumes);
        Ok(self.pages::<Statuses>("DescribeVolumeStatus", form, deadline).await?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_is_trouble() {
        let text = "<DescribeVolumeStatusResponse><volumeStatusSet><item><volumeId>vol-1</volumeId><volumeStatus><status>impaired</status>\
                    <details/></volumeStatus><eventsSet><item><description>IO is disabled</description></item></eventsSet></item>\
                    <item><volumeId>vol-2</volumeId><volumeStatus><status>insufficient-data</status></volumeStatus></item>\
                    </volumeStatusSet></DescribeVolumeStatusResponse>";
        let (found, _) = quick_xml::de::from_str::<Statuses>(text).unwrap().split();
        let trouble: Vec<Option<String>> = found.into_iter().map(|(_, health)| health.trouble()).collect();
        assert_eq!(trouble, [Some("EC2 says that it is impaired: IO is disabled".to_owned()), None]);
    }
}
