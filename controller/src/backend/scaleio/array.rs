//! One system, which is found when it is first needed.

use std::sync::Arc;
use std::time::Duration;

use hawser_scaleio::system::System;
use hawser_scaleio::{Gateways, SystemConfig};
use hawser_volume::{Bytes, Deadline, Error, Result};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::ScaleIo;

/// A system and its gateways.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) gateways: Arc<Gateways>,
    pub(super) config: SystemConfig,
    system: OnceCell<System>,
    volume_max: OnceCell<Bytes>,
}

impl Array {
    pub(super) fn new(config: &SystemConfig, patience: Duration) -> Result<Self> {
        let gateways = Arc::new(Gateways::new(config, patience)?);
        Ok(Self { gateways, config: config.clone(), system: OnceCell::new(), volume_max: OnceCell::new() })
    }

    /// Which one it is. A system keeps its id for life, so it is asked for once.
    pub(super) async fn system(&self, deadline: Deadline) -> Result<&System> {
        let find = async || {
            let systems = self.gateways.systems(deadline).await.map_err(|refusal| refusal.while_doing("find the system"))?;
            let all: Vec<String> = systems.iter().map(described).collect();
            let mut fit =
                systems.into_iter().filter(|system| self.config.system.as_ref().is_none_or(|wanted| is(system, wanted)));
            match (fit.next(), fit.next()) {
                (Some(system), None) => Ok(system),
                (Some(_), Some(_)) => Err(Error::precondition(format!(
                    "the gateway has several systems ({}); say which one with `system` of the backend",
                    all.join(", ")
                ))),
                (None, _) => Err(Error::precondition(format!(
                    "the gateway has no system {:?}, but {}; correct `system` of the backend",
                    self.config.system.as_deref().unwrap_or_default(),
                    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
                ))),
            }
        };
        self.system.get_or_try_init(find).await
    }

    /// The largest volume that it makes.
    pub(super) async fn volume_max(&self, deadline: Deadline) -> Result<Bytes> {
        let ask =
            async || self.gateways.volume_max(deadline).await.map_err(|refusal| refusal.while_doing("ask for the largest size"));
        self.volume_max.get_or_try_init(ask).await.copied()
    }
}

fn is(system: &System, wanted: &str) -> bool {
    system.id.eq_ignore_ascii_case(wanted) || system.name.as_deref() == Some(wanted)
}

fn described(system: &System) -> String {
    match &system.name {
        Some(name) => format!("{name} ({})", system.id),
        None => system.id.clone(),
    }
}

impl ScaleIo {
    /// The array of this id or name. One that is known is not kept waiting by one that is silent.
    ///
    /// `Precondition` when none is it, and all have said so; `Unavailable` when one could not be asked.
    pub(super) async fn array(&self, wanted: &str, deadline: Deadline) -> Result<Arc<Array>> {
        let known = |array: &&Arc<Array>| array.system.get().is_some_and(|system| is(system, wanted));
        if let Some(array) = self.arrays.iter().find(known) {
            return Ok(Arc::clone(array));
        }
        let mut questions = JoinSet::new();
        for array in self.arrays.iter().filter(|array| array.system.get().is_none()) {
            let (array, wanted) = (Arc::clone(array), wanted.to_owned());
            questions.spawn(async move {
                array.system(deadline).await.map(|system| is(system, &wanted)).map(|fits| fits.then_some(Arc::clone(&array)))
            });
        }
        let mut unasked = None;
        while let Some(answer) = questions.join_next().await {
            match answer {
                Ok(Ok(Some(array))) => return Ok(array),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => unasked = Some(error),
                Err(error) => unasked = Some(Error::internal("the call panicked; see the log").caused_by(error)),
            }
        }
        match unasked {
            Some(error) => Err(error.while_doing(format_args!("find system {wanted}"))),
            None => Err(Error::precondition(format!("system {wanted} is not one of backend {}; configure it there", self.name))),
        }
    }
}
