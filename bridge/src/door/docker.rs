//! The Docker volume plugin: JSON over HTTP, as dockerd, podman and dvdcli speak it.
//!
//! Source: Docker's "Volume plugins" reference, and what moby's `daemon/volume/drivers/proxy.go` sends. All requests are POST; a
//! body may be missing; the content type is not looked at, as dvdcli sends none. An error is `{"Err": "…"}` with status 500.
//!
//! The scope is global: a volume that was made through one node's plugin is found by every other one's. Mounts are not counted,
//! but their users are remembered by the ids that dockerd gives them; dvdcli gives none, since Mesos counts its containers itself
//! and calls Unmount for the last one.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hawser_volume::{Deadline, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UnixListener;

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
pub async fn serve(lifecycle: Lifecycle, listener: UnixListener, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    axum::serve(listener, router(lifecycle))
        .with_graceful_shutdown(stop)
        .await
        .map_err(|error| Error::unavailable("serve the Docker volume plugin").caused_by(error))
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
        .with_state(lifecycle)
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
        lifecycle.mount(&asked.name, &asked.id, Deadline::after(LONG)).await
    };
    answer(mounted.await.map(|path| json!({ "Mountpoint": path })))
}

async fn unmount(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    let unmounted = async {
        let asked = read(&body)?;
        lifecycle.unmount(&asked.name, &asked.id, Deadline::after(SHORT)).await
    };
    answer(unmounted.await.map(|()| json!({})))
}

async fn path(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    answer(seen(&lifecycle, &body).await.map(|seen| json!({ "Mountpoint": mountpoint(&seen) })))
}

async fn get(State(lifecycle): State<Lifecycle>, body: Bytes) -> Response {
    answer(seen(&lifecycle, &body).await.map(|seen| json!({ "Volume": described(&seen) })))
}

async fn list(State(lifecycle): State<Lifecycle>) -> Response {
    let short = |seen: &Seen| json!({ "Name": seen.name, "Mountpoint": mountpoint(seen) });
    answer(lifecycle.list().await.map(|all| json!({ "Volumes": all.iter().map(short).collect::<Vec<_>>() })))
}

async fn seen(lifecycle: &Lifecycle, body: &Bytes) -> Result<Seen> {
    let asked = read(body)?;
    let found = lifecycle.see(&asked.name, Deadline::after(SHORT)).await?;
    found.ok_or_else(|| Error::not_found(format!("no such volume: {}", asked.name)))
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
