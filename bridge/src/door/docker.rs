//! The Docker volume plugin: JSON over HTTP, as dockerd, podman and dvdcli speak it.
//!
//! Source: Docker's "Volume plugins" reference, and what moby's `daemon/volume/drivers/proxy.go` sends. All requests are POST; a
//! body may be missing; the content type is not looked at, as dvdcli sends none. An error is `{"Err": "…"}` with status 500.
//!
//! The scope is global: a volume that was made through one node's plugin is found by every other one's. Mounts are not counted,
//! but their users are remembered by the ids that dockerd gives them; dvdcli gives none, since Mesos counts its containers itself
//! and calls Unmount for the last one.
//!
//! What callers make of an answer decides what they get (tests/tests/peers holds them to it):
//!
//! * A refusal of Get means to dockerd that the volume does not exist, and `docker run` goes on with a local one. So Get is refused
//!   only when that is so; when it cannot be found out, the connection is closed without an answer, which is an error to dockerd.
//! * A request that dockerd repeats after a cut connection has lost its body. Nobody can tell what it was about.
//! * A refused or late Unmount makes Podman believe for ever that the volume is mounted. So Podman is told at once, and what is left to
//!   do goes on without it.
//! * A caller that has hung up does not know of its Mount and will never send the Unmount. It does not count as a user.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hawser_volume::{Deadline, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tracing::{Instrument, field};

use super::silence::{self, Silence};
use crate::declare::docker;
use crate::lifecycle::{Lifecycle, Seen};

/// The content type of the answers.
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.docker.plugins.v1.1+json");

/// The largest request that is read, in bytes. A name and all options that can be written on a command line have less.
const REQUEST_MAX: usize = 1 << 20;

/// How long Create and Mount wait. dockerd gives up after 120 s, and Mesos kills dvdcli then.
const LONG: Duration = Duration::from_secs(115);

/// How long everything else waits. dockerd gives up after 60 s.
const SHORT: Duration = Duration::from_secs(55);

/// How long Get tries to find out whether there is a volume. dockerd asks four more times within 15 s when it is not answered then.
const DOUBT: Duration = Duration::from_secs(20);

/// The ID that Podman gives for every container and every volume; it counts its containers itself
/// (podman: `libpod/volume_internal_common.go`, `pseudoCtrID`).
const PODMAN: &str = "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2";

/// How long Podman is kept waiting where it must not miss the answer. It gives up after 5 s (`volume_plugin_timeout`).
const PODMANS: Duration = Duration::from_secs(3);

/// What a request may say.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked {
    name: String,
    opts: Option<BTreeMap<String, String>>,
    #[serde(rename = "ID")]
    id: String,
}

/// Serves the plugin on `listener` until `stop` is ready.
pub async fn serve(lifecycle: Lifecycle, listener: UnixListener, stop: impl Future<Output = ()> + Send) {
    silence::serve(listener, router(lifecycle), stop).await;
}

fn router(lifecycle: Lifecycle) -> Router {
    Router::new()
        .route("/Plugin.Activate", post(async || answer(Ok(json!({ "Implements": ["VolumeDriver"] })))))
        .route("/VolumeDriver.Capabilities", post(async || answer(Ok(json!({ "Capabilities": { "Scope": "global" } })))))
        .route("/VolumeDriver.Create", post(create))
        .route("/VolumeDriver.Remove", post(remove))
        .route("/VolumeDriver.Mount", post(mount))
        .route("/VolumeDriver.Unmount", post(unmount))
        .route("/VolumeDriver.Path", post(path))
        .route("/VolumeDriver.Get", post(get))
        .route("/VolumeDriver.List", post(list))
        .fallback(async || answer(Err(Error::unsupported("this plugin has no such endpoint; it implements VolumeDriver"))))
        .layer(DefaultBodyLimit::max(REQUEST_MAX))
        .layer(middleware::from_fn(traced))
        .with_state(lifecycle)
}

