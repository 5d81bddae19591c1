//! What operators ask a running bridge for, through a socket in its state directory, which is root's alone: JSON over HTTP.
//!
//! A command of its own could not do it: the ledger is open in one process, and Mesos' agent must be told by the one that it knows.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use hawser_volume::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::plugin::Address;
use super::silence;
use crate::driver::Context;
use crate::ledger::{Holding, Ledger};
use crate::provider::{Operator, Unoffered};

/// The name of the socket.
const SOCKET: &str = "operator.sock";

const ADOPT: &str = "adopt";
const UNOFFERED: &str = "unoffered";
const HELD: &str = "held";

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

/// What this node's ledger says of volumes. Nothing of it is secret: contexts are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The volumes that this node holds, or is about to, or is about to give back, by their ids.
    pub holdings: BTreeMap<String, Holding>,
    /// The names that were declared here, each with the id of the volume that it came to, once that is known.
    pub declared: BTreeMap<String, Option<String>>,
}

impl Held {
    /// Reads it. Blocks for the time of a look into the file.
    fn of(ledger: &Ledger) -> Result<Self> {
        let bare = |holding| Holding { context: Context::new(), publish_context: None, ..holding };
        let holdings = ledger.holdings()?.into_iter().map(|(id, holding)| (id, bare(holding))).collect();
        let declared = ledger.all_known()?.into_iter().map(|(name, known)| (name, known.made.map(|made| made.id))).collect();
        Ok(Self { holdings, declared })
    }
}

/// Whoever answers operators.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The provider's, on a bridge that has one.
    pub operator: Option<Operator>,
    /// What this node holds.
    pub ledger: Ledger,
}

impl Desk {
    fn operator(&self) -> Result<&Operator> {
        let none = || Error::precondition("this bridge offers no disks; give its configuration a section bridge.provider");
        self.operator.as_ref().ok_or_else(none)
    }
}

/// Where the bridge whose state is in this directory listens.
pub fn socket(state: &Path) -> PathBuf {
    state.join(SOCKET)
}

/// Serves operators on `listener` until `stop` is ready.
pub async fn serve(desk: Desk, listener: UnixListener, stop: impl Future<Output = ()> + Send) {
    let router = Router::new()
        .route(&format!("/{ADOPT}"), post(adopt))
        .route(&format!("/{UNOFFERED}"), post(unoffered))
        .route(&format!("/{HELD}"), post(held))
        .with_state(desk);
    silence::serve(listener, router, stop).await;
}

async fn adopt(State(desk): State<Desk>, body: Bytes) -> (StatusCode, axum::Json<Value>) {
    let adopted = async {
        let read = serde_json::from_slice(&body);
        let Adopt { volume } = read.map_err(|error| Error::invalid("read what is to be adopted").caused_by(error))?;
        desk.operator()?.adopt(&volume).await.map_err(|error| error.while_doing(format_args!("adopt {volume}")))
    };
    answer(adopted.await.map(|()| json!({})))
}

async fn unoffered(State(desk): State<Desk>) -> (StatusCode, axum::Json<Value>) {
    let listed = async { desk.operator()?.unoffered().await };
    answer(listed.await.map(|volumes| json!(Volumes { volumes })))
}

async fn held(State(desk): State<Desk>) -> (StatusCode, axum::Json<Value>) {
    answer(desk.ledger.apart(Held::of).await.map(|held| json!(held)))
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
    let Volumes { volumes } = understood(answer)?;
    Ok(volumes)
}

/// Asks the bridge whose state is in this directory what its node holds. Changes nothing. Errors as above.
pub async fn ask_what_is_held(state: &Path) -> Result<Held> {
    understood(Address::Socket(socket(state)).call(HELD, json!({})).await?)
}

fn understood<T: DeserializeOwned>(answer: Value) -> Result<T> {
    serde_json::from_value(answer)
        .map_err(|error| Error::unavailable("the bridge's answer is not understood; is it of the same version?").caused_by(error))
}
