//! An EC2 for tests: volumes, snapshots and instances behind the Query protocol, with what the real one does and simulators leave
//! out.
//!
//! States take their time ([`Ec2Settings`]); client tokens make one volume of many calls; a volume that has an instance is
//! refused to others; device names, zones and limits are checked; listings come in pages; a new volume is not listed at once;
//! requests are throttled by action, failed, and their answers lost ([`Chances`], [`Trick`]). boto3 speaks with it as it does
//! with EC2, and moto is the oracle for the form of the answers (`tests/tests/ec2`).

mod beside;
mod copies;
pub mod devices;
mod http;
pub mod imds;
mod model;
mod plugin;
mod query;
mod snapshots;
mod volumes;
mod xml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

pub use beside::Beside;
pub use model::{Hold, World};
pub use plugin::Controller;
use rustix::process::Pid;

use crate::storage::{Moment, Victim};
use crate::trouble;
pub use crate::trouble::{Chances, Trick};

/// The zones that there are.
pub const ZONES: [&str; 2] = ["us-east-1a", "us-east-1b"];

/// How long things take, and how much of them there may be.
#[derive(Debug, Clone)]
pub struct Ec2Settings {
    /// From `creating` to `available`.
    pub create: Duration,
    /// From `attaching` to `attached`.
    pub attach: Duration,
    /// From `detaching` to gone.
    pub detach: Duration,
    /// From `modifying` to `optimizing`, and from there to `completed`.
    pub modify: Duration,
    /// Until a volume may be changed again.
    pub modify_again: Duration,
    /// From `pending` to `completed`.
    pub snapshot: Duration,
    /// Until a new volume is listed.
    pub listed: Duration,
    /// Most items of one page.
    pub page: usize,
    /// Most volumes of the account.
    pub volumes: usize,
    /// Most volumes of an instance, its root not counted.
    pub attachments: usize,
    /// Requests at once and a second, of each action that changes something; none are throttled without it.
    pub rate: Option<(f64, f64)>,
    /// Whether volumes can be copied.
    pub copies: bool,
}

impl Default for Ec2Settings {
    fn default() -> Self {
        Self {
            create: Duration::ZERO,
            attach: Duration::ZERO,
            detach: Duration::ZERO,
            modify: Duration::ZERO,
            modify_again: Duration::ZERO,
            snapshot: Duration::ZERO,
            listed: Duration::ZERO,
            page: 1000,
            volumes: 10_000,
            attachments: 27,
            rate: None,
            copies: true,
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

/// The simulator. Ends when it is dropped.
#[derive(Debug)]
pub struct Ec2 {
    address: String,
    state: Arc<State>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct State {
    world: Mutex<World>,
    /// Somebody has asked for a change of the world.
    changed: Condvar,
    /// Where the content of volumes and snapshots is, when there are devices.
    store: OnceLock<PathBuf>,
    trouble: Mutex<trouble::Trouble>,
    victim: Victim,
    last: Mutex<Option<Heard>>,
}

impl Ec2 {
    /// Starts it on a free port.
    pub async fn start(settings: Ec2Settings) -> Self {
        Self::serve(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), settings)
    }

    /// Starts it behind `listener`.
    pub fn serve(listener: std::net::TcpListener, settings: Ec2Settings) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let trouble = Mutex::new(trouble::Trouble::new(settings.rate));
        let state = Arc::new(State {
            world: Mutex::new(World::new(settings)),
            changed: Condvar::new(),
            store: OnceLock::new(),
            trouble,
            victim: Victim::default(),
            last: Mutex::default(),
        });
        let server = tokio::spawn(http::serve(listener, Arc::clone(&state)));
        Self { address, state, server }
    }

    /// Where it answers.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What there is, to look at and to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.state.world.lock().unwrap()
    }

    /// From now on requests suffer by chance; the same seed gives the same fate.
    pub fn chances(&self, chances: Chances, seed: u64) {
        self.state.trouble.lock().unwrap().chances(chances, seed);
    }

    /// The next request for `action` suffers this; several are suffered one after the other.
    pub fn trick(&self, action: &str, trick: Trick) {
        self.state.trouble.lock().unwrap().trick(action, trick);
    }

    /// Kills `process` at this moment of the next request for `action`, which is not answered.
    pub fn kill_at(&self, action: &'static str, moment: Moment, process: Pid) {
        self.state.victim.choose(action, moment, process);
    }

    /// From now on nothing suffers but by order.
    pub fn calm(&self) {
        self.chances(Chances::default(), 1);
    }

    /// How often each action was asked for, throttled requests included.
    pub fn asked(&self) -> BTreeMap<String, u64> {
        self.state.trouble.lock().unwrap().asked.clone()
    }

    /// How many requests were throttled because there were too many.
    pub fn throttled(&self) -> u64 {
        self.state.trouble.lock().unwrap().throttled
    }

    /// The request that came last.
    pub fn last(&self) -> Heard {
        self.state.last.lock().unwrap().clone().unwrap()
    }
}

impl Drop for Ec2 {
    fn drop(&mut self) {
        self.server.abort();
    }
}
