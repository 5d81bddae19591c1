//! Who asks: logins, tokens, and what each face takes for a proof.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::door::Done;
use super::refused::Refused;
use super::{MONITOR, PASSWORD, ScaleIoSettings, State, USER};

/// The tokens of one gateway: whose they are, and for how many requests they are good.
pub(crate) type Tokens = BTreeMap<String, (Asker, Option<u32>)>;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Admin,
    Monitor,
}

enum Shown {
    Basic(String, String),
    Bearer(String),
}

impl ScaleIoSettings {
    fn is_newer(&self) -> bool {
        self.version.split('.').next().unwrap().parse::<u32>().unwrap() >= 4
    }
}

fn shown(headers: &HeaderMap) -> Option<Shown> {
    let text = headers.get("authorization")?.to_str().ok()?;
    if let Some(token) = text.strip_prefix("Bearer ") {
        return Some(Shown::Bearer(token.to_owned()));
    }
    let plain = String::from_utf8(unbase64(text.strip_prefix("Basic ")?)?).ok()?;
    let (user, secret) = plain.split_once(':')?;
    Some(Shown::Basic(user.to_owned(), secret.to_owned()))
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::try_from(ALPHABET.iter().position(|known| *known == byte)?).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).unwrap());
        }
    }
    Some(bytes)
}

fn asker(user: &str, password: &str) -> Option<Asker> {
    match (user, password) {
        (USER, PASSWORD) => Some(Asker::Admin),
        (MONITOR, PASSWORD) => Some(Asker::Monitor),
        _ => None,
    }
}

/// Logins and logouts; nothing for other requests.
pub(crate) fn serve(state: &State, number: usize, path: &str, headers: &HeaderMap, body: &Value) -> Option<Done> {
    let give = |asker| {
        let mut tokens = state.tokens[number].lock().unwrap();
        let token = format!("token-{number}-{}-{}", tokens.len(), fresh());
        tokens.insert(token.clone(), (asker, state.settings.token_uses));
        token
    };
    let refused = || Done::Refused(Refused::unauthorized());
    match path {
        "/api/login" => Some(match shown(headers) {
            Some(Shown::Basic(user, password)) => {
                asker(&user, &password).map_or_else(refused, |asker| Done::Said(give(asker).into()))
            }
            _ => refused(),
        }),
        "/api/logout" => Some(match shown(headers) {
            Some(Shown::Basic(_, token)) if state.tokens[number].lock().unwrap().remove(&token).is_some() => {
                Done::Said("".into())
            }
            _ => refused(),
        }),
        "/rest/auth/login" if state.settings.is_newer() && !state.settings.without_jwt => {
            let text = |key: &str| body[key].as_str().unwrap_or_default();
            Some(asker(text("username"), text("password")).map_or_else(refused, |asker| {
                Done::Said(
                    json!({"access_token": give(asker), "refresh_token": "refresh", "expires_in": 300, "token_type": "Bearer"}),
                )
            }))
        }
        "/rest/auth/logout" if state.settings.is_newer() => Some(match shown(headers) {
            Some(Shown::Bearer(token)) if state.tokens[number].lock().unwrap().remove(&token).is_some() => Done::Silent,
            _ => refused(),
        }),
        path if path.starts_with("/rest/") => Some(Done::NoPage),
        _ => None,
    }
}

/// Who asks, by a token. Any user goes with it, as the gateway takes it; on 4.x a token as a password is good for the version alone.
pub(crate) fn who(state: &State, number: usize, path: &str, headers: &HeaderMap) -> Result<Asker, Refused> {
    let newer = state.settings.is_newer();
    let token = match shown(headers) {
        Some(Shown::Basic(_, token)) if !newer || path == "/api/version" => token,
        Some(Shown::Bearer(token)) if newer => token,
        _ => return Err(Refused::unauthorized()),
    };
    let mut tokens = state.tokens[number].lock().unwrap();
    match tokens.get_mut(&token) {
        Some((_, Some(0))) => {
            tokens.remove(&token);
            Err(Refused::unauthorized())
        }
        Some((asker, uses)) => {
            *uses = uses.map(|uses| uses - 1);
            Ok(*asker)
        }
        None => Err(Refused::unauthorized()),
    }
}

fn fresh() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
