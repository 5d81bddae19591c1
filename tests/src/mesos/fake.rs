//! An agent as a resource provider sees it, which does what a test says: also what no agent of Mesos does. It plays the master as well, as
//! far as that is asked what all agents offer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::poll::until_async;

/// How a SUBSCRIBE is answered.
#[derive(Debug, Clone)]
pub enum Welcome {
    /// As agents do.
    Subscribed,
    /// With these bytes, after which the connection is closed.
    Bytes(Vec<u8>),
    /// With these bytes, and nothing more.
    Silence(Vec<u8>),
}

/// What a stream of events is told to do.
#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    Close,
}

#[derive(Debug, Default)]
struct State {
    id: String,
    /// A disk that another agent offers, with the id of that one.
    elsewhere: Option<(String, String)>,
    welcomes: VecDeque<Welcome>,
    /// Calls that no test has looked at yet.
    calls: Vec<Value>,
    /// The one subscription that counts, with its id.
    stream: Option<(String, UnboundedSender<Order>)>,
    subscriptions: usize,
    providers: usize,
    open: usize,
    most_open: usize,
}

/// The agent.
#[derive(Debug)]
pub struct FakeAgent {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    served: JoinHandle<()>,
}

impl FakeAgent {
    /// An agent with this id, whose containers are none and whose files are in `work_dir`.
    pub async fn start(id: &str, work_dir: &Path) -> Self {
        std::fs::create_dir_all(work_dir.join("meta")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { id: id.to_owned(), ..State::default() }));
        let (shared, work_dir) = (Arc::clone(&state), work_dir.to_owned());
        let served = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared), work_dir.clone()));
            }
        });
        Self { address, state, served }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives it another id, as after a restart that did not recover it. Its provider's ids are forgotten.
    pub fn rename(&self, id: &str) {
        id.clone_into(&mut self.state().id);
    }

    /// Has the master list `disk` as one that the agent `other` offers, or as nobody's any more.
    pub fn offer_elsewhere(&self, disk: Option<(&str, &str)>) {
        self.state().elsewhere = disk.map(|(disk, other)| (disk.to_owned(), other.to_owned()));
    }

    /// How the next SUBSCRIBE is answered.
    pub fn welcome_with(&self, welcome: Welcome) {
        self.state().welcomes.push_back(welcome);
    }

    /// Sends an event.
    pub fn say(&self, event: &Value) {
        let text = event.to_string();
        self.say_bytes(format!("{}\n{text}", text.len()).into_bytes());
    }

    /// Sends bytes as a part of the events.
    pub fn say_bytes(&self, bytes: Vec<u8>) {
        let sent = self.state().stream.as_ref().map(|(_, stream)| stream.send(Order::Write(bytes)));
        assert!(matches!(sent, Some(Ok(()))), "nobody is subscribed");
    }

    /// Ends the subscription.
    pub fn cut(&self) {
        if let Some((_, stream)) = self.state().stream.take() {
            let _ = stream.send(Order::Close);
        }
    }

    /// How many subscriptions were asked for.
    pub fn subscriptions(&self) -> usize {
        self.state().subscriptions
    }

    /// The most subscriptions that were open at one time.
    pub fn most_open(&self) -> usize {
        self.state().most_open
    }

    /// Waits for the next call of this type; its body. Calls that came before it are passed over.
    pub async fn call(&self, kind: &str) -> Value {
        until_async(&format!("the call {kind}"), async || {
            let mut state = self.state();
            let at = state.calls.iter().position(|call| call["type"] == kind)?;
            let call = state.calls.drain(..=at).next_back()?;
            Some(call[kind.to_lowercase()].clone())
        })
        .await
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.served.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, work_dir: PathBuf) {
    while let Some((head, body)) = request(&mut stream).await {
        let call: Value = if body.is_empty() { json!({"type": "registry"}) } else { serde_json::from_slice(&body).unwrap() };
        if !head.starts_with("post /slave(1)/api/v1/resource_provider ") {
            let answer = about(&call, &lock(&state), &work_dir).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
            if stream.write_all([head, answer].concat().as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let header = head.lines().find_map(|line| line.strip_prefix("mesos-stream-id:")).map(|id| id.trim().to_owned());
        if call["type"] == "SUBSCRIBE" {
            assert_eq!(header, None, "a SUBSCRIBE with the id of a stream is refused by an agent");
            subscribe(stream, &state, call).await;
            return;
        }
        let status = {
            let mut state = lock(&state);
            let is_current = state.stream.as_ref().is_some_and(|(id, _)| Some(id) == header.as_ref());
            if is_current {
                state.calls.push(call);
            }
            if is_current { "202 Accepted" } else { "400 Bad Request" }
        };
        if stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request: its head, in small letters, and its body.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |text| text.trim().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// What the operator APIs of agent and master say.
fn about(call: &Value, state: &State, work_dir: &Path) -> Value {
    let id = &state.id;
    let listed = |id: &str, resources: Value| json!({"agent_info": {"id": {"value": id}, "hostname": "localhost"}, "active": true, "total_resources": resources});
    match call["type"].as_str().unwrap() {
        "GET_MASTER" => json!({"get_master": {"master_info": {"id": "M"}, "elected_time": 1.0}}),
        "registry" => json!({"master": {"info": {"id": "M"}}}),
        "GET_AGENTS" => {
            let disk = |disk: &str| json!([{"name": "disk", "type": "SCALAR", "disk": {"source": {"type": "RAW", "id": disk}}}]);
            let other = state.elsewhere.as_ref().map(|(disk_id, other)| listed(other, disk(disk_id)));
            let all: Vec<Value> = [listed(id, json!([]))].into_iter().chain(other).collect();
            json!({"get_agents": {"agents": all}})
        }
        "GET_AGENT" => json!({"get_agent": {"agent_info": {"id": {"value": id}, "hostname": "localhost"}}}),
        "GET_FLAGS" => json!({"get_flags": {"flags": [{"name": "work_dir", "value": work_dir}]}}),
        "GET_TASKS" => json!({"get_tasks": {}}),
        "GET_EXECUTORS" => json!({"get_executors": {}}),
        _ => json!({}),
    }
}

async fn subscribe(mut stream: TcpStream, state: &Mutex<State>, call: Value) {
    let (welcome, id, orders) = {
        let mut state = lock(state);
        let info = &call["subscribe"]["resource_provider_info"];
        let id = info["id"]["value"].as_str().map(str::to_owned);
        let id = id.unwrap_or_else(|| {
            state.providers += 1;
            format!("P{}", state.providers)
        });
        state.subscriptions += 1;
        let number = state.subscriptions;
        state.calls.push(call);
        let welcome = state.welcomes.pop_front().unwrap_or(Welcome::Subscribed);
        let (sender, orders) = unbounded_channel();
        state.stream = Some((format!("stream-{number}"), sender));
        state.open += 1;
        state.most_open = state.most_open.max(state.open);
        (welcome, id, orders)
    };
    stream_events(&mut stream, state, welcome, &id, orders).await;
    // The other side may not have noticed; it is not to speak to us meanwhile.
    let _ = stream.shutdown().await;
    lock(state).open -= 1;
}

async fn stream_events(
    stream: &mut TcpStream,
    state: &Mutex<State>,
    welcome: Welcome,
    id: &str,
    mut orders: UnboundedReceiver<Order>,
) {
    match welcome {
        Welcome::Subscribed => {
            let name = lock(state).stream.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
            let event = json!({"type": "SUBSCRIBED", "subscribed": {"provider_id": {"value": id}}}).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMesos-Stream-Id: {name}\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            if stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
            if chunk(stream, format!("{}\n{event}", event.len()).as_bytes()).await.is_err() {
                return;
            }
        }
        Welcome::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            return;
        }
        Welcome::Silence(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
    }
    let mut byte = [0];
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Write(bytes)) => if chunk(stream, &bytes).await.is_err() { return },
                Some(Order::Close) | None => return,
            },
            // Nothing more is said on this connection: it ends.
            _ = stream.read(&mut byte) => return,
        }
    }
}

async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await
}
