//! A gateway: TLS, HTTP, who asks, and what befalls a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::login::{self, Asker};
use super::refused::Refused;
use super::{State, Trick};
use crate::storage::Moment;

/// Largest request, in bytes.
const REQUEST_MAX: usize = 1 << 20;

/// One gateway's address and certificate, and the task that answers there.
#[derive(Debug)]
pub(crate) struct Door {
    shut: Shut,
    task: AbortHandle,
}

/// The same without the task.
#[derive(Debug, Clone)]
pub(crate) struct Shut {
    number: usize,
    address: SocketAddr,
    certificate: String,
    der: Vec<u8>,
    config: Arc<ServerConfig>,
}

impl Door {
    /// At a listener, with a certificate for its address.
    pub(crate) fn open(number: usize, listener: std::net::TcpListener, state: Arc<State>) -> Self {
        let address = listener.local_addr().unwrap();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([address.ip().to_string()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let (certificate, der) = (cert.pem(), cert.der().to_vec());
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        Shut { number, address, certificate, der, config: Arc::new(config) }.serve_at(listener, state)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.shut.address
    }

    pub(crate) fn certificate(&self) -> String {
        self.shut.certificate.clone()
    }

    pub(crate) fn fingerprint(&self) -> String {
        Sha256::digest(&self.shut.der).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn close(&self) {
        self.task.abort();
    }

    pub(crate) fn clone_shut(&self) -> Shut {
        self.shut.clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shut {
    /// At the address that it had; not possible in the network of a rig.
    pub(crate) async fn reopen(self, state: Arc<State>) -> Door {
        let listener = loop {
            // The one before may have to let go of the address yet.
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.serve_at(listener, state)
    }

    fn serve_at(self, listener: TcpListener, state: Arc<State>) -> Door {
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::clone(&self.config)), self.number, state));
        Door { shut: self, task: task.abort_handle() }
    }
}

/// Ends with all its connections.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, number: usize, state: Arc<State>) {
    let router = Router::new().fallback(move |request: Request| {
        let state = Arc::clone(&state);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, REQUEST_MAX).await.unwrap_or_default();
            answer(&state, number, &parts.method, parts.uri.path(), &parts.headers, &body).await
        }
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
                connections.spawn(async move {
                    // Who does not trust it goes away during the handshake.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(state: &State, number: usize, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap_or(Value::Bool(false)) };
    let action = action(method, path);
    let trick = state.trouble.lock().unwrap().next(&action);
    match trick {
        Some(Trick::Throttle) => return refuse(state, path, &Refused::busy()),
        Some(Trick::Fail) => return page(StatusCode::SERVICE_UNAVAILABLE),
        Some(Trick::LoseRequest) => hang_up(),
        Some(Trick::FailAfter | Trick::LoseAnswer) | None => {}
    }
    if state.victim.kill(&action, Moment::Asked) {
        hang_up();
    }
    let done = act(state, number, method, path, headers, &body);
    if state.victim.kill(&action, Moment::Done) {
        hang_up();
    }
    let slow = state.slow[number].load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(slow)).await;
    match trick {
        Some(Trick::FailAfter) => return page(StatusCode::BAD_GATEWAY),
        Some(Trick::LoseAnswer) => hang_up(),
        _ => {}
    }
    match done {
        Done::Said(value) => say(StatusCode::OK, if state.settings.numbers_as_text { as_text(value) } else { value }),
        Done::Silent => StatusCode::NO_CONTENT.into_response(),
        Done::Refused(refused) => refuse(state, path, &refused),
        Done::NoPage => page(StatusCode::NOT_FOUND),
    }
}

/// What came of a request.
pub(crate) enum Done {
    /// This.
    Said(Value),
    /// It is done, and nothing is said.
    Silent,
    /// The gateway or the array refuses.
    Refused(Refused),
    /// The web server knows no such page.
    NoPage,
}

impl From<Result<Value, Refused>> for Done {
    fn from(answer: Result<Value, Refused>) -> Self {
        answer.map_or_else(Done::Refused, Done::Said)
    }
}

fn act(state: &State, number: usize, method: &Method, path: &str, headers: &HeaderMap, body: &Value) -> Done {
    if let Some(done) = login::serve(state, number, path, headers, body) {
        return done;
    }
    let asker = match login::who(state, number, path, headers) {
        Ok(asker) => asker,
        Err(refused) => return Done::Refused(refused),
    };
    if path == "/api/version" {
        return Done::Said(state.settings.version.clone().into());
    }
    let question = *method == Method::GET || path.contains("/action/query");
    if asker == Asker::Monitor && !question {
        return Done::Refused(Refused::no_permission());
    }
    let Some(path) = path.strip_prefix("/api/") else { return Done::NoPage };
    let done = state.world.lock().unwrap().act(method == Method::POST, path, body);
    state.changed.notify_all();
    done
}

/// What a request is about, for tricks and counters: the action, or the type with what is done.
fn action(method: &Method, path: &str) -> String {
    if let Some((_, action)) = path.split_once("/action/") {
        return action.to_owned();
    }
    let parts: Vec<&str> = path.trim_start_matches("/api/").split('/').collect();
    match (method == Method::POST, parts.as_slice()) {
        (true, ["types", kind, "instances"]) => format!("create{kind}"),
        (false, ["types", kind, "instances"]) => format!("list{kind}"),
        (false, ["instances", object]) => format!("get{}", object.split("::").next().unwrap_or_default()),
        (_, ["instances", object, "relationships", related]) => {
            format!("get{}{related}", object.split("::").next().unwrap_or_default())
        }
        _ => parts.last().copied().unwrap_or_default().to_owned(),
    }
}

/// Ends the task of the connection, and the connection with it. No panic is reported.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the connection is cut"))
}

fn refuse(state: &State, path: &str, refused: &Refused) -> Response {
    state.refused.lock().unwrap().push((path.to_owned(), refused.message.clone()));
    let mut response = say(StatusCode::from_u16(refused.status).unwrap(), refused.body(state.settings.renumbered));
    if refused.status == 401 {
        response.headers_mut().insert("www-authenticate", "Basic realm=\"ScaleIO Gateway\"".parse().unwrap());
    }
    response
}

fn say(status: StatusCode, value: Value) -> Response {
    (status, [("content-type", "application/json;charset=UTF-8")], value.to_string()).into_response()
}

fn page(status: StatusCode) -> Response {
    let text = format!("<!doctype html><html><body><h1>HTTP Status {}</h1></body></html>", status.as_u16());
    (status, [("content-type", "text/html;charset=utf-8")], text).into_response()
}

fn as_text(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Array(items) => items.into_iter().map(as_text).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, as_text(value))).collect(),
        other => other,
    }
}
