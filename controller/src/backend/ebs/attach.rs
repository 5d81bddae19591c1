//! Giving volumes to instances.
//!
//! ```text
//! look at volume and instance ─ attached here ─▶ done
//!   ▲   ▲ │                   ─ attaching here ─▶ wait until attached
//!   │   │ │                   ─ detaching ─▶ wait until gone ─▶ look again
//!   │   │ └─ free             ─ elsewhere ─▶ refuse, naming the instance
//!   │   │    ▼
//!   │   │ AttachVolume under a free name ── done ─▶ wait until attached
//!   │   └──── the name was taken since: another one
//!   └──────── lost, or the volume was taken since
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_ebs::Grant;
use hawser_ebs::instance::{Instance, InstanceState, is_instance_id};
use hawser_ebs::refusal::Class;
use hawser_ebs::volume::{Attachment, AttachmentState, Volume as Found, VolumeState};
use hawser_volume::{Access, Deadline, Error, NodeId, Result};
use tokio::time::Instant;

use super::Ebs;
use super::names::NoName;
use crate::provision::Attach;

/// Most requests of one call: names that were taken since, answers that were lost.
const ATTEMPTS_MAX: u32 = 20;

/// How long a volume that leaves another instance is waited for before its new user is refused.
const LEAVING_MAX: Duration = Duration::from_secs(30);

/// What stands between a volume and an instance.
#[derive(Debug)]
enum Standing {
    Free,
    Attached(Grant),
    Attaching,
    /// It leaves this instance, which is the wanted one or stands in its way.
    Leaving(String),
    /// Others have it.
    Elsewhere(Vec<String>),
}

fn standing(volume: &Found, instance: &str, shared: bool) -> Standing {
    if let Some(own) = volume.attachment_to(instance) {
        return match own.state {
            AttachmentState::Attached => Standing::Attached(grant(volume, own)),
            AttachmentState::Attaching => Standing::Attaching,
            AttachmentState::Detaching | AttachmentState::Busy | AttachmentState::Unknown => {
                Standing::Leaving(instance.to_owned())
            }
            AttachmentState::Detached => Standing::Free,
        };
    }
    let others: Vec<&Attachment> =
        volume.attachments.iter().filter(|attachment| attachment.state != AttachmentState::Detached).collect();
    match others.as_slice() {
        [] => Standing::Free,
        _ if shared && volume.multi_attach_enabled => Standing::Free,
        [other] if other.state == AttachmentState::Detaching => Standing::Leaving(other.instance.clone()),
        others => Standing::Elsewhere(others.iter().map(|other| format!("{} ({})", other.instance, other.state)).collect()),
    }
}

fn grant(volume: &Found, attachment: &Attachment) -> Grant {
    Grant { device: attachment.device.clone(), volume: volume.id.clone() }
}

