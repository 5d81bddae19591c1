//! What operators ask a running bridge for, through a socket in its state directory, which is root's alone: JSON over HTTP.
//!
//! A command of its own could not do it: the ledger is open in one process, and Mesos' agent must be told by the one that it knows.

use std::future::Future;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::plugin::Address;
use super::silence;
use crate::provider::{Operator, Unoffered};

/// The name of the socket.
const SOCKET: &str = "operator.sock";

const ADOPT: &str = "adopt";
const UNOFFERED: &str = "unoffered";

/// The request to have a volume offered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Adopt {
    volume: String,
}

/// The volumes that nobody offers.
#[derive(Debug, Serialize, Deserialize)]
struct Volumes {
    volumes: Vec<Unoffered>,
}

/// Where the bridge whose state is in this directory listens.
pub fn socket(state: &Path) -> PathBuf {
    state.join(SOCKET)
}

/// Serves operators on `listener` until `stop` is ready.
pub async fn serve(operator: Operator, listener: UnixListener, stop: impl Future<Output = ()> + Send) {
    let router = Router::new()
        .route(&format!("/{ADOPT}"), post(adopt))
        .route(&format!("/{UNOFFERED}"), post(unoffered))
        .with_state(operator);
    silence::serve(listener, router, stop).await;
}

async fn adopt(State(operator): State<Operator>, body: Bytes) -> (StatusCode, axum::Json<Value>) {
    let adopted = async {
        let read = serde_json::from_slice(&body);
        let Adopt { volume } = read.map_err(|error| Error::invalid("read what is to be adopted").caused_by(error))?;
        operator.adopt(&volume).await.map_err(|error| error.while_doing(format_args!("adopt {volume}")))
    };
    answer(adopted.await.map(|()| json!({})))
}

async fn unoffered(State(operator): State<Operator>) -> (StatusCode, axum::Json<Value>) {
    answer(operator.unoffered().await.map(|volumes| json!(Volumes { volumes })))
}

fn answer(result: Result<Value>) -> (StatusCode, axum::Json<Value>) {
    match result {
        Ok(value) => (StatusCode::OK, axum::Json(value)),
        Err(error) => {
            tracing::warn!(error = error.chain(), "an operator is refused");
            (StatusCode::CONFLICT, axum::Json(json!({ "Err": error.chain() })))
        }
    }
}

/// Asks the bridge whose state is in this directory to [adopt](Operator::adopt) a volume. `Unavailable` with its words when it refuses, or
/// when it does not run.
pub async fn ask_to_adopt(state: &Path, volume: &str) -> Result<()> {
    Address::Socket(socket(state)).call(ADOPT, json!(Adopt { volume: volume.to_owned() })).await.map(drop)
}

/// Asks the bridge whose state is in this directory which volumes [nobody offers](Operator::unoffered). Errors as above.
pub async fn ask_for_unoffered(state: &Path) -> Result<Vec<Unoffered>> {
    let answer = Address::Socket(socket(state)).call(UNOFFERED, json!({})).await?;
    let Volumes { volumes } = serde_json::from_value(answer).map_err(|error| {
        Error::unavailable("the bridge's answer is not understood; is it of the same version?").caused_by(error)
    })?;
    Ok(volumes)
}
