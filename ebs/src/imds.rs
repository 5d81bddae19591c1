//! What an instance says of itself: the instance metadata service, version 2 (EC2 User Guide, "Instance metadata").
//!
//! It answers at a link-local address, with a token that is asked for first. The token's answer has a limit of hops, 1 unless the
//! owner has set it: then it does not reach a container with a network of its own, and there is silence. That is usual, so every
//! error says what to set instead.

use std::env;
use std::fmt;
use std::time::Duration;

use hawser_volume::error::shown;
use hawser_volume::{Error, Kind, Result};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::instance::is_instance_id;
use crate::wire::Ways;

/// Where it answers on every instance.
const ADDRESS: &str = "http://169.254.169.254";

/// The variable by which AWS' SDKs are given another address.
const ADDRESS_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// The variable by which AWS' SDKs are told not to ask.
const DISABLED_VARIABLE: &str = "AWS_EC2_METADATA_DISABLED";

/// How long one answer may take. It comes from the machine itself, in milliseconds.
const ANSWER: Duration = Duration::from_secs(2);

/// How often a question is asked that was not answered, or answered with a fault.
const ATTEMPTS: u32 = 2;

/// The pause in between.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a token is used, in seconds.
const TOKEN_SECONDS: &str = "60";

/// Largest answer, in bytes.
const ANSWER_MAX: usize = 64 << 10;

/// An instance, as its metadata describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Its id.
    pub instance: String,
    /// Its type, `m7i.large`.
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// Its region.
    pub region: String,
    /// The resource name of its outpost, if it is on one.
    pub outpost: Option<String>,
    /// How many network interfaces it has.
    pub interfaces: u32,
    /// How many volumes it was started with, the root volume among them.
    pub volumes: u32,
}

/// The service.
#[derive(Debug, Clone)]
pub struct Imds {
    ways: Ways,
    address: Url,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: String,
    instance_type: String,
    availability_zone: String,
    region: String,
}

impl Imds {
    /// The service at `address`, else at the one of the environment, else at the usual one. `Precondition` when the environment says
    /// that it is not to be asked.
    pub fn new(address: Option<&str>) -> Result<Self> {
        if address.is_none() && env::var(DISABLED_VARIABLE).is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Error::precondition(format!("{DISABLED_VARIABLE} says not to ask the instance metadata")));
        }
        let around = env::var(ADDRESS_VARIABLE).ok().filter(|text| !text.is_empty());
        let address = check_address(address.or(around.as_deref()).unwrap_or(ADDRESS))?;
        Ok(Self { ways: Ways::new(None)?, address })
    }

    /// Asks for everything.
    ///
    /// `Unavailable` when it is silent, cannot be reached or has a fault; `Precondition` when it refuses, or what answers is something
    /// else; `Internal` when the answer is none.
    pub async fn ask(&self) -> Result<Metadata> {
        match self.ask_with_token().await {
            // The token was valid a moment ago; on an instance that was moved or stopped meanwhile it may not be.
            Err(error) if error.kind() == Kind::Unauthenticated => self.ask_with_token().await,
            other => other,
        }
        .map_err(|error| error.while_doing(format_args!("ask the instance metadata at {}", self.address)))
    }

    async fn ask_with_token(&self) -> Result<Metadata> {
        let token = self.request(Method::PUT, "latest/api/token", None).await?;
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::internal(format!("the token is {}, which is none", shown(&token))));
        }
        let get = |path: &'static str| self.request(Method::GET, path, Some(&token));
        let document = parse_document(&get("latest/dynamic/instance-identity/document").await?)?;
        let interfaces = count(&get("latest/meta-data/network/interfaces/macs/").await?, |line| line.contains(':'));
        let volumes =
            count(&get("latest/meta-data/block-device-mapping/").await?, |line| line == "ami" || line.starts_with("ebs"));
        let outpost = match get("latest/meta-data/outpost-arn").await {
            // An instance that is on none.
            Err(error) if error.kind() == Kind::NotFound => None,
            other => Some(other?),
        };
        let Document { instance_id, instance_type, availability_zone, region } = document;
        Ok(Metadata { instance: instance_id, instance_type, zone: availability_zone, region, outpost, interfaces, volumes })
    }

    async fn request(&self, method: Method, path: &'static str, token: Option<&str>) -> Result<String> {
        let mut attempt = 1;
        loop {
            let asked = tokio::time::timeout(ANSWER, self.request_once(method.clone(), path, token)).await;
            let asked = asked.unwrap_or_else(|_| {
                Err(Error::unavailable(format!("no answer to {method} /{path} within {} s", ANSWER.as_secs())))
            });
            match asked {
                Err(error) if error.kind() == Kind::Unavailable && attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn request_once(&self, method: Method, path: &'static str, token: Option<&str>) -> Result<String> {
        let lost = |error: reqwest::Error| Error::unavailable(format!("{method} /{path}")).caused_by(error.without_url());
        let url = self.address.join(path).map_err(|error| Error::internal(format!("the path {path}")).caused_by(error))?;
        let request = self.ways.to("http").request(method.clone(), url);
        let request = match token {
            Some(token) => request.header("x-aws-ec2-metadata-token", token),
            None => request.header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS).header("content-length", "0"),
        };
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(Error::internal(format!("{method} /{path} is answered with more than {ANSWER_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return String::from_utf8(body)
                .map(|text| text.trim().to_owned())
                .map_err(|_| Error::internal(format!("{method} /{path} is answered with what is no text")));
        }
        Err(refusal(status, token.is_some(), &format!("{method} /{path} is answered with status {}", status.as_u16())))
    }
}

/// What a status means.
fn refusal(status: StatusCode, with_token: bool, told: &str) -> Error {
    let (kind, why) = match status.as_u16() {
        401 if with_token => (Kind::Unauthenticated, "it does not accept the token that it gave"),
        403 => (Kind::Precondition, "it is switched off for this instance, or forbidden to this process"),
        404 if with_token => (Kind::NotFound, "it has no such item"),
        404 => (Kind::Precondition, "what answers there is not the metadata service of an instance"),
        500..=599 => (Kind::Unavailable, "it has a fault"),
        _ => (Kind::Precondition, "it refuses"),
    };
    Error::new(kind, format!("{told}: {why}"))
}

/// Reads the identity document; `Internal` when it is none.
fn parse_document(text: &str) -> Result<Document> {
    let wrong = || Error::internal(format!("the identity document is {}, which is none", shown(text)));
    let document: Document = serde_json::from_str(text).map_err(|error| wrong().caused_by(error))?;
    let word = |text: &str| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
    };
    let words = [&document.instance_type, &document.availability_zone, &document.region];
    if is_instance_id(&document.instance_id) && words.into_iter().all(|text| word(text)) { Ok(document) } else { Err(wrong()) }
}

/// How many lines of a listing are of a kind.
fn count(listing: &str, is_one: impl Fn(&str) -> bool) -> u32 {
    u32::try_from(listing.lines().map(str::trim).filter(|line| is_one(line)).count()).unwrap_or(u32::MAX)
}

/// An address that stands in for the usual one. `Invalid` for one that is not `http://HOST[:PORT]`.
pub fn check_address(text: &str) -> Result<Url> {
    let wrong = || Error::invalid(format!("{} must be the address of a metadata service, as {ADDRESS}", shown(text)));
    let url: Url = text.trim().parse().map_err(|_| wrong())?;
    let is_plain = url.scheme() == "http" && url.has_host() && url.path() == "/" && url.query().is_none();
    if is_plain && url.fragment().is_none() && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(wrong())
    }
}

impl fmt::Display for Imds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

#[cfg(test)]
mod tests;
