//! Who asks: a login for all callers of a gateway, and again when it has run out.
//!
//! Gateways of 2.x and 3.x give a token for user and password (`GET /api/login`), which is then the password. Those of 4.x give a JWT
//! (`POST /rest/auth/login`), or take the older token as a bearer's (goscaleio, `api/api.go`). Which one it is the version says, asked
//! once: `GET /api/version`.

use std::time::{Duration, Instant};

use hawser_volume::Deadline;
use hawser_volume::attempt::Counts;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::count::Outcome;
use crate::refusal::{Class, Refusal};
use crate::wire::{Call, Proof, Wire};

/// Longest wait for the answer to one request of a login.
const LOGIN_MAX: Duration = Duration::from_secs(10);

/// How long a wrong password is not tried again: who tries too often is locked out.
const WRONG_PAUSE: Duration = Duration::from_secs(10);

/// How a gateway is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// The token is a password: before 4.0.
    Basic,
    /// The token of `/api/login` is a bearer's.
    Bearer,
    /// A JWT is a bearer's.
    Jwt,
}

/// The login at one gateway.
#[derive(Debug)]
pub(crate) struct Session {
    user: String,
    password: SecretString,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    proof: Option<Proof>,
    /// How many logins there have been.
    generation: u64,
    style: Option<Style>,
    version: Option<String>,
    failed: Option<(Instant, Refusal)>,
}

/// What shows who asks, and which login it is from.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub(crate) proof: Proof,
    pub(crate) generation: u64,
    pub(crate) version: String,
}

impl Session {
    pub(crate) fn new(user: String, password: SecretString) -> Self {
        Self { user, password, state: Mutex::default() }
    }

    /// What shows who asks. A login is made when there is none, or when the one of generation `expired` was the last; callers that
    /// come meanwhile wait for it and share what comes of it.
    pub(crate) async fn pass(
        &self,
        wire: &Wire,
        counts: &Counts<Outcome>,
        expired: Option<u64>,
        deadline: Deadline,
    ) -> Result<Pass, Refusal> {
        let arrived = Instant::now();
        let late = || Refusal::unanswered("login", "there was no time left to log in", false);
        let mut state = tokio::time::timeout(deadline.remaining(), self.state.lock()).await.map_err(|_| late())?;
        if let (Some(proof), Some(version)) = (&state.proof, &state.version)
            && expired != Some(state.generation)
        {
            return Ok(Pass { proof: proof.clone(), generation: state.generation, version: version.clone() });
        }
        if let Some((at, refusal)) = &state.failed
            && (*at >= arrived || (refusal.class() == Class::Unauthenticated && at.elapsed() < WRONG_PAUSE))
        {
            return Err(refusal.clone());
        }
        state.proof = None;
        match self.login(wire, counts, &mut state, deadline).await {
            Ok((proof, version)) => {
                state.generation += 1;
                state.failed = None;
                state.proof = Some(proof.clone());
                state.version = Some(version.clone());
                tracing::debug!(gateway = wire.address(), version, "logged in");
                Ok(Pass { proof, generation: state.generation, version })
            }
            Err(refusal) => {
                state.failed = Some((Instant::now(), refusal.clone()));
                Err(refusal)
            }
        }
    }

    async fn login(
        &self,
        wire: &Wire,
        counts: &Counts<Outcome>,
        state: &mut State,
        deadline: Deadline,
    ) -> Result<(Proof, String), Refusal> {
        let ask = Ask { wire, counts, deadline };
        // The gateway may have been upgraded since: a way that does not lead there any more is forgotten.
        match state.style {
            Some(Style::Jwt) => match (self.jwt(&ask).await, &state.version) {
                (Ok(proof), Some(version)) => return Ok((proof, version.clone())),
                (Err(refusal), _) if refusal.class() == Class::Unauthenticated => return Err(refusal),
                _ => state.style = None,
            },
            Some(style @ (Style::Basic | Style::Bearer)) => {
                let token = self.token(&ask).await?;
                if let Some(version) = &state.version {
                    return Ok((self.proof(style, token), version.clone()));
                }
            }
            None => {}
        }
        let (style, proof, version) = self.find_out(&ask).await?;
        state.style = Some(style);
        Ok((proof, version))
    }

