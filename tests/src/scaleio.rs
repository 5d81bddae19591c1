//! A ScaleIO for tests: the gateways of one system, in front of one array.
//!
//! Each gateway has its own address, certificate and tokens; the array is one. Two faces: that of gateways up to 3.x, whose token is a
//! password, and that of 4.x, whose token is a bearer's. Names are unique, sizes rounded, mappings refused, pools fill, removals take
//! their time, all as the array does it, with its sentences and numbers. Tokens run out, gateways fall silent and die with requests
//! under way, answers get lost ([`Trick`], [`Chances`]). PyPowerFlex, Dell's own client, speaks with it as it does with a gateway
//! (`tests/tests/scaleio`).

mod beside;
pub mod devices;
mod door;
mod login;
mod object;
mod pools;
mod refused;
mod sdcs;
mod snapshots;
mod volumes;
mod world;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

pub use beside::Beside;
use rustix::process::Pid;
pub use volumes::{Mapped, Volume};
pub use world::World;

use crate::storage::{Moment, Victim};
use crate::trouble::Trouble;
pub use crate::trouble::{Chances, Trick};

/// Who may do everything, with [`PASSWORD`].
pub const USER: &str = "admin";
/// Who may only look, with [`PASSWORD`].
pub const MONITOR: &str = "monitor";
/// The password of both.
pub const PASSWORD: &str = "Pa55: wo/rd%";

/// How it is and behaves.
#[derive(Debug, Clone)]
pub struct ScaleIoSettings {
    /// The version of the API: from `4.0` on, the face of 4.x.
    pub version: String,
    /// How many gateways.
    pub gateways: usize,
    /// The id of the system.
    pub system: String,
    /// For how many requests a token is good.
    pub token_uses: Option<u32>,
    /// Without `/rest/auth` on 4.x: the token of `/api/login` is the bearer's.
    pub without_jwt: bool,
    /// How many looks a removed volume is still there for.
    pub removal: u32,
    /// What the volumes of a pool can have together, in GiB.
    pub pool_gib: u64,
    /// Numbers in answers as text, as some releases write some of them.
    pub numbers_as_text: bool,
    /// The numbers of refusals as 4.x has them.
    pub renumbered: bool,
    /// Most volumes of an SDC.
    pub volumes_per_sdc: usize,
}

impl Default for ScaleIoSettings {
    fn default() -> Self {
        Self {
            version: "3.6".to_owned(),
            gateways: 1,
            system: "14dbbf5617523654".to_owned(),
            token_uses: None,
            without_jwt: false,
            removal: 0,
            pool_gib: 1 << 20,
            numbers_as_text: false,
            renumbered: false,
            volumes_per_sdc: 8192,
        }
    }
}

/// The simulator. Ends when it is dropped.
#[derive(Debug)]
pub struct ScaleIo {
    place: tempfile::TempDir,
    state: Arc<State>,
    doors: Mutex<Vec<door::Door>>,
}

#[derive(Debug)]
pub(crate) struct State {
    settings: ScaleIoSettings,
    world: Mutex<World>,
    /// Somebody has asked for something.
    changed: Condvar,
    trouble: Mutex<Trouble>,
    victim: Victim,
    tokens: Vec<Mutex<login::Tokens>>,
    slow: Vec<AtomicU64>,
    /// Requests that were refused by the array or its door, by path and sentence.
    refused: Mutex<Vec<(String, String)>>,
}

impl ScaleIo {
    /// Starts it on free ports.
    pub async fn start(settings: ScaleIoSettings) -> Self {
        let listeners = (0..settings.gateways).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        Self::serve(listeners, settings)
    }

    /// Starts it with a gateway at each of these listeners; to be called within a runtime.
    pub fn serve(listeners: Vec<TcpListener>, settings: ScaleIoSettings) -> Self {
        let place = tempfile::tempdir().unwrap();
        let count = listeners.len();
        let state = Arc::new(State {
            world: Mutex::new(World::new(&settings)),
            changed: Condvar::new(),
            trouble: Mutex::new(Trouble::new(None)),
            victim: Victim::default(),
            tokens: (0..count).map(|_| Mutex::default()).collect(),
            slow: (0..count).map(|_| AtomicU64::new(0)).collect(),
            refused: Mutex::default(),
            settings,
        });
        let open = |(number, listener)| door::Door::open(number, listener, Arc::clone(&state));
        let doors: Vec<door::Door> = listeners.into_iter().enumerate().map(open).collect();
        let authorities: String = doors.iter().map(door::Door::certificate).collect();
        std::fs::write(place.path().join("ca.pem"), authorities).unwrap();
        std::fs::write(place.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Self { place, state, doors: Mutex::new(doors) }
    }

    /// The addresses of the gateways.
    pub fn addresses(&self) -> Vec<String> {
        self.doors().iter().map(|door| format!("https://{}", door.address())).collect()
    }

    /// The file with the gateways' certificates.
    pub fn ca_file(&self) -> PathBuf {
        self.place.path().join("ca.pem")
    }

    /// The file with the password.
    pub fn password_file(&self) -> PathBuf {
        self.place.path().join("password")
    }

    /// Where a test may put its own files.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    /// The SHA-256 of the certificate of a gateway.
    pub fn fingerprint(&self, gateway: usize) -> String {
        self.doors()[gateway].fingerprint()
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

    /// How often each action was asked for.
    pub fn asked(&self) -> BTreeMap<String, u64> {
        self.state.trouble.lock().unwrap().asked.clone()
    }

    /// What was refused: the path and the sentence.
    pub fn refused(&self) -> Vec<(String, String)> {
        self.state.refused.lock().unwrap().clone()
    }

    /// Forgets all tokens of all gateways.
    pub fn expire_tokens(&self) {
        for tokens in &self.state.tokens {
            tokens.lock().unwrap().clear();
        }
    }

    /// Answers of this gateway take so long from now on.
    pub fn slow(&self, gateway: usize, pause: Duration) {
        self.state.slow[gateway].store(u64::try_from(pause.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Ends a gateway with everything that is under way there. What it has asked the array for is done.
    pub fn kill(&self, gateway: usize) {
        self.doors()[gateway].close();
    }

    /// Starts a gateway that was ended, at the same address.
    pub async fn revive(&self, gateway: usize) {
        let old = {
            let doors = self.doors();
            doors[gateway].close();
            doors[gateway].clone_shut()
        };
        let door = old.reopen(Arc::clone(&self.state)).await;
        self.doors()[gateway] = door;
    }

    fn doors(&self) -> MutexGuard<'_, Vec<door::Door>> {
        self.doors.lock().unwrap()
    }
}