impl Ebs {
    pub(super) async fn attach_volume(&self, attach: Attach) -> Result<Grant> {
        let Attach { id, node, access, deadline, .. } = &attach;
        let (native, deadline) = (id.native(), *deadline);
        let instance_id = instance_of(node)?;
        let shared = !access.mode.is_single_node();
        let doing = format!("attach volume {native} to {instance_id}");
        let mut refused = BTreeSet::new();
        let (mut volume, mut instance) = tokio::try_join!(self.look(native, deadline), self.host(instance_id, deadline))?;
        check_shared(&volume, access).map_err(|error| error.while_doing(&doing))?;
        for _ in 0..ATTEMPTS_MAX {
            match standing(&volume, instance_id, shared) {
                Standing::Attached(grant) => return Ok(grant),
                Standing::Attaching => return self.until_attached(native, instance_id, deadline).await,
                Standing::Elsewhere(holders) => return Err(elsewhere(&doing, &holders)),
                Standing::Leaving(from) => {
                    self.until_left(native, &from, instance_id, &doing, deadline).await?;
                    volume = self.look(native, deadline).await?;
                    continue;
                }
                Standing::Free => {}
            }
            if !matches!(volume.state, VolumeState::Available | VolumeState::InUse) {
                volume = self.until_usable(native, &doing, deadline).await?;
                continue;
            }
            self.has_room(&instance, &doing, deadline).await?;
            let limit = self.config.max_volumes_per_node;
            let name = self.names.reserve(&instance, native, &refused, limit).map_err(|none| {
                Error::exhausted(match (none, limit) {
                    (NoName::Limit, Some(limit)) => format!(
                        "{doing}: it has {limit} volumes, and may have no more (max-volumes-per-node); detach others, use another node, or \
                         raise the limit"
                    ),
                    _ => format!("{doing}: all device names of the instance are taken; detach other volumes"),
                })
            })?;
            let device = name.device.clone();
            let sent = self.account.ec2.attach_volume(native, instance_id, &device, deadline).await;
            match sent {
                Ok(_) => return self.until_attached(native, instance_id, deadline).await,
                Err(refusal) if refusal.is_uncertain() && !deadline.passed() => {
                    // What became of it can be seen a moment later. Sent twice it is still done once, as EC2 refuses the second.
                    tracing::info!(volume = native, instance = instance_id, %refusal, "an answer was lost; the volume is looked at");
                    volume = self.next_sight(native, &doing, deadline).await?;
                }
                Err(refusal) if refusal.code() == "VolumeInUse" => volume = self.next_sight(native, &doing, deadline).await?,
                // "Attachment point /dev/xvdba is already in use": another controller took it since, or the instance itself has it.
                Err(refusal) if refusal.class() == Class::Invalid && refusal.sentence().contains(&device) => {
                    refused.insert(device);
                    instance = self.host(instance_id, deadline).await?;
                }
                Err(refusal) if refusal.class() == Class::NotFound => return Err(refusal.while_doing(doing)),
                Err(refusal) => return Err(refusal.while_doing(doing)),
            }
        }
        Err(Error::unavailable(format!("{doing}: others changed it again and again; try again")))
    }

    /// The instance that is a node; `NotFound` when it has gone.
    async fn host(&self, instance: &str, deadline: Deadline) -> Result<Instance> {
        let found = self.account.instances.get(instance, deadline).await;
        let found = found.map_err(|refusal| refusal.while_doing(format_args!("look at instance {instance}")))?;
        let gone = |instance: &Instance| matches!(instance.state, InstanceState::Terminated | InstanceState::ShuttingDown);
        found
            .filter(|instance| !gone(instance))
            .ok_or_else(|| Error::not_found(format!("node {instance}: the instance does not exist")))
    }

    /// Refuses an instance that can have no other volume. EC2 refuses it as well, but lets some types be overfilled, where the volume
    /// then stays in `attaching`.
    async fn has_room(&self, instance: &Instance, doing: &str, deadline: Deadline) -> Result<()> {
        let known = self.rooms().get(&instance.instance_type).copied();
        let room = match known {
            Some(room) => room,
            None => {
                let asked =
                    self.account.ec2.describe_instance_types(std::slice::from_ref(&instance.instance_type), deadline).await;
                let room = match asked {
                    Ok(found) => found.get(&instance.instance_type).copied().flatten(),
                    // A policy may lack it, and EC2 itself refuses as well: it is not worth failing for.
                    Err(refusal) if matches!(refusal.class(), Class::Transient | Class::Throttled) => return Ok(()),
                    Err(refusal) => {
                        tracing::info!(%refusal, "how many volumes an instance can have is not known beforehand");
                        None
                    }
                };
                self.rooms().insert(instance.instance_type.clone(), room);
                room
            }
        };
        match room {
            Some(room) if room.is_full(instance) => Err(Error::exhausted(format!(
                "{doing}: {} has {} volumes, and an {} can have no more; detach others, or use another node",
                instance.id,
                instance.taken.len(),
                instance.instance_type
            ))),
            _ => Ok(()),
        }
    }

