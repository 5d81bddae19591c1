//! Every RPC: one span, one line, a net under panics. Requests are never printed, so no secret is.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Level, Span, field};

use super::metrics::rpc::Rpcs;
use super::spans;

/// Wraps every call: a span with its method and objects, a line with its outcome, and a net under it: a panic costs one call.
#[derive(Debug, Clone)]
pub struct Rpc {
    calls: TaskTracker,
    rpcs: Rpcs,
}

impl Rpc {
    /// The layer; `calls` knows how many calls run, `rpcs` counts them.
    pub fn new(calls: &TaskTracker, rpcs: &Rpcs) -> Self {
        Self { calls: calls.clone(), rpcs: rpcs.clone() }
    }
}

impl<S> Layer<S> for Rpc {
    type Service = RpcService<S>;

    fn layer(&self, inner: S) -> RpcService<S> {
        RpcService { inner, rpc: self.clone() }
    }
}

/// See [`Rpc`].
#[derive(Debug, Clone)]
pub struct RpcService<S> {
    inner: S,
    rpc: Rpc,
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
        let trace = spans::served(path.trim_start_matches('/'), request.headers());
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        let span = trace.in_scope(|| {
            tracing::info_span!(
                "rpc",
                method,
                volume_id = field::Empty,
                source_volume_id = field::Empty,
                snapshot_id = field::Empty,
                group_snapshot_id = field::Empty,
                node_id = field::Empty,
            )
        });
        let ended =
            Ended { rpcs: self.rpc.rpcs.clone(), path, begun: Instant::now(), code: Code::Cancelled, trace: trace.clone() };
        let call = self.inner.call(request);
        let future = async move {
            let response = match AssertUnwindSafe(call).catch_unwind().await {
                Ok(response) => response?,
                Err(_) => Status::internal(format!("{method} panicked; see the log")).into_http(),
            };
            ended.with(&response);
            Ok(response)
        };
        Box::pin(self.rpc.calls.track_future(future.instrument(span).instrument(trace)))
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

/// A call under way; counted when it is dropped. One whose caller goes is dropped without an answer.
struct Ended {
    rpcs: Rpcs,
    path: String,
    begun: Instant,
    code: Code,
    trace: Span,
}

impl Ended {
    /// One line with the outcome. Tonic sends an error's status in the headers; without one the call has succeeded so far (a unary
    /// call entirely).
    fn with(mut self, response: &Response<Body>) {
        let status = Status::from_header_map(response.headers());
        let (code, message) = status.as_ref().map_or((Code::Ok, ""), |status| (status.code(), status.message()));
        self.code = code;
        if code != Code::Ok {
            spans::failed(&self.trace);
        }
        let milliseconds = self.begun.elapsed().as_micros() as f64 / 1000.0;
        match level(&self.path, code) {
            Level::ERROR => tracing::error!(?code, ms = milliseconds, message),
            Level::WARN => tracing::warn!(?code, ms = milliseconds, message),
            Level::INFO => tracing::info!(?code, ms = milliseconds),
            _ => tracing::debug!(?code, ms = milliseconds),
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.rpcs.ended(&self.path, self.code, self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::telemetry::Telemetry;

    async fn call(service: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> Response<Body> {
        let inner = service_fn(move |_: Request<Body>| {
            let service = service.clone();
            async move { Ok::<_, std::convert::Infallible>(service()) }
        });
        let request = Request::builder().uri("/csi.v1.Node/NodeStageVolume").body(Body::empty()).unwrap();
        Rpc::new(&TaskTracker::new(), &Telemetry::default().metrics.rpc).layer(inner).oneshot(request).await.unwrap()
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
