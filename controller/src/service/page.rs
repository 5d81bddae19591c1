//! Listings over all backends: one after the other in the order of their names, each object once.
//!
//! A token is `<backend>:<what the next page comes after>`; the second part may be empty. It names a place in a stable order,
//! not a number, so objects that come and go between two pages neither repeat nor hide others. An error of one backend is an
//! error of the listing: an incomplete list looks like detached or deleted volumes to the sidecars and to Mesos.
//!
//! Who knows what a backend is, as Hawser's own command line does, may begin with the token `=<backend>:`. Then only that backend is
//! listed, and the others may be away.

use std::future::Future;
use std::sync::Arc;

use hawser_volume::{BackendName, Error, Result, request};

use crate::backends::Backends;
use crate::provision::{Page, Provisioner, VolumeStatus};

/// Before a token that keeps to its backend. No name of a backend has it.
const ONLY: char = '=';

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Token {
    backend: Option<BackendName>,
    after: Option<String>,
    /// No other backend than this one.
    only: bool,
}

impl Token {
    pub(super) fn parse(text: &str, backends: &Backends) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let bad = || Error::bad_token(format!("starting_token {text:?} is not one of this plugin's; start over without a token"));
        let (rest, only) = text.strip_prefix(ONLY).map_or((text, false), |rest| (rest, true));
        let (backend, after) = rest.split_once(':').ok_or_else(bad)?;
        let backend: BackendName = backend.parse().map_err(|_| bad())?;
        if !backends.iter().any(|(name, _)| *name == backend) || after.chars().any(|c| c.is_control()) {
            return Err(bad());
        }
        Ok(Self { backend: Some(backend), after: (!after.is_empty()).then(|| after.to_owned()), only })
    }

    /// The same place of a listing that keeps to `backend`.
    pub(super) fn within(self, backend: &BackendName) -> Self {
        let after = self.after.filter(|_| self.backend.as_ref() == Some(backend));
        Self { backend: Some(backend.clone()), after, only: true }
    }
}

/// A page of volumes, as a request asks for it, and the token of the next.
pub(super) async fn volumes(backends: &Backends, max_entries: i32, starting_token: &str) -> Result<(Vec<VolumeStatus>, String)> {
    let max = request::max_entries(max_entries)?;
    let token = Token::parse(starting_token, backends)?;
    collect(backends, token, max, |backend, after, max| async move { backend.list(after.as_deref(), max).await }).await
}

/// Collects up to `max` objects from the token on; `read` reads one page of one backend.
pub(super) async fn collect<T, F>(
    backends: &Backends,
    token: Token,
    max: usize,
    read: impl Fn(Arc<dyn Provisioner>, Option<String>, usize) -> F,
) -> Result<(Vec<T>, String)>
where
    F: Future<Output = Result<Page<T>>>,
{
    let mut items = Vec::new();
    let mut after = token.after;
    let keep = if token.only { "=" } else { "" };
    let first = token.backend.as_ref();
    for (name, backend) in backends.from(first).filter(|(name, _)| !token.only || Some(*name) == first) {
        let room = max - items.len();
        if room == 0 {
            return Ok((items, format!("{name}:")));
        }
        let page =
            read(Arc::clone(backend), after.take(), room).await.map_err(|e| e.while_doing(format_args!("backend {name}")))?;
        items.extend(page.items);
        if let Some(next) = page.next {
            return Ok((items, format!("{keep}{name}:{next}")));
        }
    }
    Ok((items, String::new()))
}
