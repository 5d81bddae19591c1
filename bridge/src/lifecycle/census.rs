//! How much this node holds, as the ledger has it.

use std::collections::BTreeMap;

use hawser_volume::Result;

use super::Lifecycle;
use crate::ledger::Door;

/// Numbers of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Volumes that were declared by name on this node.
    pub declared: usize,
    /// Volumes that this node holds, or is about to, or is about to give back.
    pub held: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// Stagings by the door that they came through.
    pub uses: BTreeMap<&'static str, usize>,
    /// Stagings in word only.
    pub placeholders: usize,
}

impl Lifecycle {
    /// Counts what the ledger has. Asks no driver.
    pub async fn census(&self) -> Result<Census> {
        self.inner
            .ledger(|ledger| {
                let holdings = ledger.holdings()?;
                let mut uses: BTreeMap<&'static str, usize> =
                    BTreeMap::from([Door::Docker, Door::Isolator, Door::Provider].map(|door| (door.as_str(), 0)));
                for usage in holdings.iter().flat_map(|(_, holding)| holding.uses.values()) {
                    *uses.entry(usage.door.as_str()).or_default() += 1;
                }
                Ok(Census {
                    declared: ledger.all_known()?.len(),
                    held: holdings.len(),
                    idle: holdings.iter().filter(|(_, holding)| holding.idle_since.is_some()).count(),
                    uses,
                    placeholders: ledger.placeholders()?.len(),
                })
            })
            .await
    }
}
