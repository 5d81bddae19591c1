//! One request and its answer: signed, bounded in time and size.

use std::path::Path;
use std::time::Duration;

use hawser_volume::{Error, Result};
use reqwest::header::{CONTENT_TYPE, DATE, HOST, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use sha2::{Digest, Sha256};

use crate::credential::Credentials;
use crate::form::Form;
use crate::refusal::Refusal;

/// Largest answer, in bytes: a thousand volumes with fifty tags each are below a third of it.
const ANSWER_MAX: usize = 64 << 20;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a connection is kept for the next request. EC2 closes its side after some twenty seconds; a request that meets the
/// closing would have an unknown fate.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Where requests go.
#[derive(Debug)]
pub(crate) struct Wire {
    client: Client,
    endpoint: Url,
    credentials: Credentials,
}

/// The ways out: EC2 and STS may be behind a proxy; plain HTTP goes to addresses of this machine (metadata, a simulator), where a
/// proxy would answer for its own.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    far: Client,
    direct: Client,
}

impl Ways {
    /// `Invalid` when `ca_file` cannot be read.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self> {
        Ok(Self { far: http_client(ca_file, false)?, direct: http_client(ca_file, true)? })
    }

    /// The way to `scheme`.
    pub(crate) fn to(&self, scheme: &str) -> &Client {
        if scheme == "http" { &self.direct } else { &self.far }
    }
}

fn http_client(ca_file: Option<&Path>, direct: bool) -> Result<Client> {
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_MAX)
        .pool_idle_timeout(IDLE_MAX)
        .user_agent(concat!("hawser/", env!("CARGO_PKG_VERSION")));
    if direct {
        builder = builder.no_proxy();
    }
    if let Some(path) = ca_file {
        let wrong = || Error::invalid(format!("{} must be a PEM file with certificates", path.display()));
        let text = std::fs::read(path).map_err(|error| wrong().caused_by(error))?;
        let certificates = Certificate::from_pem_bundle(&text).map_err(|error| wrong().caused_by(error))?;
        if certificates.is_empty() {
            return Err(wrong());
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| Error::internal("set up HTTP").caused_by(error))
}

impl Wire {
    pub(crate) fn new(ways: &Ways, endpoint: Url, credentials: Credentials) -> Self {
        Self { client: ways.to(endpoint.scheme()).clone(), endpoint, credentials }
    }

    /// Where requests go.
    pub(crate) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// What requests are signed with.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether somebody answers there: the header `Date` of whatever is answered to a request without a signature. Takes at most `limit`.
    pub(crate) async fn greet(&self, limit: Duration) -> Result<Option<String>> {
        let answer = self.client.get(self.endpoint.clone()).timeout(limit).send().await;
        let answer = answer.map_err(|error| Error::unavailable("it does not answer").caused_by(error.without_url()))?;
        Ok(answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned))
    }

    /// Sends `action` once and gives what is answered with 200. Takes at most `limit`.
    pub(crate) async fn exchange(&self, action: &'static str, form: &Form, limit: Duration) -> Result<Vec<u8>, Refusal> {
        let body = form.body(action);
        let mut head = self.head(&body).map_err(|error| Refusal::unanswered(action, error.chain(), false))?;
        match tokio::time::timeout(limit, self.credentials.sign(&mut head)).await {
            Ok(signed) => signed.map_err(|error| Refusal::unsigned(action, &error))?,
            Err(_) => return Err(Refusal::unanswered(action, "there was no time left to get credentials", false)),
        }
        let request = reqwest::Request::try_from(http::Request::from_parts(head, body))
            .map_err(|error| Refusal::unanswered(action, format_args!("make the request: {error}"), false))?;
        match tokio::time::timeout(limit, self.send(action, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::unanswered(action, format_args!("no answer within {} ms", limit.as_millis()), true)),
        }
    }

    fn head(&self, body: &str) -> Result<http::request::Parts> {
        let wrong = |error: http::Error| Error::internal("make the request").caused_by(error);
        let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let host = self.endpoint.authority();
        let mut request = http::Request::post(self.endpoint.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
            .header("x-amz-content-sha256", digest)
            .body(())
            .map_err(wrong)?;
        let host = HeaderValue::from_str(host).map_err(|error| wrong(error.into()))?;
        request.headers_mut().insert(HOST, host);
        Ok(request.into_parts().0)
    }

    async fn send(&self, action: &'static str, request: reqwest::Request) -> Result<Vec<u8>, Refusal> {
        let lost = |error: reqwest::Error| {
            // Without a connection nothing was sent.
            let uncertain = !error.is_connect();
            let told = Error::unavailable(format!("ask {}", self.endpoint)).caused_by(error.without_url());
            Refusal::unanswered(action, told.chain(), uncertain)
        };
        let mut response = self.client.execute(request).await.map_err(lost)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(Refusal::unanswered(action, format_args!("the answer has more than {ANSWER_MAX} bytes"), true));
            }
            body.extend_from_slice(&chunk);
        }
        if status == 200 { Ok(body) } else { Err(Refusal::answered(action, status, &body)) }
    }
}