/// Everything that a request leads to is one trace.
async fn traced(request: Request, next: Next) -> Response {
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let span = tracing::info_span!(
        target: "hawser::trace",
        "docker",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = field::Empty
    );
    let response = next.run(request).instrument(span.clone()).await;
    if !response.status().is_success() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

async fn create(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    let created = async {
        let asked = read(&body)?;
        let (claim, warnings) = docker::claim(&asked.name, &asked.opts.unwrap_or_default()).into_result()?;
        for warning in warnings {
            tracing::warn!(volume = asked.name, "{warning}");
        }
        lifecycle.declare(&asked.name, claim, Deadline::after(LONG)).await
    };
    answer(created.await.map(|()| json!({})))
}

async fn remove(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    let removed = async { lifecycle.remove(&read(&body)?.name, Deadline::after(SHORT)).await };
    answer(removed.await.map(|()| json!({})))
}

async fn mount(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    let mounted = async {
        let asked = read(&body)?;
        let patience = if asked.id == PODMAN { PODMANS } else { Duration::MAX };
        lifecycle.mount(&asked.name, &asked.id, patience, Deadline::after(LONG)).await
    };
    answer(mounted.await.map(|path| json!({ "Mountpoint": path })))
}

async fn unmount(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    let unmounted = async {
        let asked = read(&body)?;
        if asked.id != PODMAN {
            return lifecycle.unmount(&asked.name, &asked.id, Deadline::after(SHORT)).await;
        }
        lifecycle.check_out(&asked.name, &asked.id).await?;
        if let Err(error) = lifecycle.unmount(&asked.name, &asked.id, Deadline::after(PODMANS)).await {
            tracing::warn!(
                volume = asked.name,
                error = error.chain(),
                "podman does not use the volume any more; not unmounted yet"
            );
        }
        Ok(())
    };
    answer(unmounted.await.map(|()| json!({})))
}

async fn path(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    let seen = async { see(&lifecycle, &read(&body)?.name).await? };
    answer(seen.await.map(|seen| json!({ "Mountpoint": mountpoint(&seen) })))
}

async fn get(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    if body.is_empty() {
        tracing::info!("dockerd repeats a Get without its body, so that nobody knows what it asks for; not answered");
        return Silence.into_response();
    }
    let asked = match read(&body) {
        Ok(asked) => asked,
        Err(error) => return answer(Err(error)),
    };
    match see(&lifecycle, &asked.name).await {
        Ok(found) => answer(found.map(|seen| json!({ "Volume": described(&seen) }))),
        Err(error) => {
            tracing::warn!(
                volume = asked.name,
                error = error.chain(),
                "whether there is such a volume cannot be found out; not answered"
            );
            Silence.into_response()
        }
    }
}

async fn list(State(lifecycle): State<Lifecycle>) -> Response {
    let short = |seen: &Seen| json!({ "Name": seen.name, "Mountpoint": mountpoint(seen) });
    answer(lifecycle.list().await.map(|all| json!({ "Volumes": all.iter().map(short).collect::<Vec<_>>() })))
}

/// The volume, or that there is none; the outer error says that it could not be found out.
async fn see(lifecycle: &Lifecycle, name: &str) -> Result<Result<Seen>> {
    let found = lifecycle.see(name, Deadline::after(DOUBT)).await?;
    Ok(found.ok_or_else(|| Error::not_found(format!("no such volume: {name}"))))
}

fn mountpoint(seen: &Seen) -> String {
    seen.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}

fn described(seen: &Seen) -> Value {
    let mut status = serde_json::Map::new();
    if let Some(id) = &seen.id {
        status.insert("volume_id".to_owned(), json!(id));
    }
    if let Some(size) = seen.size {
        status.insert("size".to_owned(), json!(size.to_string()));
    }
    let mut volume = json!({ "Name": seen.name, "Mountpoint": mountpoint(seen), "Status": status });
    if let Some(since) = seen.since {
        let at = UNIX_EPOCH + Duration::from_secs(since);
        volume["CreatedAt"] = json!(humantime::format_rfc3339_seconds(at).to_string());
    }
    volume
}

fn read(body: &Bytes) -> Result<Asked> {
    if body.is_empty() {
        return Err(Error::invalid(
            "the request has no body; dockerd repeats requests so when the connection was cut: do again what led to it",
        ));
    }
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        Error::invalid("the request is no JSON object with the fields of the Docker volume plugin API").caused_by(error)
    })?;
    if asked.name.is_empty() {
        return Err(Error::invalid("Name is required"));
    }
    Ok(asked)
}

/// An answer as Docker reads it. The field `Err` is there in either case; old clients look at nothing else.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    fields: Value,
    #[serde(rename = "Err")]
    err: String,
}

fn answer(result: Result<Value>) -> Response {
    let (status, answer) = match result {
        Ok(fields) => (StatusCode::OK, Answer { fields, err: String::new() }),
        Err(error) => {
            tracing::warn!(error = error.chain(), "a request to the Docker volume plugin failed");
            (StatusCode::INTERNAL_SERVER_ERROR, Answer { fields: json!({}), err: error.chain() })
        }
    };
    (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], axum::Json(answer).into_response().into_body()).into_response()
}
