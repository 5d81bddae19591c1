//! A client of a Docker volume plugin, found where Docker finds it (moby `pkg/plugins/discovery.go`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use hawser_volume::{Error, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where sockets of plugins are.
const SOCKETS: &str = "/run/docker/plugins";

/// Where files are that say where plugins listen.
const SPECS: [&str; 2] = ["/etc/docker/plugins", "/usr/lib/docker/plugins"];

/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 16 << 20;

/// How long a plugin may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Socket(PathBuf),
    Tcp(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    addr: String,
    #[serde(rename = "TLSConfig")]
    tls: Option<Value>,
}

impl Address {
    /// The address of the plugin called `name`. `below` takes the place of the system's directories.
    pub(super) fn of(name: &str, below: Option<&Path>) -> Result<Self> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Error::invalid(format!("volume driver {name:?} is no name of a plugin")));
        }
        let sockets = [below.unwrap_or(Path::new(SOCKETS)).to_owned()];
        let specs: Vec<PathBuf> = match below {
            Some(below) => vec![below.to_owned()],
            None => SPECS.iter().map(PathBuf::from).collect(),
        };
        let candidates = |directories: &[PathBuf], ending: &str| -> Vec<PathBuf> {
            let file = format!("{name}.{ending}");
            directories.iter().flat_map(|directory| [directory.join(&file), directory.join(name).join(&file)]).collect()
        };
        if let Some(socket) = candidates(&sockets, "sock").into_iter().find(|path| path.exists()) {
            return Ok(Address::Socket(socket));
        }
        for path in candidates(&specs, "spec") {
            if let Ok(text) = std::fs::read_to_string(&path) {
                return Self::parse(text.trim()).map_err(|error| error.while_doing(path.display()));
            }
        }
        for path in candidates(&specs, "json") {
            if let Ok(text) = std::fs::read_to_string(&path) {
                let spec: Spec = serde_json::from_str(&text)
                    .map_err(|error| Error::invalid(format!("{}: no plugin specification", path.display())).caused_by(error))?;
                if spec.tls.is_some() {
                    return Err(Error::unsupported(format!("{}: TLS to a volume plugin is not supported", path.display())));
                }
                return Self::parse(&spec.addr).map_err(|error| error.while_doing(path.display()));
            }
        }
        Err(Error::not_found(format!(
            "volume driver {name} is not found: there is neither {}/{name}.sock nor a .spec or .json of it; is its service running?",
            sockets[0].display()
        )))
    }

    fn parse(text: &str) -> Result<Self> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Address::Socket(path.into())),
            Some(("tcp" | "http", host)) if !host.is_empty() => Ok(Address::Tcp(host.trim_end_matches('/').to_owned())),
            _ => Err(Error::invalid(format!("address {text:?}: use unix:///path or tcp://host:port"))),
        }
    }

    /// Makes one call, and returns the fields of the answer. An error that the plugin reports is `Unavailable` with its words.
    pub(super) async fn call(&self, method: &str, body: Value) -> Result<Value> {
        let unreachable = |error| Error::unavailable(format!("connect to {self}")).caused_by(error);
        let connect = async {
            Ok::<_, std::io::Error>(match self {
                Address::Socket(path) => Connection::Unix(UnixStream::connect(path).await?),
                Address::Tcp(host) => Connection::Tcp(TcpStream::connect(host).await?),
            })
        };
        let connection = tokio::time::timeout(CONNECT, connect)
            .await
            .map_err(|_| Error::unavailable(format!("{self} did not accept a connection within {} s", CONNECT.as_secs())))?;
        match connection.map_err(unreachable)? {
            Connection::Unix(stream) => self.speak(stream, method, body).await,
            Connection::Tcp(stream) => self.speak(stream, method, body).await,
        }
    }

    async fn speak<S>(&self, stream: S, method: &str, body: Value) -> Result<Value>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |what: &str| Error::unavailable(format!("{what} {self}"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed("speak to").caused_by(error))?;
        tokio::spawn(connection);
        let request = Request::post(format!("/{method}"))
            .header("Host", "plugin")
            .header("Accept", "application/vnd.docker.plugins.v1.2+json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| failed("ask").caused_by(error))?;
        let answer = sender.send_request(request).await.map_err(|error| {
            if error.is_incomplete_message() {
                return Error::unavailable(format!(
                    "{self} closed the connection without an answer to {method}; it was stopped, or it could not \
                     find out whether there is such a volume: its log says why"
                ));
            }
            failed("ask").caused_by(error)
        })?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let bytes = bytes.map_err(|error| failed(&format!("read the answer ({error}) of")))?.to_bytes();
        let fields: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            // A plugin behind a proxy may answer in plain text.
            Value::String(String::from_utf8_lossy(&bytes).trim().to_owned())
        });
        let err = fields.get("Err").or_else(|| fields.get("Error")).and_then(Value::as_str).unwrap_or_default();
        match (status, err) {
            (StatusCode::OK, "") => Ok(fields),
            (_, "") => Err(failed(&format!("{method} failed with status {status} ({}) at", fields.as_str().unwrap_or_default()))),
            (_, err) => Err(Error::unavailable(err.to_owned())),
        }
    }
}

enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "{}", path.display()),
            Address::Tcp(host) => f.write_str(host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_found_where_docker_looks() {
        let directory = tempfile::tempdir().unwrap();
        let below = Some(directory.path());
        assert!(Address::of("hawser", below).unwrap_err().to_string().contains("is its service running"));
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("hawser.json", r#"{"Name": "hawser", "Addr": "tcp://127.0.0.1:80"}"#);
        assert_eq!(Address::of("hawser", below).unwrap(), Address::Tcp("127.0.0.1:80".to_owned()));
        write("hawser.spec", "unix:///run/hawser.sock\n");
        assert_eq!(Address::of("hawser", below).unwrap(), Address::Socket("/run/hawser.sock".into()));
        write("hawser.sock", "");
        assert_eq!(Address::of("hawser", below).unwrap(), Address::Socket(directory.path().join("hawser.sock")));
        write("tls.json", r#"{"Name": "tls", "Addr": "tcp://h:1", "TLSConfig": {"CAFile": "/ca"}}"#);
        assert!(Address::of("tls", below).unwrap_err().to_string().contains("TLS"));
        for name in ["", "../hawser", ".hidden"] {
            assert!(Address::of(name, below).is_err(), "{name:?}");
        }
    }
}
