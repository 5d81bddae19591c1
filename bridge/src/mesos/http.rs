//! One question over HTTP: with a deadline, a size limit, and a message that says what was asked of whom.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::error::shown;
use hawser_volume::{Error, Kind, Result};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::credential::{Credential, Secret};
use super::endpoint::Endpoint;

/// Largest answer, in bytes. GET_AGENTS has about 2 KiB an agent, the registry 1 KiB; the largest known clusters have some 50 000
/// agents.
const ANSWER_MAX: usize = 256 << 20;

/// Largest part of an answer that refuses which is read at all: a sentence, as a rule.
const REFUSAL_MAX: usize = 4 << 10;

/// How much a message repeats of what is wrong with an answer, in characters.
const SENTENCE_MAX: usize = 120;

/// How long a connection may take. Part of every deadline.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long a connection is kept for the next question of the same look.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// After how much silence a connection is tried.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How Mesos is spoken to.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    /// Who the bridge is. Default: nobody.
    pub credential: Option<Credential>,
    /// A PEM file with certificates of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Largest answer, in bytes. Default: 256 MiB.
    pub answer_max: Option<usize>,
}

/// An HTTP client for Mesos' own API. Follows no redirect and asks no proxy.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    credential: Option<Credential>,
    answer_max: usize,
}

/// What came back.
pub(crate) enum Answer {
    Body(Vec<u8>),
    /// Ask this one: it leads.
    Elsewhere(Endpoint),
}

impl Http {
    /// A client. `Invalid` when the file of authorities cannot be read or has no certificate.
    pub fn new(options: HttpOptions) -> Result<Self> {
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            // A subscription is silent for days, and an agent's machine may be lost meanwhile.
            .tcp_keepalive(KEEPALIVE)
            .pool_idle_timeout(IDLE_MAX)
            .user_agent(concat!("hawser/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &options.ca_file {
            builder = builder.tls_certs_merge(authorities(path)?);
        }
        let client = builder.build().map_err(|error| Error::internal("set up HTTP").caused_by(error))?;
        Ok(Self { client, credential: options.credential, answer_max: options.answer_max.unwrap_or(ANSWER_MAX) })
    }

    /// The same without a credential, for servers that nobody configured.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { credential: None, ..self.clone() }
    }

    /// Whether questions carry a credential, which must not reach servers that nobody configured.
    pub(crate) fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// The header `Date` of an answer of `server` to a question that needs no credential, and gets none.
    pub(crate) async fn date(&self, server: &Endpoint) -> Result<Option<String>> {
        let asked = self.client.get(server.at("/version")).send();
        let failed =
            |error: reqwest::Error| Error::unavailable(format!("ask {server} for the time")).caused_by(error.without_url());
        let answer = tokio::time::timeout(CONNECT_MAX, asked).await;
        let answer = answer.map_err(|_| Error::deadline_exceeded(format!("{server} does not answer")))?.map_err(failed)?;
        Ok(answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned))
    }

    /// Sends the call `body` of the v1 operator API to `path`; `None` asks with GET. `what` names the question in messages.
    pub(crate) async fn ask(&self, server: &Endpoint, path: &str, what: &str, body: Option<&Value>) -> Result<Answer> {
        let failed = |error: reqwest::Error| {
            // The address is in the message already, and the error would repeat it with every cause.
            Error::unavailable(format!("ask {server} for {what}")).caused_by(error.without_url())
        };
        let request = match body {
            Some(body) => self.client.post(server.at(path)).header(CONTENT_TYPE, "application/json").body(body.to_string()),
            None => self.client.get(server.at(path)),
        };
        let request = self.signed(request.header(ACCEPT, "application/json")).await?;
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status == StatusCode::OK {
            let body = read(response, self.answer_max).await.map_err(failed)?.ok_or_else(|| {
                Error::unavailable(format!("ask {server} for {what}: the answer has more than {} bytes", self.answer_max))
            })?;
            return Ok(Answer::Body(body));
        }
        if status.is_redirection() {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            return server.redirected(location).map(Answer::Elsewhere);
        }
        Err(refusal(response, &format!("ask {server} for {what}")).await)
    }

    /// Sends `body` to `path` and returns what begins to come back, whose end may never come. `what` names it in messages.
    pub(crate) async fn post(
        &self,
        server: &Endpoint,
        path: &str,
        what: &str,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<Response> {
        let request =
            headers.iter().fold(self.client.post(server.at(path)), |request, (name, value)| request.header(*name, *value));
        let sent = self.signed(request.body(body)).await?.send().await;
        let response = sent.map_err(|error| Error::unavailable(format!("{what} of {server}")).caused_by(error.without_url()))?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response, &format!("{what} of {server}")).await) }
    }

    async fn signed(&self, request: RequestBuilder) -> Result<RequestBuilder> {
        let Some(credential) = &self.credential else { return Ok(request) };
        Ok(match credential.read().await? {
            Secret::Basic { principal, secret } => request.basic_auth(principal, Some(secret.expose_secret())),
            Secret::Bearer(token) => request.bearer_auth(token.expose_secret()),
        })
    }
}

