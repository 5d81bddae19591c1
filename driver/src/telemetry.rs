//! Logs: one span and one line for every RPC. Requests are never printed, so no secret is.

use std::future::Future;
use std::io::IsTerminal;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt;
use hawser_volume::{Error, Result};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Level, field};
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to standard error. `filter` is a level (`info`) or `target=level,…`.
pub fn init(format: LogFormat, filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Error::invalid(format!("--log {filter:?} is not a level (error, warn, info, debug, trace) or filter")).caused_by(error)
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
    done.map_err(|error| Error::internal(format!("begin logging: {error}")))
}

/// Wraps every call: a span with its method and objects, a line with its outcome, and a net under it: a panic costs one call.
#[derive(Debug, Clone)]
pub struct Rpc {
    calls: TaskTracker,
}

impl Rpc {
    /// The layer; `calls` knows how many calls run.
    pub fn new(calls: &TaskTracker) -> Self {
        Self { calls: calls.clone() }
    }
}

impl<S> Layer<S> for Rpc {
    type Service = RpcService<S>;

    fn layer(&self, inner: S) -> RpcService<S> {
        RpcService { inner, calls: self.calls.clone() }
    }
}

/// See [`Rpc`].
#[derive(Debug, Clone)]
pub struct RpcService<S> {
    inner: S,
    calls: TaskTracker,
}

impl<S> Service<Request<Body>> for RpcService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        let span = tracing::info_span!(
            "rpc",
            method,
            volume_id = field::Empty,
            source_volume_id = field::Empty,
            snapshot_id = field::Empty,
            group_snapshot_id = field::Empty,
            node_id = field::Empty,
        );
        let begun = Instant::now();
        let call = self.inner.call(request);
        let future = async move {
            let response = match AssertUnwindSafe(call).catch_unwind().await {
                Ok(response) => response?,
                Err(_) => Status::internal(format!("{method} panicked; see the log")).into_http(),
            };
            report(&path, &response, begun);
            Ok(response)
        };
        Box::pin(self.calls.track_future(future.instrument(span)))
    }
}

/// Calls that COs repeat every few seconds are not news.
fn level(path: &str, code: Code) -> Level {
    let quiet = !path.starts_with("/csi.")
        || ["Probe", "GetPluginInfo", "GetCapabilities", "GetPluginCapabilities", "GetVolumeStats", "GetInfo", "GetCapacity"]
            .iter()
            .any(|name| path.ends_with(name));
    match code {
        Code::Ok if quiet => Level::DEBUG,
        Code::Ok => Level::INFO,
        Code::Internal | Code::Unknown | Code::DataLoss => Level::ERROR,
        _ => Level::WARN,
    }
}

/// One line with the outcome. Tonic sends an error's status in the headers; without one the call has succeeded so far (a unary
/// call entirely).
fn report(path: &str, response: &Response<Body>, begun: Instant) {
    let status = Status::from_header_map(response.headers());
    let (code, message) = status.as_ref().map_or((Code::Ok, ""), |status| (status.code(), status.message()));
    let milliseconds = begun.elapsed().as_micros() as f64 / 1000.0;
    match level(path, code) {
        Level::ERROR => tracing::error!(?code, ms = milliseconds, message),
        Level::WARN => tracing::warn!(?code, ms = milliseconds, message),
        Level::INFO => tracing::info!(?code, ms = milliseconds),
        _ => tracing::debug!(?code, ms = milliseconds),
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn call(service: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> Response<Body> {
        let inner = service_fn(move |_: Request<Body>| {
            let service = service.clone();
            async move { Ok::<_, std::convert::Infallible>(service()) }
        });
        let request = Request::builder().uri("/csi.v1.Node/NodeStageVolume").body(Body::empty()).unwrap();
        Rpc::new(&TaskTracker::new()).layer(inner).oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let response = call(|| panic!("planted")).await;
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "NodeStageVolume panicked; see the log");
    }

    #[tokio::test]
    async fn an_answer_is_passed_on() {
        let response = call(|| Status::not_found("v").into_http()).await;
        assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::NotFound);
    }
}
