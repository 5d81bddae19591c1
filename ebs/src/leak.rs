//! What carries our tags and nobody claims.
//!
//! Who claims a volume is known to COs alone: PersistentVolumes, ledgers of bridges. Their ids are given; what is young may be about to
//! be claimed, and what is attached is in use whatever anybody says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use hawser_volume::{Deadline, Result};

use crate::client::Ec2;
use crate::label;
use crate::refusal::Class;
use crate::snapshot::Snapshot;
use crate::volume::{Volume, VolumeState};

/// Something that nobody claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leak {
    /// A volume that no instance has.
    Volume {
        /// Its id.
        id: String,
        /// The name under which it was made.
        name: String,
        /// Its size, in GiB.
        size: u32,
        /// The volume of the same name that everybody uses instead.
        instead: Option<String>,
    },
    /// An attachment of a volume that nobody claims. It is never ended here.
    Attachment {
        /// The volume.
        volume: String,
        /// The name under which it was made.
        name: String,
        /// The instance that has it.
        instance: String,
    },
    /// A snapshot that was cut to make a volume, which is there or was given up.
    Cut {
        /// Its id.
        id: String,
        /// The volume that it shows.
        volume: String,
    },
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume { id, name, size, instead: None } => write!(f, "volume {id} {size}GiB {name:?}"),
            Self::Volume { id, name, size, instead: Some(other) } => {
                write!(f, "volume {id} {size}GiB {name:?}, whose name {other} has")
            }
            Self::Attachment { volume, name, instance } => write!(f, "attachment of {volume} to {instance} {name:?}"),
            Self::Cut { id, volume } => write!(f, "snapshot {id} of {volume}, cut for a copy"),
        }
    }
}

/// What nobody claims of these volumes and snapshots. `claimed` has volumes' ids; what is younger than `age` is left out.
pub fn leaks(volumes: &[Volume], cuts: &[Snapshot], claimed: &BTreeSet<String>, age: Duration, now: SystemTime) -> Vec<Leak> {
    // What has no time may be young.
    let old = |made: Option<SystemTime>| made.and_then(|made| now.duration_since(made).ok()).is_some_and(|since| since >= age);
    let mut first: BTreeMap<&str, &Volume> = BTreeMap::new();
    let there = |volume: &&Volume| !matches!(volume.state, VolumeState::Deleting | VolumeState::Deleted);
    for volume in volumes.iter().filter(there) {
        let named = volume.tags.get(label::VOLUME).map(String::as_str).unwrap_or_default();
        let known = first.entry(named).or_insert(volume);
        if (volume.created, &volume.id) < (known.created, &known.id) {
            *known = volume;
        }
    }
    let mut found = Vec::new();
    for volume in volumes.iter().filter(there).filter(|volume| !claimed.contains(&volume.id) && old(volume.created)) {
        let name = volume.tags.get(label::VOLUME_NAME).cloned().unwrap_or_default();
        if volume.attachments.is_empty() {
            let named = volume.tags.get(label::VOLUME).map(String::as_str).unwrap_or_default();
            let instead = first.get(named).map(|first| first.id.clone()).filter(|first| *first != volume.id);
            found.push(Leak::Volume { id: volume.id.clone(), name, size: volume.size, instead });
            continue;
        }
        let held =
            |instance: &str| Leak::Attachment { volume: volume.id.clone(), name: name.clone(), instance: instance.to_owned() };
        found.extend(volume.attachments.iter().map(|attachment| held(&attachment.instance)));
    }
    let cut = |cut: &&Snapshot| old(cut.started);
    found.extend(cuts.iter().filter(cut).map(|cut| Leak::Cut { id: cut.id.clone(), volume: cut.volume.clone() }));
    found
}

impl Ec2 {
    /// What nobody claims in `cluster`; see [`leaks`].
    pub async fn leaks(&self, cluster: &str, claimed: &BTreeSet<String>, age: Duration, deadline: Deadline) -> Result<Vec<Leak>> {
        let own = [label::any_of(cluster)];
        let volumes = self.describe_volumes(&format!("tag:{}", label::VOLUME), &own, deadline).await;
        let volumes = volumes.map_err(|refusal| refusal.while_doing("list volumes"))?;
        let cuts = self.describe_snapshots(&format!("tag:{}", label::COPYING), &own, deadline).await;
        let cuts = cuts.map_err(|refusal| refusal.while_doing("list snapshots that were cut for copies"))?;
        Ok(leaks(&volumes, &cuts, claimed, age, SystemTime::now()))
    }

    /// Deletes what nobody claims; an attachment stays. EC2 refuses a volume that was attached since.
    pub async fn delete_leak(&self, leak: &Leak, deadline: Deadline) -> Result<bool> {
        let done = match leak {
            Leak::Attachment { .. } => return Ok(false),
            Leak::Volume { id, .. } => self.delete_volume(id, deadline).await,
            Leak::Cut { id, .. } => self.delete_snapshot(id, deadline).await,
        };
        match done {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.class() == Class::NotFound => Ok(true),
            Err(refusal) => Err(refusal.while_doing(format_args!("delete {leak}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(id: &str, named: &str, made: &str, attached: &str) -> Volume {
        let attachment = match attached {
            "" => String::new(),
            instance => format!("<item><instanceId>{instance}</instanceId><status>attached</status></item>"),
        };
        let text = format!(
            "<v><volumeId>{id}</volumeId><size>4</size><status>available</status><createTime>{made}</createTime><attachmentSet>{attachment}\
             </attachmentSet><tagSet><item><key>hawser.dev/volume</key><value>{named}</value></item></tagSet></v>"
        );
        quick_xml::de::from_str(&text).unwrap()
    }

    #[test]
    fn only_what_is_old_and_nobody_claims_or_has_can_be_deleted() {
        let old = "2026-01-01T00:00:00.000Z";
        let now = humantime::parse_rfc3339("2026-01-03T00:00:00Z").unwrap();
        let volumes = [
            volume("vol-claimed", "default/a", old, ""),
            volume("vol-second", "default/a", "2026-01-01T00:00:01.000Z", ""),
            volume("vol-lost", "default/b", old, ""),
            volume("vol-used", "default/c", old, "i-1"),
            volume("vol-young", "default/d", "2026-01-02T23:59:00.000Z", ""),
        ];
        let claimed = BTreeSet::from(["vol-claimed".to_owned()]);
        let found = leaks(&volumes, &[], &claimed, Duration::from_secs(86_400), now);
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "volume vol-second 4GiB \"\", whose name vol-claimed has",
                "volume vol-lost 4GiB \"\"",
                "attachment of vol-used to i-1 \"\"",
            ]
        );
    }
}
