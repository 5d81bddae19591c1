//! A server that can close a connection instead of answering.
//!
//! dockerd takes every refusal of Get for "there is no such volume", whatever status and words it comes with, and goes on with an
//! empty directory of the local disk; only a connection that ends without an answer is an error to it (moby:
//! `volume/service/store.go`, `lookupVolume`). `axum::serve` answers always, so connections are served here.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::http::Extensions;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, server::conn::http1};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;

/// The pause after a connection could not be accepted: this process has no more descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(200);

/// What a handler returns instead of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence;

impl IntoResponse for Silence {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request is not answered")
    }
}

impl std::error::Error for Silence {}

fn is_silence(extensions: &Extensions) -> bool {
    extensions.get::<Silence>().is_some()
}

/// Serves `router` until `stop` is ready and the requests that came before it are answered. A handler whose caller closes the
/// connection is dropped.
pub(super) async fn serve(listener: UnixListener, router: Router, stop: impl Future<Output = ()> + Send) {
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = router.call(request);
            async move {
                match answer.await {
                    Ok(response) if is_silence(response.extensions()) => Err(Silence),
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        });
        // Without a timer a connection stays open as long as its client wants: dockerd keeps one, and what it says on one that is being
        // closed would have to be said again.
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::sync::oneshot;

    use super::*;

    /// What comes back for a request to `path`, up to the end of the connection.
    async fn ask(socket: &std::path::Path, path: &str) -> String {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        stream.write_all(format!("POST {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn silence_is_no_byte_and_everything_else_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let router = Router::new().route("/speaks", post(async || "words")).route("/is-silent", post(async || Silence));
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = UnixListener::bind(&socket).unwrap();
        let served = tokio::spawn(serve(listener, router, async move { drop(stopped.await) }));
        for _ in 0..2 {
            assert_eq!(ask(&socket, "/is-silent").await, "");
            let answer = ask(&socket, "/speaks").await;
            assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("words"), "{answer}");
        }
        drop(stop);
        served.await.unwrap();
        assert!(UnixStream::connect(&socket).await.is_err());
    }

    /// What a caller does not wait for is not done on its behalf.
    #[tokio::test]
    async fn a_handler_ends_when_its_caller_hangs_up() {
        struct Dropped(Option<oneshot::Sender<()>>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let senders = std::sync::Arc::new(std::sync::Mutex::new(Some((begin, Dropped(Some(end))))));
        let handler = async move || {
            let (begin, _dropped) = senders.lock().unwrap().take().unwrap();
            begin.send(()).unwrap();
            std::future::pending::<&str>().await
        };
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(serve(listener, Router::new().route("/waits", post(handler)), std::future::pending()));
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(b"POST /waits HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        begun.await.unwrap();
        drop(stream);
        tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().unwrap();
        server.abort();
    }
}
