//! Where a region's EC2 API answers.

use std::fmt;
use std::str::FromStr;

use hawser_volume::error::shown;
use hawser_volume::{Error, Result};
use reqwest::Url;
use serde::{Deserialize, Serialize};

/// The name of a region, `eu-central-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

impl Region {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domains of its partition: that of IPv4, and that of both protocols (`partitions.json` of AWS' SDKs).
    fn domains(&self) -> (&'static str, &'static str) {
        const PARTITIONS: [(&str, &str, &str); 6] = [
            ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
            ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
            ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
            ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
            ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
            ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        ];
        let known = PARTITIONS.iter().find(|(prefix, _, _)| self.0.starts_with(prefix));
        known.map_or(("amazonaws.com", "api.aws"), |(_, single, dual)| (single, dual))
    }

    /// The address of the region's EC2 API, with FIPS 140 validated cryptography and over IPv6 too if wanted.
    pub fn endpoint(&self, fips: bool, dual_stack: bool) -> Result<Url> {
        let (single, dual) = self.domains();
        // What answers for the regions of the US government has it, and goes by the plain name (rules of EC2 in AWS' SDKs).
        let service = if fips && !self.0.starts_with("us-gov-") { "ec2-fips" } else { "ec2" };
        let text = format!("https://{service}.{}.{}/", self.0, if dual_stack { dual } else { single });
        text.parse().map_err(|error| Error::invalid(format!("{text} is not an address")).caused_by(error))
    }
}

impl FromStr for Region {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if text.len() <= 40 && text.split('-').count() >= 2 && text.split('-').all(word) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid(format!("{} is not the name of a region, such as eu-central-1", shown(text))))
    }
}

impl TryFrom<String> for Region {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address that stands in for the region's own: a VPC endpoint, or a simulator. `Invalid` for one that is not http or https,
/// or has a password in it.
pub fn override_of(text: &str) -> Result<Url> {
    // What stands before an @ may be a password, so it is not repeated.
    let wrong = |why: &str| Error::invalid(format!("the endpoint of EC2 {why}; write it as https://host[:port]"));
    let url: Url = text.trim().parse().map_err(|_| wrong("is not an address"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not have a user or password in it"));
    }
    match url.scheme() {
        "http" | "https" if url.has_host() && url.query().is_none() && url.fragment().is_none() => Ok(url),
        _ => Err(wrong("must be http or https, without a query")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_own_domain() {
        for (region, fips, dual, expected) in [
            ("eu-central-1", false, false, "https://ec2.eu-central-1.amazonaws.com/"),
            ("us-east-1", true, false, "https://ec2-fips.us-east-1.amazonaws.com/"),
            ("us-east-1", false, true, "https://ec2.us-east-1.api.aws/"),
            ("us-gov-west-1", true, false, "https://ec2.us-gov-west-1.amazonaws.com/"),
            ("cn-north-1", false, false, "https://ec2.cn-north-1.amazonaws.com.cn/"),
            ("cn-north-1", false, true, "https://ec2.cn-north-1.api.amazonwebservices.com.cn/"),
            ("us-iso-east-1", false, false, "https://ec2.us-iso-east-1.c2s.ic.gov/"),
            ("us-isob-east-1", false, false, "https://ec2.us-isob-east-1.sc2s.sgov.gov/"),
        ] {
            let region: Region = region.parse().unwrap();
            assert_eq!(region.endpoint(fips, dual).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_is_no_region_or_address_is_refused() {
        for text in ["", "eu", "EU-central-1", "eu--1", "eu-central-1.evil.com", "eu-central-1/", "a@b-1"] {
            assert!(text.parse::<Region>().is_err(), "{text}");
        }
        for text in ["ec2.eu-central-1.amazonaws.com", "ftp://x", "https://u:secret@x", "https://x?y", "unix:/x"] {
            let error = override_of(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(override_of("http://127.0.0.1:5556").unwrap().port(), Some(5556));
    }
}
