//! A Mesos that is a small HTTP server: it leads, sends elsewhere, hangs or talks nonsense, and keeps a registry.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::tls::Tls;

/// What became of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Active,
    Inactive,
    Recovered,
    /// In the registry, and not among the agents: a transition is under way.
    Admitted,
    /// Since when, in seconds.
    Unreachable(u64),
    Gone(u64),
}

/// What the server does with a question.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Answers, as a master that leads.
    Leads,
    /// As a standby master does: the API leads elsewhere, and the registry is empty (recorded from Mesos 1.11.0).
    Standby(String),
    /// Answers with this status and text.
    Refuses(u16, &'static str),
    /// Takes the question and says nothing.
    Hangs,
    /// Answers one call, or `registry`, with this body, and the others as a leader.
    Says(&'static str, String),
    /// Sends one byte every so often, for ever.
    Drips(Duration),
}

/// What a question brought along.
#[derive(Debug, Clone)]
pub struct Asked {
    pub call: String,
    pub authorization: Option<String>,
}

#[derive(Debug)]
pub struct State {
    pub id: String,
    pub elected: f64,
    pub manner: Manner,
    pub agents: BTreeMap<String, (Fate, Value)>,
    /// What is said instead of what follows from the rest: recorded from a real Mesos.
    pub recorded: BTreeMap<&'static str, String>,
    pub asked: Vec<Asked>,
}

/// The server. It ends with the test's runtime.
#[derive(Debug, Clone)]
pub struct Fake {
    pub address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::serve(listener, address, "http")
    }

    /// The same behind TLS, with a certificate of an authority that nobody knows: its own, in PEM.
    pub async fn start_tls() -> (Self, String) {
        let listener = Tls::bind().await;
        let (address, authority) = (listener.inner.local_addr().unwrap(), listener.authority.clone());
        (Self::serve(listener, address, "https"), authority)
    }

    fn serve<L: Listener>(listener: L, address: SocketAddr, scheme: &'static str) -> Self
    where
        L::Addr: std::fmt::Debug,
    {
        let state = Arc::new(Mutex::new(State {
            id: "master-1".into(),
            elected: 1_795_310_708.185_284_1,
            manner: Manner::Leads,
            agents: BTreeMap::new(),
            recorded: BTreeMap::new(),
            asked: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let router = Router::new().fallback(move |request: Request| answer(Arc::clone(&shared), request));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, scheme, state }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub fn manner(&self, manner: Manner) {
        self.set(|state| state.manner = manner);
    }

    /// An agent on `node`, by its attribute.
    pub fn agent(&self, id: &str, node: &str, fate: Fate) {
        self.agent_with(id, fate, json!([{"name": "csi_node", "type": "TEXT", "text": {"value": node}}]));
    }

    pub fn agent_with(&self, id: &str, fate: Fate, attributes: Value) {
        let info = json!({"id": {"value": id}, "hostname": format!("host-of-{id}"), "attributes": attributes});
        self.set(|state| state.agents.insert(id.into(), (fate, info)));
    }

    /// The agent's own server, as it tells the master.
    pub fn process(&self, id: &str, process: String) {
        self.set(|state| state.agents.get_mut(id).unwrap().1["process"] = process.into());
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.set(|state| state.asked.clone())
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let call = match path.as_str() {
        "/registrar(1)/registry" => "registry".to_owned(),
        "/master/api/v1" | "/slave(1)/api/v1" => {
            serde_json::from_slice::<Value>(&body).unwrap()["type"].as_str().unwrap().to_owned()
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let (manner, said) = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { call: call.clone(), authorization });
        let said = state.recorded.get(call.as_str()).cloned().unwrap_or_else(|| said(&state, &call).to_string());
        (state.manner.clone(), said)
    };
    match manner {
        Manner::Leads => json_response(said),
        Manner::Standby(_) if call == "registry" => json_response("{}".into()),
        Manner::Standby(leader) => {
            let location = format!("//{leader}/master/api/v1");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
        }
        Manner::Refuses(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Manner::Hangs => std::future::pending().await,
        Manner::Says(which, body) if which == call => json_response(body),
        Manner::Says(..) => json_response(said),
        Manner::Drips(every) => Response::new(drip(every)),
    }
}

fn json_response(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// What a leading master says, from its state.
fn said(state: &State, call: &str) -> Value {
    let with = |wanted: fn(Fate) -> bool| state.agents.values().filter(move |(fate, _)| wanted(*fate));
    let marked = |since: fn(Fate) -> Option<u64>| -> Vec<Value> {
        state
            .agents
            .values()
            .filter_map(|(fate, info)| {
                Some(json!({"id": info["id"], "timestamp": {"nanoseconds": since(*fate)? * 1_000_000_000}}))
            })
            .collect()
    };
    match call {
        "GET_MASTER" => json!({"type": call, "get_master": {
            "master_info": {"id": state.id, "port": 5050, "hostname": "localhost"},
            "start_time": state.elected - 0.1, "elected_time": state.elected}}),
        "GET_AGENTS" => {
            let agents: Vec<Value> = with(|fate| matches!(fate, Fate::Active | Fate::Inactive))
                .map(|(fate, info)| json!({"agent_info": info, "active": *fate == Fate::Active, "pid": info["process"]}))
                .collect();
            let recovered: Vec<&Value> = with(|fate| fate == Fate::Recovered).map(|(_, info)| info).collect();
            json!({"type": call, "get_agents": {"agents": agents, "recovered_agents": recovered}})
        }
        "registry" => {
            let admitted: Vec<Value> = with(|fate| !matches!(fate, Fate::Unreachable(_) | Fate::Gone(_)))
                .map(|(_, info)| json!({"info": info}))
                .collect();
            let unreachable = marked(|fate| if let Fate::Unreachable(since) = fate { Some(since) } else { None });
            let gone = marked(|fate| if let Fate::Gone(since) = fate { Some(since) } else { None });
            json!({"master": {"info": {"id": state.id}}, "slaves": {"slaves": admitted},
                "unreachable": {"slaves": unreachable}, "gone": {"slaves": gone}})
        }
        // An agent: the first of them.
        "GET_AGENT" => {
            let info = state.agents.values().map(|(_, info)| info.clone()).next();
            json!({"type": call, "get_agent": {"agent_info": info}})
        }
        _ => Value::Null,
    }
}

/// A body that never ends and hardly moves.
fn drip(every: Duration) -> Body {
    Body::from_stream(stream::unfold(tokio::time::interval(every), |mut ticks| async {
        ticks.tick().await;
        Some((Ok::<_, Infallible>(" "), ticks))
    }))
}
