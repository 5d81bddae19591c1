//! One call until it is answered, by whichever gateway.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hawser_volume::attempt::{Counts, Repeat, Requests};
use hawser_volume::{Deadline, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::config::SystemConfig;
use crate::count::Outcome;
use crate::refusal::{Class, Refusal};
use crate::retry::Pauses;
use crate::session::Session;
use crate::tls;
use crate::wire::{self, Wire};

/// Most requests at one time. Gateways refuse sessions, or fall silent, long before they have as many as callers can make.
const AT_ONCE: usize = 16;

/// Most logins of one call. Where tokens are good for little, others may have used up the new one before its turn comes.
const LOGINS_MAX: u32 = 5;

/// The same for what is forbidden without a reason, as some releases say of a token that has run out, and others of a role.
const FORBIDDEN_MAX: u32 = 1;

/// The path, what is sent, and how often.
#[derive(Debug)]
pub(crate) struct Call {
    wire: wire::Call,
    repeat: Repeat,
}

impl Call {
    /// A question.
    pub(crate) fn get(action: &'static str, path: impl Into<String>) -> Self {
        Self { wire: wire::Call { action, path: path.into(), body: None }, repeat: Repeat::Always }
    }

    /// One that can be sent any number of times.
    pub(crate) fn repeatable(action: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { wire: wire::Call { action, path: path.into(), body: Some(body) }, repeat: Repeat::Always }
    }

    /// One that is not sent again when nobody knows what became of it.
    pub(crate) fn once(action: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { wire: wire::Call { action, path: path.into(), body: Some(body) }, repeat: Repeat::IfNotDone }
    }
}

#[derive(Debug)]
struct Gateway {
    wire: Wire,
    session: Session,
}

/// The gateways of one system. One of them is asked until it fails, then the next.
#[derive(Debug)]
pub struct Gateways {
    gateways: Vec<Gateway>,
    current: AtomicUsize,
    turn: Semaphore,
    patience: Duration,
    counts: Counts<Outcome>,
    repeats: Counts<()>,
}

impl Gateways {
    /// The gateways of `config`, each of which may take `patience` to answer. `Invalid` for files that cannot be read. Sends nothing.
    pub fn new(config: &SystemConfig, patience: Duration) -> Result<Self> {
        let trust = config.trust()?;
        if config.insecure {
            tracing::warn!(gateways = ?config.gateways, "insecure: whoever answers is believed to be the gateway, and gets the password");
        }
        let client = tls::client(&trust, false)?;
        let password = config.password()?;
        let gateways = config
            .addresses()?
            .into_iter()
            .map(|url| Gateway {
                wire: Wire::new(client.clone(), url),
                session: Session::new(config.user.clone(), password.clone()),
            })
            .collect();
        Ok(Self {
            gateways,
            current: AtomicUsize::new(0),
            turn: Semaphore::new(AT_ONCE),
            patience,
            counts: Counts::default(),
            repeats: Counts::default(),
        })
    }

    /// Requests so far, by action and outcome.
    pub fn counts(&self) -> BTreeMap<(&'static str, Outcome), u64> {
        self.counts.read()
    }

    /// How often `action` was sent.
    pub fn sent(&self, action: &str) -> u64 {
        self.counts.of(action)
    }

    /// The version of the API, as `3.6`.
    pub async fn version(&self, deadline: Deadline) -> Result<String, Refusal> {
        let mut pauses = Pauses::new(Repeat::Always, self.gateways.len());
        loop {
            let (at, gateway) = self.gateway();
            match gateway.session.pass(&gateway.wire, &self.counts, None, deadline).await {
                Ok(pass) => return Ok(pass.version),
                Err(refusal) => self.go_on(at, &mut pauses, refusal, deadline).await?,
            }
        }
    }

    /// Sends `call` until it is answered, refused for good, or `deadline` is near.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call, deadline: Deadline) -> Result<T, Refusal> {
        self.send(call, deadline, |body| {
            serde_json::from_slice(body)
                .map_err(|error| Refusal::unanswered(call.wire.action, format_args!("cannot read the answer: {error}"), true))
        })
        .await
    }

    /// The same for a call whose answer says nothing: `{}`, or nothing at all.
    pub(crate) async fn done(&self, call: &Call, deadline: Deadline) -> Result<(), Refusal> {
        self.send(call, deadline, |_| Ok(())).await
    }

    async fn send<T>(&self, call: &Call, deadline: Deadline, read: impl Fn(&[u8]) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut pauses = Pauses::new(call.repeat, self.gateways.len());
        let mut uncertain = false;
        let mut again = false;
        loop {
            if deadline.passed() {
                return Err(Refusal::unanswered(call.wire.action, "there was no time left to ask", uncertain));
            }
            if std::mem::replace(&mut again, true) {
                self.repeats.add(call.wire.action, ());
            }
            let (at, gateway) = self.gateway();
            let refusal = match self.attempt(gateway, &call.wire, deadline).await.and_then(|body| read(&body)) {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal.after(uncertain),
            };
            uncertain = refusal.is_uncertain();
            self.go_on(at, &mut pauses, refusal, deadline).await?;
        }
    }

    fn gateway(&self) -> (usize, &Gateway) {
        let at = self.current.load(Ordering::Relaxed) % self.gateways.len();
        (at, &self.gateways[at])
    }

    /// Waits for the next attempt after gateway `at` gave `refusal`, or gives that back.
    async fn go_on(&self, at: usize, pauses: &mut Pauses, refusal: Refusal, deadline: Deadline) -> Result<(), Refusal> {
        if refusal.class() == Class::Transient && self.gateways.len() > 1 {
            let next = (at + 1) % self.gateways.len();
            // Whoever was first; the others have failed at the same one.
            if self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let (from, to) = (self.gateways[at].wire.address(), self.gateways[next].wire.address());
                tracing::warn!(from, to, %refusal, "the gateway does not answer; the next one is asked");
            }
        }
        match pauses.after(&refusal) {
            Some(pause) if pause < deadline.remaining() => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            _ => Err(refusal),
        }
    }

    /// One attempt at one gateway, with a new login if the old one has run out.
    async fn attempt(&self, gateway: &Gateway, call: &wire::Call, deadline: Deadline) -> Result<Vec<u8>, Refusal> {
        let late = || Refusal::unanswered(call.action, "there was no time left: too many requests are under way", false);
        let _turn = tokio::time::timeout(deadline.remaining(), self.turn.acquire()).await.map_err(|_| late())?;
        let mut expired = None;
        let mut logins = 0;
        loop {
            let pass = gateway.session.pass(&gateway.wire, &self.counts, expired, deadline).await?;
            let began = Instant::now();
            let answer = gateway.wire.exchange(call, &pass.proof, self.patience.min(deadline.remaining())).await;
            let milliseconds = began.elapsed().as_millis();
            let outcome = answer.as_ref().map_or_else(|refusal| Outcome::of(refusal.class()), |_| Outcome::Done);
            self.counts.add(call.action, outcome);
            tracing::debug!(action = call.action, milliseconds, ?outcome, "asked the gateway");
            match answer {
                Err(refusal) if refusal.class() == Class::Expired => {
                    logins += 1;
                    if refusal.is_forbidden() && logins > FORBIDDEN_MAX {
                        return Err(refusal.with_class(Class::Denied));
                    }
                    if logins > LOGINS_MAX {
                        return Err(refusal.with_class(Class::Transient));
                    }
                    expired = Some(pass.generation);
                }
                answer => return answer,
            }
        }
    }
}

impl Requests for Gateways {
    fn requests(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.counts.read().into_iter().map(|((action, outcome), count)| (action, outcome.as_str(), count)).collect()
    }

    fn repeats(&self) -> Vec<(&'static str, u64)> {
        self.repeats.read().into_iter().map(|((action, ()), count)| (action, count)).collect()
    }
}