/// What an answer that is none says.
async fn refusal(response: Response, attempted: &str) -> Error {
    let status = response.status();
    let kind = match status {
        StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
        StatusCode::FORBIDDEN => Kind::PermissionDenied,
        _ => Kind::Unavailable,
    };
    let text = read(response, REFUSAL_MAX).await.ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let text = if text.trim().is_empty() { String::new() } else { format!(" ({})", shown(text.trim())) };
    Error::new(kind, format!("{attempted}: it answers {status}{text}"))
}

/// The body, or nothing when it is longer than `max`.
async fn read(mut response: Response, max: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Reads an answer; an error names the field by its path.
pub(crate) fn parse<T: DeserializeOwned>(server: &Endpoint, what: &str, body: &[u8]) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // Where it stands in the text helps nobody, for the text is not kept; and the sentence may repeat any part of it.
        let inner = error.into_inner().to_string();
        let sentence: String = inner.split(" at line ").next().unwrap_or_default().chars().take(SENTENCE_MAX).collect();
        Error::unavailable(format!("ask {server} for {what}: cannot read {path} of the answer: {sentence}"))
    })
}

fn authorities(path: &Path) -> Result<Vec<Certificate>> {
    let wrong = || Error::invalid(format!("{} must be a PEM file with certificates", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong().caused_by(error))?;
    let certificates = Certificate::from_pem_bundle(&text).map_err(|error| wrong().caused_by(error))?;
    if certificates.is_empty() { Err(wrong()) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "only read to see what is said when it cannot be")]
        agents: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "as above")]
        active: bool,
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named() {
        let server: Endpoint = "http://m1:5050".parse().unwrap();
        let read = |text: &str| parse::<Outer>(&server, "GET_AGENTS", text.as_bytes()).unwrap_err().to_string();
        let text = read(r#"{"agents":[{"active":true},{"active":"yes"}]}"#);
        assert!(text.contains("http://m1:5050") && text.contains("GET_AGENTS") && text.contains("agents[1].active"), "{text}");
        assert!(read(r#"{"agents":[{}]}"#).contains("agents[0]"), "{}", read(r#"{"agents":[{}]}"#));
        assert!(read("<html>").contains("cannot read"));
        assert!(read(&format!(r#"{{"agents":[{{"active":"{}"}}]}}"#, "x".repeat(100_000))).len() < 300);
    }

    #[test]
    fn a_file_of_authorities_must_have_some() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("ca.pem");
        std::fs::write(&file, "nothing").unwrap();
        let options = |file: PathBuf| HttpOptions { ca_file: Some(file), ..HttpOptions::default() };
        assert_eq!(Http::new(options(file)).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(Http::new(options(place.path().join("none"))).unwrap_err().kind(), Kind::Invalid);
    }
}
