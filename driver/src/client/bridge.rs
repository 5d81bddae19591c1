//! What the bridge of this machine holds, if one runs.

use hawser_bridge::door::operator::{self, Held};
use hawser_volume::{Error, Result};

use super::session::Session;
use super::trace::Places;
use super::volume::Volume;

impl Session {
    /// What the bridge of the configuration holds; nothing when there is none on this machine. `Unavailable` when there is and it does not
    /// answer: then nobody knows.
    pub(super) async fn held_by_bridge(&self) -> Result<Option<Held>> {
        let state = &self.config.bridge.state;
        let socket = operator::socket(state);
        match socket.try_exists() {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(error) => return Err(Error::unavailable(format!("look for {}", socket.display())).caused_by(error)),
        }
        let held = operator::ask_what_is_held(state).await.map_err(|error| {
            error.while_doing(
                "ask the bridge of this machine what it holds (start it; or remove its socket, if there is no bridge here any more)",
            )
        })?;
        Ok(Some(held))
    }

    /// Where the bridge mounts, to tell its mounts from others.
    pub(super) async fn places_of_bridge(&self, volume: &str) -> Result<Places> {
        let mut bridge = vec![self.config.bridge.mounts.clone()];
        if let Some(holding) = self.held_by_bridge().await?.and_then(|held| held.holdings.get(volume).cloned()) {
            for (staging, usage) in holding.uses {
                bridge.push(staging);
                bridge.extend(usage.targets);
                bridge.extend(usage.asked);
            }
        }
        Ok(Places { own: Vec::new(), bridge })
    }

    /// `Precondition` while the bridge of this machine holds the volume.
    pub(super) async fn refuse_held_by_bridge(&self, volume: &Volume, what: &str) -> Result<()> {
        let Some(holding) = self.held_by_bridge().await?.and_then(|held| held.holdings.get(&volume.id).cloned()) else {
            return Ok(());
        };
        let names: Vec<String> = holding.uses.values().map(|usage| usage.name.clone()).collect();
        let use_of = if names.is_empty() {
            "nobody uses it any more, and it is released after bridge.grace".to_owned()
        } else {
            format!("for {}; it is released when the tasks that use it have ended", names.join(", "))
        };
        Err(Error::precondition(format!("{what}: the bridge of this node holds volume {}: {use_of}", volume.words())))
    }
}
