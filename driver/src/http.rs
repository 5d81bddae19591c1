//! The HTTP listener: health, metrics and the status page. Off unless an address is configured.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 as long as the process' runtime answers at all |
//! | `/readyz` | 200 while the sockets are served, 503 while the process starts or stops |
//! | `/backends` | what is wrong with which backend, as JSON; always 200 |
//! | `/metrics` | everything that is measured, for Prometheus (OpenMetrics) |
//! | `/`, `/status.json` | the status page, and what it shows: [`crate::page`] |
//! | `/backends/NAME` | the same of one backend: 200, 503 when it is in trouble, 404 when there is none of this name |
//!
//! A storage system that is away never makes `/livez` or `/readyz` bad: a process that is killed for it mends nothing. Nothing here asks
//! a storage system anything or waits for anybody, so no answer hangs.

use std::future::Future;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hawser_volume::{Error, HttpEndpoint, Result};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::telemetry::metrics::CONTENT_TYPE;
use crate::telemetry::readiness;
use crate::telemetry::{Metrics, Readiness, Telemetry};

/// How long answers may take to be sent after the process was told to end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A listener that is served until it is [stopped](Http::stop) or dropped.
#[derive(Debug)]
pub struct Http {
    /// Where it listens, the port that was chosen for 0 included.
    pub address: std::net::SocketAddr,
    stop: CancellationToken,
    served: AbortOnDropHandle<()>,
}

impl Http {
    /// Serves `router` at `endpoint`. `Unavailable` when nothing can listen there.
    pub async fn serve(endpoint: HttpEndpoint, router: Router) -> Result<Self> {
        let failed = |error| Error::unavailable(format!("listen at {endpoint} for HTTP")).caused_by(error);
        let listener = TcpListener::bind(endpoint.addresses().as_slice()).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let serve = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let served = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the HTTP listener ended");
            }
        }));
        tracing::info!(%address, "serving HTTP");
        Ok(Self { address, stop, served })
    }

    /// Stops after the answers that are being sent.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(LAST_WORDS, self.served).await;
    }
}

/// Serves what every process has ([`router`]) and `more` while `work` runs; without an `endpoint` only runs `work`. An address at which
/// nothing can listen is an error before `work` begins.
pub async fn beside<T>(
    endpoint: Option<HttpEndpoint>,
    telemetry: &Telemetry,
    more: Router,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let http = match endpoint {
        Some(endpoint) => Some(Http::serve(endpoint, router(telemetry).merge(more)).await?),
        None => None,
    };
    let done = work.await;
    if let Some(http) = http {
        http.stop().await;
    }
    done
}

/// What every process serves.
pub fn router(telemetry: &Telemetry) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready).with_state(telemetry.readiness.clone()))
        .route("/metrics", get(metrics).with_state(telemetry.metrics.clone()))
        .route("/backends", get(backends).with_state(telemetry.clone()))
        .route("/backends/{name}", get(one_backend).with_state(telemetry.clone()))
}

async fn metrics(State(metrics): State<Metrics>) -> Response {
    match metrics.page() {
        Ok(page) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.chain()).into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    match readiness.state() {
        readiness::State::Ready => (StatusCode::OK, "ready\n"),
        readiness::State::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        readiness::State::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

/// A backend, as one half of the plugin sees it.
#[derive(Debug, Serialize)]
struct Backend {
    name: String,
    /// `controller` or `node`.
    side: &'static str,
    in_trouble: bool,
    /// Since when, as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Which call failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    /// What it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// How many calls have failed since.
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u64>,
}

fn seen(telemetry: &Telemetry) -> Vec<Backend> {
    let health = telemetry.calls.health().into_iter();
    health
        .map(|(name, side, trouble)| {
            let trouble = trouble.as_ref();
            Backend {
                name: name.to_string(),
                side: side.as_str(),
                in_trouble: trouble.is_some(),
                since: trouble.map(|trouble| humantime::format_rfc3339_seconds(trouble.since).to_string()),
                operation: trouble.map(|trouble| trouble.operation),
                error: trouble.map(|trouble| trouble.error.clone()),
                failures: trouble.map(|trouble| trouble.failures),
            }
        })
        .collect()
}

async fn backends(State(telemetry): State<Telemetry>) -> Response {
    Json(seen(&telemetry)).into_response()
}

async fn one_backend(State(telemetry): State<Telemetry>, Path(name): Path<String>) -> Response {
    let mut all = seen(&telemetry);
    all.retain(|backend| backend.name == name);
    let status = if all.is_empty() {
        StatusCode::NOT_FOUND
    } else if all.iter().any(|backend| backend.in_trouble) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    (status, Json(all)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use hawser_volume::{Around, Error};
    use tower::ServiceExt;

    use super::*;
    use crate::telemetry::calls::Side;

    async fn status(telemetry: &Telemetry, path: &str) -> u16 {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(telemetry).oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn a_process_is_ready_between_its_start_and_its_end() {
        let telemetry = Telemetry::default();
        assert_eq!((status(&telemetry, "/livez").await, status(&telemetry, "/readyz").await), (200, 503));
        telemetry.readiness.ready();
        assert_eq!(status(&telemetry, "/readyz").await, 200);
        telemetry.readiness.stopping();
        assert_eq!((status(&telemetry, "/livez").await, status(&telemetry, "/readyz").await), (200, 503));
    }

    #[tokio::test]
    async fn trouble_of_one_backend_is_its_own() {
        let telemetry = Telemetry::default();
        telemetry.readiness.ready();
        let watched = telemetry.calls.watch(&"a".parse().unwrap(), Side::Controller);
        let _ = telemetry.calls.watch(&"b".parse().unwrap(), Side::Node);
        let _ = watched.blocking("provisioner.list", || Err::<(), _>(Error::unavailable("away")));
        for (path, expected) in
            [("/backends/a", 503), ("/backends/b", 200), ("/backends", 200), ("/livez", 200), ("/readyz", 200)]
        {
            assert_eq!(status(&telemetry, path).await, expected, "{path}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error_that_names_it() {
        let telemetry = Telemetry::default();
        let first = Http::serve("127.0.0.1:0".parse().unwrap(), router(&telemetry)).await.unwrap();
        let taken: HttpEndpoint = first.address.to_string().parse().unwrap();
        let error = beside(Some(taken), &telemetry, Router::new(), async { Ok(()) }).await.unwrap_err();
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        first.stop().await;
        beside(Some(taken), &telemetry, Router::new(), async { Ok(()) }).await.unwrap();
    }
}
