//! One request to one gateway, and its answer: bounded in time and size.

use std::time::Duration;

use hawser_volume::Error;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::refusal::Refusal;

/// Largest answer, in bytes. The array lists all volumes at once, 131072 at most, with some two KiB each.
const ANSWER_MAX: usize = 512 << 20;

/// A request, without what shows who asks.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// What it does, for messages and counters.
    pub(crate) action: &'static str,
    /// Below the gateway's address.
    pub(crate) path: String,
    /// What is sent; nothing for a question.
    pub(crate) body: Option<Value>,
}

/// What shows who asks.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// User and password, or user and token.
    Basic(String, SecretString),
    /// A token.
    Bearer(SecretString),
    /// Nothing.
    None,
}

/// The address of one gateway.
#[derive(Debug)]
pub(crate) struct Wire {
    client: Client,
    base: Url,
}

impl Wire {
    pub(crate) fn new(client: Client, base: Url) -> Self {
        Self { client, base }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Sends `call` once and gives what is answered with 200 or 204. Takes at most `limit`.
    pub(crate) async fn exchange(&self, call: &Call, proof: &Proof, limit: Duration) -> Result<Vec<u8>, Refusal> {
        let request = self.request(call, proof);
        match tokio::time::timeout(limit, self.send(call.action, request)).await {
            Ok(answer) => answer,
            Err(_) => {
                let told = format!("no answer of {} within {} ms", self.address(), limit.as_millis());
                Err(Refusal::unanswered(call.action, told, true))
            }
        }
    }

    fn request(&self, call: &Call, proof: &Proof) -> RequestBuilder {
        let url = format!("{}{}", self.address(), call.path);
        let method = if call.body.is_some() { Method::POST } else { Method::GET };
        let mut request = self.client.request(method, url).header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body.to_string());
        }
        match proof {
            Proof::Basic(user, secret) => request.basic_auth(user, Some(secret.expose_secret())),
            Proof::Bearer(token) => request.bearer_auth(token.expose_secret()),
            Proof::None => request,
        }
    }

    async fn send(&self, action: &'static str, request: RequestBuilder) -> Result<Vec<u8>, Refusal> {
        let lost = |error: reqwest::Error| {
            // Without a connection nothing was sent.
            let uncertain = !error.is_connect() && !error.is_builder();
            let told = Error::unavailable(format!("ask {}", self.address())).caused_by(error.without_url());
            Refusal::unanswered(action, told.chain(), uncertain)
        };
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let html = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.to_ascii_lowercase().contains("html"));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(Refusal::unanswered(action, format_args!("the answer has more than {ANSWER_MAX} bytes"), true));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            200 | 204 if !html => Ok(body),
            _ => Err(Refusal::answered(action, status, &body, html)),
        }
    }
}
