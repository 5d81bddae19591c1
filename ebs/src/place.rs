//! Where volumes and instances are, as CSI's topology says it: one segment a backend for the zone, one more on an outpost.

use std::fmt;
use std::str::FromStr;

use hawser_volume::error::shown;
use hawser_volume::{BackendName, Error, Result, Segments};

/// The amazon resource name of an outpost, `arn:aws:outposts:eu-west-1:123456789012:outpost/op-0123456789abcdef0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outpost {
    partition: String,
    region: String,
    account: String,
    id: String,
}

impl Outpost {
    /// From its parts; `Invalid` when one of them cannot be.
    pub fn new(partition: &str, region: &str, account: &str, id: &str) -> Result<Self> {
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if word(partition) && word(region) && word(account) && word(id) && id.starts_with("op-") {
            let [partition, region, account, id] = [partition, region, account, id].map(str::to_owned);
            return Ok(Self { partition, region, account, id });
        }
        Err(Error::invalid(format!(
            "{} is not the name of an outpost, such as arn:aws:outposts:eu-west-1:123456789012:outpost/op-0123456789abcdef0",
            shown(&format!("arn:{partition}:outposts:{region}:{account}:outpost/{id}"))
        )))
    }

    /// As the value of a segment: COs make labels of them, which have neither `:` nor `/`, and at most 63 characters.
    fn to_segment(&self) -> String {
        [self.partition.as_str(), &self.region, &self.account, &self.id].join("_")
    }

    fn from_segment(text: &str) -> Option<Self> {
        let mut parts = text.split('_');
        let outpost = Self::new(parts.next()?, parts.next()?, parts.next()?, parts.next()?).ok()?;
        parts.next().is_none().then_some(outpost)
    }
}

impl FromStr for Outpost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        match parts.as_slice() {
            ["arn", partition, "outposts", region, account, resource] if resource.starts_with("outpost/") => {
                Self::new(partition, region, account, resource.trim_start_matches("outpost/"))
            }
            _ => Err(Error::invalid(format!(
                "{} is not the name of an outpost, such as arn:aws:outposts:eu-west-1:123456789012:outpost/op-0123456789abcdef0",
                shown(text)
            ))),
        }
    }
}

impl fmt::Display for Outpost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account, id } = self;
        write!(f, "arn:{partition}:outposts:{region}:{account}:outpost/{id}")
    }
}

/// The keys of the segments of one backend.
#[derive(Debug, Clone)]
pub struct PlaceKeys {
    zone: String,
    outpost: String,
}

impl PlaceKeys {
    /// The keys of `backend`; `prefix` is the prefix of the plugin's topology keys.
    pub fn new(prefix: &str, backend: &BackendName) -> Self {
        Self { zone: format!("{prefix}/{backend}"), outpost: format!("{prefix}/{backend}.outpost") }
    }

    /// The segments of a place. A volume and the instances that can have it have the same.
    pub fn segments(&self, place: &Place) -> Segments {
        let mut segments = Segments::from([(self.zone.clone(), place.zone.clone())]);
        segments.extend(place.outpost.as_ref().map(|outpost| (self.outpost.clone(), outpost.to_segment())));
        segments
    }

    /// The zone that the segments name under this backend's own key.
    pub fn zone<'a>(&self, segments: &'a Segments) -> Option<&'a str> {
        get(segments, &self.zone)
    }

    /// The outpost that the segments name under this backend's own key.
    pub fn outpost(&self, segments: &Segments) -> Option<Outpost> {
        get(segments, &self.outpost).and_then(Outpost::from_segment)
    }
}

/// The value of a segment. Keys are compared without regard to case, as the CSI spec demands.
pub fn get<'a>(segments: &'a Segments, key: &str) -> Option<&'a str> {
    segments.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
}

/// Where a volume or an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The availability zone, `eu-central-1a`.
    pub zone: String,
    /// The outpost.
    pub outpost: Option<Outpost>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_segments() {
        let keys = PlaceKeys::new("csi.hawser.dev", &"ebs".parse().unwrap());
        let outpost: Outpost = "arn:aws-us-gov:outposts:us-gov-west-1:123456789012:outpost/op-0123456789abcdef0".parse().unwrap();
        let place = Place { zone: "us-gov-west-1a".to_owned(), outpost: Some(outpost.clone()) };
        let segments = keys.segments(&place);
        assert_eq!(keys.zone(&segments), Some("us-gov-west-1a"));
        assert_eq!(keys.outpost(&segments).unwrap().to_string(), outpost.to_string());
        assert!(segments.values().all(|value| value.len() <= 63), "{segments:?}");
        for text in ["", "arn:aws:ec2:x:1:outpost/op-1", "arn:aws:outposts:x:1:outpost/", "arn:aws:outposts:x:1_2:outpost/op-1"] {
            assert!(text.parse::<Outpost>().is_err(), "{text}");
        }
    }
}
