//! Traces: what belongs together, from a task's declaration to the mount, over processes.
//!
//! Spans of traces have the target [`TARGET`] and are for OpenTelemetry alone: logs do not show them, so they are the same with and
//! without. Off unless the environment names a collector, as the OpenTelemetry specification says; nothing is recorded then. Spans are
//! sent by a thread of their own from a queue of limited length: a collector that is away costs spans, never time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hawser_volume::{Around, Error, Result};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What marks spans of traces.
pub const TARGET: &str = "hawser::trace";

/// How long the last spans may take to be sent when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What sends the spans. Sends what is left when it is dropped.
#[derive(Debug)]
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// The one that the environment asks for (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin); nothing when it asks for none. `Invalid` when
    /// it asks for what this program has not got. Needs the runtime; reaches for nobody yet.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let is_off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let Some(endpoint) = endpoint.filter(|_| !is_off) else { return Ok(None) };
        let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Some(other) = protocol.filter(|protocol| protocol != "grpc") {
            return Err(Error::invalid(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is {other:?}; this program speaks grpc alone: leave it out, and name the collector's gRPC port"
            )));
        }
        if !endpoint.starts_with("http://") {
            return Err(Error::invalid(format!(
                "OTEL_EXPORTER_OTLP_ENDPOINT is {endpoint:?}; it must begin with http://, as spans are sent without TLS: to a collector on this machine"
            )));
        }
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .build()
            .map_err(|error| Error::invalid(format!("send traces to {endpoint:?}")).caused_by(error))?;
        let mut resource = Resource::builder();
        let named = set("OTEL_SERVICE_NAME").is_some()
            || set("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|attributes| attributes.contains("service.name="));
        if !named {
            resource = resource.with_service_name("hawser");
        }
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Some(Self(provider)))
    }

    /// What makes the spans.
    pub fn tracer(&self) -> SdkTracer {
        self.0.tracer("hawser")
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.shutdown_with_timeout(LAST_WORDS);
    }
}

/// The span of a call that this process serves, `name` being `service/method`. Its parent is the caller's, if that said so
/// (W3C Trace Context).
pub fn served(name: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(target: "hawser::trace", "served", otel.name = name, otel.kind = "server", otel.status_code = field::Empty);
    if !span.is_disabled() {
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    }
    span
}

/// The span of a call over a seam, as in `provisioner.create`.
pub fn called(call: &'static str, backend: Option<&str>) -> Span {
    tracing::info_span!(target: "hawser::trace", "called", otel.name = call, backend, otel.status_code = field::Empty)
}

/// Notes in `span` that it did not come to what it was for.
pub fn failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|key| key.as_str()).collect()
    }
}

/// What is put in front of the host, so that traces show what takes long there.
#[derive(Debug, Clone, Copy)]
pub struct Traced;

/// What asks the kernel something small, for every mount of the machine some of it.
const SMALL: [&str; 9] = [
    "host.mounts",
    "host.resolve",
    "host.create_target",
    "host.remove_target",
    "host.loops_of",
    "host.loop_image_of",
    "host.loop_image",
    "host.disk_of",
    "host.is_severed",
];

impl Around for Traced {
    fn blocking<T>(&self, call: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if SMALL.contains(&call) {
            return work();
        }
        let span = called(call, None);
        let result = span.in_scope(work);
        if result.is_err() {
            failed(&span);
        }
        result
    }

    async fn waiting<T: Send>(&self, _call: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        work.await
    }
}

/// A layer that gives each call of a gRPC server a span, and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Doors;

impl<S> Layer<S> for Doors {
    type Service = DoorService<S>;

    fn layer(&self, inner: S) -> DoorService<S> {
        DoorService(inner)
    }
}

/// See [`Doors`].
#[derive(Debug, Clone)]
pub struct DoorService<S>(S);

impl<S> Service<Request<Body>> for DoorService<S>
where
    S: Service<Request<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = served(request.uri().path().trim_start_matches('/'), request.headers());
        Box::pin(self.0.call(request).instrument(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[tokio::test]
    async fn traces_are_off_unless_the_environment_names_a_collector() {
        for off in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_SDK_DISABLED", "true")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert!(Exporter::from_env(env(off)).unwrap().is_none(), "{off:?}");
        }
        for wrong in [
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317")][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
        ] {
            assert!(Exporter::from_env(env(wrong)).unwrap_err().to_string().contains("OTEL_EXPORTER_OTLP_"), "{wrong:?}");
        }
    }
}
