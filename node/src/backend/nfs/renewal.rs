//! Renewing the leases of what this node has staged.
//!
//! A thread looks from time to time at what is mounted and says so next to the volume, each in a call that can be left behind. A renewal
//! that fails is tried again; one that finds the lease gone has learnt that the volume was taken from this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use hawser_host::Host;
use hawser_nfs::{Export, lease};
use hawser_volume::{Kind, NodeId, Result, VolumeId};

use super::owners::Owners;

/// What this node holds by its leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The numbers of the attachments, as far as they are known.
    epochs: BTreeMap<VolumeId, u64>,
    /// Volumes that are mounted here and were taken from this node.
    lost: BTreeSet<VolumeId>,
}

impl Leases {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this node took a volume.
    pub(super) fn taken(&self, volume: &VolumeId, epoch: u64) {
        let mut state = self.state();
        state.epochs.insert(volume.clone(), epoch);
        state.lost.remove(volume);
    }

    /// Whether a volume was taken from this node.
    pub(super) fn is_lost(&self, volume: &VolumeId) -> bool {
        self.state().lost.contains(volume)
    }
}

/// What the thread works with. It ends when the backend is gone.
pub(super) struct Renewal {
    pub(super) leases: Weak<Leases>,
    pub(super) owners: Owners,
    pub(super) export: Arc<Export>,
    pub(super) host: Arc<dyn Host>,
    pub(super) node: NodeId,
}

impl Renewal {
    pub(super) fn start(self) {
        let run = move || {
            loop {
                thread::sleep(lease::RENEWING);
                let Some(leases) = self.leases.upgrade() else { return };
                if let Err(error) = self.renew_all(&leases) {
                    tracing::warn!(error = error.chain(), "could not see which leases are to be renewed");
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("nfs-renew".to_owned()).spawn(run) {
            tracing::error!(%error, "no thread to renew leases; who has a volume here cannot be seen to live");
        }
    }

    fn renew_all(&self, leases: &Leases) -> Result<()> {
        let mut mounted = BTreeSet::new();
        for entry in self.host.mounts()?.entries() {
            mounted.extend(self.owners.of(entry)?);
        }
        {
            let mut state = leases.state();
            state.epochs.retain(|volume, _| mounted.contains(volume));
            state.lost.retain(|volume| mounted.contains(volume));
        }
        for volume in &mounted {
            // A server that is silent is not asked for each of them.
            self.export.ask()?;
            match self.renew(leases, volume) {
                Ok(true) => {}
                Ok(false) => {
                    if leases.state().lost.insert(volume.clone()) {
                        tracing::error!(
                            volume = %volume,
                            node = %self.node,
                            "the volume is mounted here and was taken from this node, which was believed to be dead; another one may write to it"
                        );
                    }
                }
                Err(error) => tracing::warn!(volume = %volume, error = error.chain(), "could not renew the lease yet"),
            }
        }
        Ok(())
    }

    /// Renews one lease; false when this node has the volume no more.
    fn renew(&self, leases: &Leases, volume: &VolumeId) -> Result<bool> {
        let native = volume.native();
        let known = leases.state().epochs.get(volume).copied();
        if let Some(epoch) = known
            && self.export.renew(native, epoch)?
        {
            return Ok(true);
        }
        // Not known since this plugin was started, or withdrawn: the record says which.
        match self.export.epoch_of(native, &self.node) {
            Ok(Some(epoch)) if Some(epoch) != known => {
                leases.state().epochs.insert(volume.clone(), epoch);
                self.export.renew(native, epoch)
            }
            // It is being given back at this moment, or another node service of this machine has it.
            Ok(Some(_)) => Ok(true),
            Ok(None) => Ok(self.export.is_shared_here(native, &self.node)?),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
