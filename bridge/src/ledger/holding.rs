//! The entries of the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::claim::VolumeClaim;
use crate::driver::Context;
use crate::mesos::AgentId;
use crate::slot::Slot;

/// A volume that was declared under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// What was declared.
    pub claim: VolumeClaim,
    /// The volume that it came to, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
    /// The number in the name of that volume, when the declared name has a place for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// When it was declared first, in seconds since 1970.
    pub since: u64,
}

/// A volume, as CreateVolume answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// What its nodes need to be told.
    #[serde(default)]
    pub context: Context,
}

/// Which door a use came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// The Docker volume plugin, and dvdcli which speaks to it. Its callers say when they are done.
    Docker,
    /// The CSI endpoint for Mesos' `volume/csi` isolator. Which containers there are must be asked of the agent.
    Isolator,
    /// Disks that a resource provider offers. Mesos says when one is used, and never when it is not.
    Provider,
}

impl Door {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Door::Docker => "docker",
            Door::Isolator => "isolator",
            Door::Provider => "provider",
        }
    }
}

/// A volume that this node holds, or is about to, or is about to give back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// What its nodes need to be told.
    #[serde(default)]
    pub context: Context,
    /// What attaching it answered; nothing as long as it was not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_context: Option<Context>,
    /// The boot of this machine in which it was taken. Mounts and containers do not survive a boot, attachments do.
    pub boot: String,
    /// What it is used for, by staging path.
    #[serde(default)]
    pub uses: BTreeMap<PathBuf, Usage>,
    /// Since when nobody uses it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<u64>,
}

/// One staging of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Who asked for it.
    pub door: Door,
    /// The name, or the id, that the door knows the volume by.
    pub name: String,
    /// Where it is published, or may be.
    #[serde(default)]
    pub targets: BTreeSet<PathBuf>,
    /// Who uses it, in the door's own words: the ids that dockerd gives, or nothing for dvdcli, whose caller counts itself.
    #[serde(default)]
    pub users: BTreeSet<String>,
    /// The staging path that the door was given. Nothing is mounted there: Mesos deletes below it whenever it believes that it is
    /// unused, and that belief may be older than a call that is still under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<PathBuf>,
    /// The door has unstaged it meanwhile; it is not to be published before it is staged again.
    #[serde(default)]
    pub withdrawn: bool,
    /// The Mesos agent whose containers it is for, once that is known. What is for somebody else is not ended for want of a
    /// container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Since when no container of that agent uses it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<u64>,
}

impl Usage {
    /// A use by nobody yet.
    pub fn new(door: Door, name: String, asked: Option<PathBuf>) -> Self {
        let (targets, users) = (BTreeSet::new(), BTreeSet::new());
        Self { door, name, targets, users, asked, withdrawn: false, agent: None, unused_since: None }
    }
}

/// What Mesos has been told is staged and is not: nobody uses it ([`crate::lifecycle`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placeholder {
    /// The volume that was asked for, in the words of who asked.
    pub name: String,
    /// The boot in which it was asked for; what was mounted in another one is no more.
    pub boot: String,
    /// Where an empty filesystem is mounted, or may be.
    #[serde(default)]
    pub targets: BTreeSet<PathBuf>,
}

impl Holding {
    /// A volume that nobody uses yet, and that is not attached yet.
    pub fn about_to_attach(boot: &str) -> Self {
        Self {
            context: Context::new(),
            publish_context: None,
            boot: boot.to_owned(),
            uses: BTreeMap::new(),
            idle_since: Some(now()),
        }
    }

    /// What is left of it in the boot `boot`: attachments, but no mounts and no containers.
    pub fn survive(&mut self, boot: &str) {
        if self.boot != boot {
            boot.clone_into(&mut self.boot);
            for usage in self.uses.values_mut() {
                usage.users.clear();
                usage.unused_since = None;
            }
            self.settle();
        }
    }

    /// Whether somebody uses it.
    pub fn is_used(&self) -> bool {
        self.uses.values().any(|usage| !usage.users.is_empty())
    }

    /// Notes since when nobody uses it.
    pub fn settle(&mut self) {
        match (self.is_used(), self.idle_since) {
            (true, _) => self.idle_since = None,
            (false, None) => self.idle_since = Some(now()),
            (false, Some(_)) => {}
        }
    }

    /// The staging path of the use for which a door gave the path `asked`.
    pub fn staged_for(&self, asked: &Path) -> Option<&PathBuf> {
        self.uses.iter().find(|(_, usage)| usage.asked.as_deref() == Some(asked)).map(|(staging, _)| staging)
    }

    /// Whether it is published at `target`, or may be.
    pub fn has_target(&self, target: &Path) -> bool {
        self.uses.values().any(|usage| usage.targets.contains(target))
    }
}

/// The time in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
