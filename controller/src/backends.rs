//! The configured backends, and which of them a call is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_volume::{BackendName, Error, Result};

use crate::provision::Provisioner;

/// The key by which a StorageClass, profile or task names its backend.
pub const PARAMETER: &str = "backend";

/// All configured backends by name.
#[derive(Debug, Clone)]
pub struct Backends {
    by_name: BTreeMap<BackendName, Arc<dyn Provisioner>>,
    default: Option<BackendName>,
}

impl Backends {
    /// A registry; `default` is used for calls that name no backend, and may be left out when there is only one.
    pub fn new(by_name: BTreeMap<BackendName, Arc<dyn Provisioner>>, default: Option<BackendName>) -> Self {
        let only = (by_name.len() == 1).then(|| by_name.keys().next().cloned()).flatten();
        Self { by_name, default: default.or(only) }
    }

    /// Every backend, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&BackendName, &Arc<dyn Provisioner>)> {
        self.by_name.iter()
    }

    /// The backend that owns an object.
    ///
    /// `Precondition` when it is not configured here: the object may well exist, so neither "not found" nor, for a deletion,
    /// "gone already" would be true.
    pub fn owner(&self, name: &BackendName) -> Result<&Arc<dyn Provisioner>> {
        self.by_name
            .get(name)
            .ok_or_else(|| Error::precondition(format!("backend {name} is not configured here; configured are {}", self.names())))
    }

    /// The backend for something new; takes the parameter `backend` out of `parameters`.
    pub fn choose(&self, parameters: &mut BTreeMap<String, String>) -> Result<(BackendName, &Arc<dyn Provisioner>)> {
        let key = parameters.keys().find(|key| key.eq_ignore_ascii_case(PARAMETER)).cloned();
        let name = match key.and_then(|key| parameters.remove(&key)) {
            Some(text) => {
                text.parse::<BackendName>().map_err(|error| error.while_doing(format_args!("parameters: {PARAMETER:?}")))?
            }
            None => self.default.clone().ok_or_else(|| {
                Error::invalid(format!(
                    "parameters: {PARAMETER:?} is required, as several backends are configured; it is one of {}",
                    self.names()
                ))
            })?,
        };
        match self.by_name.get_key_value(&name) {
            Some((name, backend)) => Ok((name.clone(), backend)),
            None => Err(Error::invalid(format!(
                "parameters: {PARAMETER:?} is {name}, which is not configured; it is one of {}",
                self.names()
            ))),
        }
    }

    /// The backends from `name` on, in the order of their names.
    pub fn from(&self, name: Option<&BackendName>) -> impl Iterator<Item = (&BackendName, &Arc<dyn Provisioner>)> {
        let name = name.cloned();
        self.by_name.iter().filter(move |(candidate, _)| name.as_ref().is_none_or(|name| *candidate >= name))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.by_name.keys().map(BackendName::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}
