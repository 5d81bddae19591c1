//! Removing volumes.

use hawser_ebs::refusal::Class;
use hawser_ebs::volume::is_volume_id;
use hawser_volume::{Deadline, Error, Result};

use super::Ebs;

impl Ebs {
    pub(super) async fn delete_volume(&self, native: &str, deadline: Deadline) -> Result<()> {
        // What EC2 cannot have given names nothing that could be left behind.
        if !is_volume_id(native) {
            return Ok(());
        }
        let done = match self.account.ec2.delete_volume(native, deadline).await {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.class() == Class::NotFound => Ok(()),
            Err(refusal) if refusal.class() == Class::State => match self.find(native, deadline).await? {
                None => Ok(()),
                Some(volume) if volume.attachments.is_empty() => {
                    let doing = format!("delete volume {native}, which is {}", volume.state);
                    Err(refusal.while_doing(doing).with_kind(hawser_volume::Kind::Unavailable))
                }
                Some(volume) => {
                    let holders: Vec<&str> = volume.attachments.iter().map(|attachment| attachment.instance.as_str()).collect();
                    let holders = holders.join(", ");
                    Err(Error::precondition(format!(
                        "volume {native} is attached to {holders}; it can be deleted when it is detached"
                    )))
                }
            },
            Err(refusal) => Err(refusal.while_doing(format_args!("delete volume {native}"))),
        };
        if done.is_ok() {
            self.memory.is_gone(native);
        }
        done
    }
}
