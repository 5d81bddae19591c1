//! Availability zones: where volumes and instances are.

use hawser_volume::Deadline;
use serde::Deserialize;

use crate::client::{Call, Ec2};
use crate::form::Form;
use crate::refusal::Refusal;
use crate::xml;

/// A zone of the region.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// Its name in this account, `eu-central-1a`.
    pub zone_name: String,
    /// Its name in all accounts, `euc1-az2`.
    #[serde(default)]
    pub zone_id: String,
    /// `availability-zone`, `local-zone` or `wavelength-zone`.
    #[serde(default)]
    pub zone_type: String,
}

#[derive(Debug, Deserialize)]
struct Zones {
    #[serde(default, rename = "availabilityZoneInfo", deserialize_with = "xml::items")]
    zones: Vec<Zone>,
}

impl Ec2 {
    /// The zones that the account may use.
    pub async fn describe_zones(&self, deadline: Deadline) -> Result<Vec<Zone>, Refusal> {
        let call = Call::repeatable("DescribeAvailabilityZones", Form::new());
        self.call::<Zones>(&call, deadline).await.map(|answer| answer.zones)
    }

    /// Whether the credentials are good for anything.
    pub async fn may_describe_zones(&self, deadline: Deadline) -> Result<(), Refusal> {
        self.allowed(Call::repeatable("DescribeAvailabilityZones", Form::new()), deadline).await
    }
}
