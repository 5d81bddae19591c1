//! The instance metadata service of one instance (EC2 User Guide, "Instance metadata"), version 2: nothing without a token.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// What an instance is.
#[derive(Debug, Clone)]
pub struct Face {
    /// Its id.
    pub instance: String,
    /// Its zone.
    pub zone: String,
    /// Its type.
    pub instance_type: String,
    /// How many network interfaces it has.
    pub interfaces: u32,
    /// How many volumes it was started with besides the root volume.
    pub volumes: u32,
}

impl Face {
    /// An instance as most are.
    pub fn new(instance: &str, zone: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            zone: zone.to_owned(),
            instance_type: "m5.large".to_owned(),
            interfaces: 1,
            volumes: 0,
        }
    }
}

/// What is wrong with the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// This status to a request for a token.
    Token(u16),
    /// This status to every other request.
    Items(u16),
    /// Answers take this long.
    Slow(Duration),
    /// The identity document is this.
    Document(Vec<u8>),
}

/// The service. It ends when this is dropped.
#[derive(Debug)]
pub struct Imds {
    address: String,
    state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    face: Face,
    wrong: Option<Wrong>,
    tokens: u32,
}

impl Imds {
    /// Starts the service of an instance behind `listener`.
    pub fn start(listener: TcpListener, face: Face) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { face, wrong: None, tokens: 0 }));
        let shared = Arc::clone(&state);
        let door = Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap| {
            let state = Arc::clone(&shared);
            async move { serve(&state, &method, uri.path(), &headers).await }
        });
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, door).await;
        });
        Self { address, state, server }
    }

    /// Where it answers.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on something is wrong with it, or nothing.
    pub fn go_wrong(&self, wrong: Option<Wrong>) {
        self.state.lock().unwrap().wrong = wrong;
    }
}

impl Drop for Imds {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(state: &Mutex<State>, method: &Method, path: &str, headers: &HeaderMap) -> Response {
    let wrong = state.lock().unwrap().wrong.clone();
    if let Some(Wrong::Slow(time)) = wrong {
        tokio::time::sleep(time).await;
    }
    let mut state = state.lock().unwrap();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let say = |status: u16, body: Bytes| (StatusCode::from_u16(status).unwrap(), body).into_response();
    let refuse = |status: u16| say(status, Bytes::new());
    if method == Method::PUT && path == "/latest/api/token" {
        let seconds: u32 = header("x-aws-ec2-metadata-token-ttl-seconds").parse().unwrap_or(0);
        return match wrong {
            Some(Wrong::Token(status)) => refuse(status),
            _ if !(1..=21_600).contains(&seconds) => refuse(400),
            _ => {
                state.tokens += 1;
                say(200, format!("token-{}", state.tokens).into())
            }
        };
    }
    // Tokens are numbered from 1 on.
    let token = header("x-aws-ec2-metadata-token").strip_prefix("token-").and_then(|number| number.parse::<u32>().ok());
    if method != Method::GET || token.is_none_or(|number| number == 0 || number > state.tokens) {
        return refuse(401);
    }
    if let Some(Wrong::Items(status)) = wrong {
        return refuse(status);
    }
    let face = &state.face;
    let region = face.zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let lines = |line: &dyn Fn(u32) -> String, count: u32| (1..=count).map(line).collect::<Vec<_>>().join("\n");
    match path {
        "/latest/dynamic/instance-identity/document" => match wrong {
            Some(Wrong::Document(bytes)) => say(200, bytes.into()),
            _ => {
                let document = serde_json::json!({
                    "accountId": "123456789012",
                    "architecture": "x86_64",
                    "availabilityZone": face.zone,
                    "instanceId": face.instance,
                    "instanceType": face.instance_type,
                    "region": region,
                    "version": "2017-09-30",
                });
                say(200, document.to_string().into())
            }
        },
        "/latest/meta-data/network/interfaces/macs/" => {
            say(200, lines(&|number| format!("02:00:00:00:00:{number:02x}/"), face.interfaces).into())
        }
        "/latest/meta-data/block-device-mapping/" => {
            let mapped = lines(&|number| format!("ebs{number}\n"), face.volumes);
            say(200, format!("ami\n{mapped}root").into())
        }
        _ => refuse(404),
    }
}