    async fn find_out(&self, ask: &Ask<'_>) -> Result<(Style, Proof, String), Refusal> {
        let token = match self.token(ask).await {
            Ok(token) => token,
            // There is no such page: it is a gateway that has the newer login alone, or something before it that answers for it.
            Err(refusal) if refusal.class() == Class::Transient && !refusal.is_uncertain() => {
                let proof = self.jwt(ask).await.map_err(|_| refusal)?;
                let version = ask.version(&proof).await.map_err(short_lived)?;
                return Ok((Style::Jwt, proof, version));
            }
            Err(refusal) => return Err(refusal),
        };
        let basic = self.proof(Style::Basic, token.clone());
        let bearer = self.proof(Style::Bearer, token);
        let version = match ask.version(&basic).await {
            Err(refusal) if refusal.class() == Class::Expired => ask.version(&bearer).await.map_err(short_lived)?,
            answer => answer?,
        };
        if major(&version).is_none_or(|major| major < 4) {
            return Ok((Style::Basic, basic, version));
        }
        match self.jwt(ask).await {
            Ok(proof) => Ok((Style::Jwt, proof, version)),
            Err(refusal) if refusal.class() == Class::Transient && !refusal.is_uncertain() => {
                Ok((Style::Bearer, bearer, version))
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn proof(&self, style: Style, token: SecretString) -> Proof {
        if style == Style::Basic { Proof::Basic(self.user.clone(), token) } else { Proof::Bearer(token) }
    }

    /// The token of `/api/login`, a JSON string.
    async fn token(&self, ask: &Ask<'_>) -> Result<SecretString, Refusal> {
        let call = Call { action: "login", path: "/api/login".to_owned(), body: None };
        let body = ask.send(&call, &Proof::Basic(self.user.clone(), self.password.clone())).await.map_err(wrong)?;
        let token = word(&body).filter(|token| !token.is_empty());
        token.map(SecretString::from).ok_or_else(|| Refusal::unanswered("login", "the answer has no token", false))
    }

    /// The token of `/rest/auth/login`.
    async fn jwt(&self, ask: &Ask<'_>) -> Result<Proof, Refusal> {
        let body = json!({"username": self.user, "password": self.password.expose_secret()});
        let call = Call { action: "login", path: "/rest/auth/login".to_owned(), body: Some(body) };
        let answer: Option<Value> = serde_json::from_slice(&ask.send(&call, &Proof::None).await.map_err(wrong)?).ok();
        let token = answer.as_ref().and_then(|answer| answer.get("access_token")?.as_str());
        token
            .map(|token| Proof::Bearer(token.into()))
            .ok_or_else(|| Refusal::unanswered("login", "the answer has no access_token", false))
    }
}

/// To a login, "who are you" is a wrong password, not a token that has run out.
fn wrong(refusal: Refusal) -> Refusal {
    if refusal.class() == Class::Expired { Refusal::unauthenticated("user or password are not accepted") } else { refusal }
}

/// A token that has run out since it was given says nothing of the password.
fn short_lived(refusal: Refusal) -> Refusal {
    if refusal.class() == Class::Expired { refusal.with_class(Class::Transient) } else { refusal }
}

struct Ask<'a> {
    wire: &'a Wire,
    counts: &'a Counts<Outcome>,
    deadline: Deadline,
}

impl Ask<'_> {
    async fn send(&self, call: &Call, proof: &Proof) -> Result<Vec<u8>, Refusal> {
        let answer = self.wire.exchange(call, proof, LOGIN_MAX.min(self.deadline.remaining())).await;
        self.counts.add(call.action, answer.as_ref().map_or_else(|refusal| Outcome::of(refusal.class()), |_| Outcome::Done));
        answer
    }

    async fn version(&self, proof: &Proof) -> Result<String, Refusal> {
        let call = Call { action: "version", path: "/api/version".to_owned(), body: None };
        let body = self.send(&call, proof).await?;
        word(&body)
            .filter(|version| major(version).is_some())
            .ok_or_else(|| Refusal::unanswered("version", "the answer is no version", false))
    }
}

/// A JSON string, or the text itself: releases differ.
fn word(body: &[u8]) -> Option<String> {
    serde_json::from_slice(body).ok().or_else(|| String::from_utf8(body.to_vec()).ok()).map(|text: String| text.trim().to_owned())
}

/// The first number of a version.
fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}