    fn rooms(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<String, Option<hawser_ebs::instance::Room>>> {
        self.rooms.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The volume as it is seen next, which is after whatever was done before this call.
    async fn next_sight(&self, native: &str, doing: &str, deadline: Deadline) -> Result<Found> {
        let sight = self.account.watch.until(native, deadline, |volume| Some(volume.cloned())).await;
        sight
            .map_err(|refusal| refusal.while_doing(doing))?
            .ok_or_else(|| Error::not_found(format!("{doing}: the volume does not exist any more")))
    }

    /// Waits until a volume that is being made can be attached.
    async fn until_usable(&self, native: &str, doing: &str, deadline: Deadline) -> Result<Found> {
        let judge = |volume: Option<&Found>| match volume {
            None => Some(Err(Error::not_found(format!("{doing}: the volume does not exist any more")))),
            Some(volume) => match volume.state {
                VolumeState::Available | VolumeState::InUse => Some(Ok(volume.clone())),
                VolumeState::Creating | VolumeState::Unknown => None,
                state => Some(Err(Error::precondition(format!("{doing}: the volume is {state}")))),
            },
        };
        self.account.watch.until(native, deadline, judge).await.unwrap_or_else(|refusal| Err(refusal.while_doing(doing)))
    }

    /// Waits until the instance has the volume.
    async fn until_attached(&self, native: &str, instance: &str, deadline: Deadline) -> Result<Grant> {
        let doing = format!("attach volume {native} to {instance}");
        let (mut last, patience) = (Instant::now(), self.listed_within());
        let mut state = None;
        let judge = |volume: Option<&Found>| {
            let own = volume.and_then(|volume| Some((volume, volume.attachment_to(instance)?)));
            let Some((volume, own)) = own else {
                let lost = || Error::unavailable(format!("{doing}: EC2 granted it and lists it no longer; try again"));
                return (last.elapsed() >= patience).then(|| Err(lost()));
            };
            last = Instant::now();
            state = Some(own.state);
            match own.state {
                AttachmentState::Attached => Some(Ok(grant(volume, own))),
                AttachmentState::Detaching | AttachmentState::Busy => {
                    Some(Err(Error::unavailable(format!("{doing}: somebody detaches it meanwhile; try again"))))
                }
                AttachmentState::Attaching | AttachmentState::Detached | AttachmentState::Unknown => None,
            }
        };
        let attached = self.account.watch.until_done(native, &self.paces.attach, deadline, judge).await;
        attached.unwrap_or_else(|refusal| match state {
            // Its name stays taken, and the volume's condition says so.
            Some(AttachmentState::Attaching) => Err(Error::unavailable(format!(
                "{doing}: it stays in attaching; the same call goes on waiting. If it never ends, detach it, and stop and start the instance"
            ))),
            _ => Err(refusal.while_doing(&doing)),
        })
    }

    /// Waits until `from` has left the volume; only a while if that is not the instance that wants it.
    async fn until_left(&self, native: &str, from: &str, wanted: &str, doing: &str, deadline: Deadline) -> Result<()> {
        let limit = if from == wanted { deadline } else { deadline.earlier(Deadline::after(LEAVING_MAX)) };
        let judge = |volume: Option<&Found>| match volume.and_then(|volume| volume.attachment_to(from)) {
            Some(attachment) if attachment.state != AttachmentState::Detached => None,
            _ => Some(()),
        };
        match self.account.watch.until(native, limit, judge).await {
            Ok(()) => Ok(()),
            Err(refusal) if deadline.passed() || from == wanted => {
                Err(refusal.while_doing(format!("{doing}: it leaves {from} first")))
            }
            Err(_) => Err(elsewhere(doing, &[format!("{from} (detaching)")])),
        }
    }
}

/// Whether a volume can be used so by several nodes, if that is what is asked for.
pub(super) fn check_shared(volume: &Found, access: &Access) -> Result<()> {
    if access.mode.is_single_node() {
        return Ok(());
    }
    if !access.is_block() {
        return Err(Error::invalid(format!("{} is possible for raw block only", access.mode)));
    }
    if !volume.multi_attach_enabled {
        return Err(Error::invalid(format!("{} needs a volume that was made for several nodes (io1, io2)", access.mode)));
    }
    Ok(())
}

fn elsewhere(doing: &str, holders: &[String]) -> Error {
    Error::precondition(format!("{doing}: {} has it; it can be attached when it is detached there", holders.join(", ")))
}

/// The instance that a node is.
pub(super) fn instance_of(node: &NodeId) -> Result<&str> {
    if is_instance_id(node.as_str()) {
        return Ok(node.as_str());
    }
    Err(Error::not_found(format!(
        "node {node} is no instance of EC2; the id of a node whose plugin has this backend must be the instance's, i-0123456789abcdef0"
    )))
}
