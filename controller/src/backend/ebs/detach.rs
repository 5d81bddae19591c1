//! Taking volumes from instances.
//!
//! The detach comes first and the look afterwards: a listing may lag behind an attachment that a call before this one asked for, and
//! what EC2 answers to a change does not. The instance is always named, so that a late call never takes the volume from its successor.

use std::time::Duration;

use hawser_ebs::instance::is_instance_id;
use hawser_ebs::refusal::Class;
use hawser_ebs::volume::{AttachmentState, Volume as Found, is_volume_id};
use hawser_volume::secrets::HOLDER_IS_DEAD;
use hawser_volume::{Deadline, Error, NodeId, Result, Secrets};

use super::Ebs;

/// Most requests of one call.
const ATTEMPTS_MAX: u32 = 20;

/// How long an instance that is proved dead is given to let go before it is made to. A stopped one does so at once.
const GENTLE_MAX: Duration = Duration::from_secs(20);

/// How a volume is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The instance lets go of it.
    Gentle,
    /// It is made to when it does not: it was proved dead.
    Forced,
}

impl Way {
    /// The way that a call asks for.
    pub(super) fn of(secrets: &Secrets) -> Result<Self> {
        match secrets.get(HOLDER_IS_DEAD) {
            None => Ok(Self::Gentle),
            Some("true") => Ok(Self::Forced),
            Some(_) => Err(Error::invalid(format!("secrets: {HOLDER_IS_DEAD:?} must be true, or be left out"))),
        }
    }
}

/// What a look finds of an attachment.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    No,
    Leaving,
    Yes,
}

fn held(volume: Option<&Found>, instance: &str) -> Held {
    match volume.and_then(|volume| volume.attachment_to(instance)).map(|attachment| attachment.state) {
        None | Some(AttachmentState::Detached) => Held::No,
        Some(AttachmentState::Detaching | AttachmentState::Busy) => Held::Leaving,
        Some(AttachmentState::Attaching | AttachmentState::Attached | AttachmentState::Unknown) => Held::Yes,
    }
}

impl Ebs {
    pub(super) async fn detach_volume(&self, native: &str, node: Option<&NodeId>, way: Way, deadline: Deadline) -> Result<()> {
        // What does not exist is attached to nothing.
        if !is_volume_id(native) {
            return Ok(());
        }
        match node {
            Some(node) if !is_instance_id(node.as_str()) => Ok(()),
            Some(node) => self.detach_from(native, node.as_str(), way, deadline).await,
            None => {
                let found = self.find(native, deadline).await?;
                for attachment in found.iter().flat_map(|volume| &volume.attachments) {
                    self.detach_from(native, &attachment.instance, way, deadline).await?;
                }
                Ok(())
            }
        }
    }

    async fn detach_from(&self, native: &str, instance: &str, way: Way, deadline: Deadline) -> Result<()> {
        let doing = format!("detach volume {native} from {instance}");
        for _ in 0..ATTEMPTS_MAX {
            let sent = self.account.ec2.detach_volume(native, instance, false, deadline).await;
            match sent {
                Ok(_) => return self.until_free(native, instance, way, &doing, deadline).await,
                Err(refusal)
                    if matches!(refusal.class(), Class::State | Class::NotFound)
                        || (refusal.is_uncertain() && !deadline.passed()) =>
                {
                    // It may be free, or be leaving already; or the instance has gone, or the answer was lost.
                    let sight = self.account.watch.until(native, deadline, |volume| Some(held(volume, instance))).await;
                    match sight.map_err(|refusal| refusal.while_doing(&doing))? {
                        Held::No => return Ok(()),
                        Held::Leaving => return self.until_free(native, instance, way, &doing, deadline).await,
                        Held::Yes if refusal.is_uncertain() => {}
                        Held::Yes => return Err(refusal.while_doing(doing).with_kind(hawser_volume::Kind::Unavailable)),
                    }
                }
                Err(refusal) => return Err(refusal.while_doing(doing)),
            }
        }
        Err(Error::unavailable(format!("{doing}: the answers were lost again and again; try again")))
    }

    /// Waits until the instance has left the volume.
    async fn until_free(&self, native: &str, instance: &str, way: Way, doing: &str, deadline: Deadline) -> Result<()> {
        let free = |volume: Option<&Found>| {
            // From now on its age is known.
            volume.and_then(|volume| volume.attachment_to(instance)).map(|attachment| self.memory.ending(attachment));
            (held(volume, instance) == Held::No).then_some(())
        };
        if way == Way::Forced {
            let gentle = deadline.earlier(Deadline::after(GENTLE_MAX));
            if self.account.watch.until(native, gentle, free).await.is_ok() {
                return Ok(());
            }
            tracing::warn!(volume = native, instance, "the holder is dead and does not let go; the volume is taken by force");
            match self.account.ec2.detach_volume(native, instance, true, deadline).await {
                Ok(_) => {}
                // What came of it is seen below, and only that counts.
                Err(refusal) if matches!(refusal.class(), Class::State | Class::NotFound) || refusal.is_uncertain() => {}
                Err(refusal) => return Err(refusal.while_doing(doing)),
            }
        }
        let mut busy = false;
        let judge = |volume: Option<&Found>| {
            let own = volume.and_then(|volume| volume.attachment_to(instance));
            busy = own.is_some_and(|attachment| attachment.state == AttachmentState::Busy);
            free(volume)
        };
        let watched = match way {
            Way::Gentle => self.account.watch.until_done(native, &self.paces.detach, deadline, judge).await,
            Way::Forced => self.account.watch.until(native, deadline, judge).await,
        };
        match watched {
            Ok(()) => Ok(()),
            Err(_) if busy => Err(Error::unavailable(format!(
                "{doing}: the instance still uses the device; unmount it there. The same call goes on waiting"
            ))),
            Err(refusal) => Err(refusal.while_doing(doing)),
        }
    }
}
