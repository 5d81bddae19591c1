//! One action until it is answered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hawser_volume::attempt::{Counts, Repeat, Requests};
use hawser_volume::{Deadline, Result};
use reqsign_core::{Env, OsEnv};
use reqwest::Url;
use serde::de::DeserializeOwned;

use crate::count::Outcome;
use crate::credential::Credentials;
use crate::endpoint::Region;
use crate::form::Form;
use crate::limiter::Limiter;
use crate::refusal::{Class, Refusal};
use crate::retry::Pauses;
use crate::wire::{Ways, Wire};

/// Longest wait for the answer to one attempt. EC2 ends its own work long before.
const ATTEMPT_MAX: Duration = Duration::from_secs(30);

/// The same for actions that read. Others wait for them, and asking again costs nothing.
const READING_MAX: Duration = Duration::from_secs(10);

/// Most pages of one listing: what goes on after them goes round.
const PAGES_MAX: usize = 10_000;

/// How EC2 is reached.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The region whose volumes these are.
    pub region: Region,
    /// Another address than the region's own.
    pub endpoint: Option<Url>,
    /// Only FIPS 140 validated cryptography on EC2's side.
    pub fips: bool,
    /// IPv6 too.
    pub dual_stack: bool,
    /// The profile that has the credentials. Default: the first source that is set up.
    pub profile: Option<String>,
    /// A PEM file with certificates of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How much of the account's usual request rates is used, 1 being all of them.
    pub rate: f64,
}

impl ClientOptions {
    /// What suits most in `region`.
    pub fn new(region: Region) -> Self {
        Self { region, endpoint: None, fips: false, dual_stack: false, profile: None, ca_file: None, rate: 1.0 }
    }
}

/// An action with its parameters.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) action: &'static str,
    pub(crate) form: Form,
    pub(crate) repeat: Repeat,
}

impl Call {
    /// One that can be sent any number of times.
    pub(crate) fn repeatable(action: &'static str, form: Form) -> Self {
        Self { action, form, repeat: Repeat::Always }
    }

    /// One that is not sent again when nobody knows what became of it.
    pub(crate) fn once(action: &'static str, form: Form) -> Self {
        Self { action, form, repeat: Repeat::IfNotDone }
    }
}

/// The EC2 API of one region.
#[derive(Debug)]
pub struct Ec2 {
    wire: Wire,
    limiter: Limiter,
    counts: Counts<Outcome>,
    repeats: Counts<()>,
}

impl Ec2 {
    /// A client with the credentials that the process' environment sets up. `Invalid` for options that cannot be used. Sends
    /// nothing.
    pub fn new(options: &ClientOptions) -> Result<Self> {
        Self::with_environment(options, OsEnv)
    }

    /// The same with another environment.
    pub fn with_environment(options: &ClientOptions, env: impl Env) -> Result<Self> {
        let endpoint = match &options.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => options.region.endpoint(options.fips, options.dual_stack)?,
        };
        let ways = Ways::new(options.ca_file.as_deref())?;
        let credentials = Credentials::new(&options.region, options.profile.as_deref(), env, ways.clone());
        Ok(Self {
            wire: Wire::new(&ways, endpoint, credentials),
            limiter: Limiter::new(options.rate),
            counts: Counts::default(),
            repeats: Counts::default(),
        })
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Requests so far, by action and outcome.
    pub fn counts(&self) -> BTreeMap<(&'static str, Outcome), u64> {
        self.counts.read()
    }

    /// How often `action` was sent.
    pub fn sent(&self, action: &str) -> u64 {
        self.counts.of(action)
    }

    /// Sends `call` until it is answered, refused for good, or `deadline` is near.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call, deadline: Deadline) -> Result<T, Refusal> {
        let mut pauses = Pauses::new(call.repeat);
        let mut last: Option<Refusal> = None;
        loop {
            let uncertain = last.as_ref().is_some_and(Refusal::is_uncertain);
            if !self.limiter.wait(call.action, deadline).await || deadline.passed() {
                return Err(last.unwrap_or_else(|| Refusal::unanswered(call.action, "there was no time left to ask", false)));
            }
            if last.is_some() {
                self.repeats.add(call.action, ());
            }
            let refusal = match self.attempt(call, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal.after(uncertain),
            };
            match pauses.after(&refusal) {
                Some(pause) if pause < deadline.remaining() => tokio::time::sleep(pause).await,
                _ => return Err(refusal),
            }
            last = Some(refusal);
        }
    }

    async fn attempt<T: DeserializeOwned>(&self, call: &Call, deadline: Deadline) -> Result<T, Refusal> {
        let Call { action, form, .. } = call;
        let began = Instant::now();
        let most = if action.starts_with("Describe") { READING_MAX } else { ATTEMPT_MAX };
        let result = self.wire.exchange(action, form, most.min(deadline.remaining())).await.and_then(|body| {
            quick_xml::de::from_reader(body.as_slice())
                .map_err(|error| Refusal::unanswered(action, format_args!("cannot read the answer: {error}"), true))
        });
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(refusal) => Outcome::of(refusal.class()),
        };
        self.counts.add(action, outcome);
        match &result {
            Err(refusal) if refusal.class() == Class::Throttled => self.limiter.refused(action),
            // Whatever EC2 says, it did not mind being asked.
            Ok(_) => self.limiter.answered(action),
            Err(refusal) if refusal.class() != Class::Transient => self.limiter.answered(action),
            Err(_) => {}
        }
        let milliseconds = began.elapsed().as_millis();
        match &result {
            Ok(_) => tracing::debug!(action, milliseconds, "EC2 answers"),
            Err(refusal) => tracing::debug!(action, milliseconds, ?outcome, %refusal, "EC2 refuses"),
        }
        result
    }

    /// Whether the credentials allow `call`, which is not done.
    pub(crate) async fn allowed(&self, mut call: Call, deadline: Deadline) -> Result<(), Refusal> {
        call.form = call.form.with("DryRun", true);
        // A trial is done as often as one likes.
        call.repeat = Repeat::Always;
        match self.call::<Anything>(&call, deadline).await {
            Err(refusal) if refusal.class() == Class::WouldSucceed => Ok(()),
            Err(refusal) => Err(refusal),
            Ok(Anything {}) => Err(Refusal::unanswered(call.action, "a trial was answered as if it were done", true)),
        }
    }

    /// All pages of a listing, together.
    pub(crate) async fn pages<T: Paged>(
        &self,
        action: &'static str,
        form: Form,
        deadline: Deadline,
    ) -> Result<Vec<T::Item>, Refusal> {
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let call = Call::repeatable(action, form.clone().with_some("NextToken", token.as_ref()));
            let (page, next) = self.call::<T>(&call, deadline).await?.split();
            items.extend(page);
            match next.filter(|next| !next.is_empty()) {
                None => return Ok(items),
                same if same == token => break,
                next => token = next,
            }
        }
        Err(Refusal::unanswered(action, "the listing does not end", false))
    }
}

impl Requests for Ec2 {
    fn requests(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.counts.read().into_iter().map(|((action, outcome), count)| (action, outcome.as_str(), count)).collect()
    }

    fn repeats(&self) -> Vec<(&'static str, u64)> {
        self.repeats.read().into_iter().map(|((action, ()), count)| (action, count)).collect()
    }
}

/// A page of a listing.
pub(crate) trait Paged: DeserializeOwned {
    /// What is listed.
    type Item;

    /// The items and where the next page begins.
    fn split(self) -> (Vec<Self::Item>, Option<String>);
}

/// An answer that nobody reads.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Anything {}
