//! One call to a driver, made again as long as that makes sense.

use std::future::Future;
use std::time::Duration;

use hawser_volume::{Deadline, Error, Kind, Result, status};
use opentelemetry::propagation::Injector;
use tonic::metadata::{MetadataKey, MetadataMap};
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The pause after the first answer that asks for patience; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long one attempt may take before it is made again. A driver that queues or remembers finds the first one still running.
const ATTEMPT: Duration = Duration::from_secs(120);

/// Whether "not now" is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is not; the driver is asked again until the deadline.
    Lasting,
    /// It is: somebody waits for whatever else can be said.
    Short,
}

/// Calls `method` for `object` until it is answered with anything but "not now", or until `deadline`.
pub(super) async fn calling<Q: Clone, A, F: Future<Output = Result<Response<A>, Status>>>(
    method: &'static str,
    object: &str,
    deadline: Deadline,
    message: Q,
    call: impl Fn(Request<Q>) -> F,
) -> Result<A> {
    calling_with(Patience::Lasting, method, object, deadline, message, call).await
}

/// The same with the patience that is given.
pub(super) async fn calling_with<Q: Clone, A, F: Future<Output = Result<Response<A>, Status>>>(
    patience: Patience,
    method: &'static str,
    object: &str,
    deadline: Deadline,
    message: Q,
    call: impl Fn(Request<Q>) -> F,
) -> Result<A> {
    let span = tracing::info_span!(
        target: "hawser::trace",
        "calling",
        otel.name = method,
        otel.kind = "client",
        object,
        otel.status_code = field::Empty
    );
    let attempts = async {
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = deadline.remaining().min(ATTEMPT);
            let mut request = Request::new(message.clone());
            request.set_timeout(attempt);
            opentelemetry::global::get_text_map_propagator(|propagator| {
                propagator.inject_context(&Span::current().context(), &mut Metadata(request.metadata_mut()));
            });
            let answer = match tokio::time::timeout(attempt, call(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} s", attempt.as_secs()))),
            };
            let status = match answer {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let again = matches!(status.code(), Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled);
            if !again || patience == Patience::Short || deadline.remaining() <= pause {
                return Err(error(method, object, &status));
            }
            tracing::debug!(method, object, code = ?status.code(), message = status.message(), "asking the driver again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    let result = attempts.instrument(span.clone()).await;
    if result.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    result
}

/// Where the driver finds which trace a call belongs to (W3C Trace Context).
struct Metadata<'m>(&'m mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

fn error(method: &str, object: &str, status: &Status) -> Error {
    let kind = match status.code() {
        // Not a listing token: another call for the volume was under way all the time.
        Code::Aborted => Kind::Unavailable,
        code => status::kind(code),
    };
    Error::new(kind, format!("{method} {object}: {}", status.message()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn answered(patience: Patience, answers: &[Code], deadline: Duration) -> (Result<u32>, u32) {
        let asked = AtomicU32::new(0);
        let call = |_: Request<()>| {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            std::future::ready(match answers.get(number as usize) {
                Some(Code::Ok) | None => Ok(Response::new(number)),
                Some(code) => Err(Status::new(*code, "said the driver")),
            })
        };
        let result = calling_with(patience, "Method", "volume", Deadline::after(deadline), (), call).await;
        (result, asked.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn not_now_is_asked_again_and_no_is_not() {
        let minute = Duration::from_secs(60);
        let (answer, asked) = answered(Patience::Short, &[Code::Unavailable, Code::Ok], minute).await;
        assert_eq!((answer.unwrap_err().kind(), asked), (Kind::Unavailable, 1));
        let (answer, asked) =
            answered(Patience::Lasting, &[Code::Unavailable, Code::Aborted, Code::DeadlineExceeded, Code::Ok], minute).await;
        assert_eq!((answer.unwrap(), asked), (3, 4));
        for code in [Code::FailedPrecondition, Code::NotFound, Code::Internal, Code::ResourceExhausted] {
            let (answer, asked) = answered(Patience::Lasting, &[code], minute).await;
            let error = answer.unwrap_err();
            assert_eq!((error.kind(), asked), (status::kind(code), 1));
            assert_eq!(error.to_string(), "Method volume: said the driver");
        }
    }

    #[tokio::test]
    async fn the_deadline_ends_it_with_the_last_word() {
        let (answer, asked) = answered(Patience::Lasting, &[Code::Aborted; 1000], Duration::from_millis(500)).await;
        assert_eq!(answer.unwrap_err().kind(), Kind::Unavailable);
        // After 0, 100 and 300 ms; the next pause would be longer than what is left.
        assert!((1..=3).contains(&asked), "{asked}");
    }
}
