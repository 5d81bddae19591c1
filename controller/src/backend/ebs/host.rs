//! Whether an instance is up.

use hawser_ebs::instance::{InstanceState, is_instance_id};
use hawser_volume::{Deadline, HostState, NodeId, Result};

use super::Ebs;

impl Ebs {
    /// EC2 User Guide, "Instance lifecycle": a stopped instance runs on no host, and a terminated one never will again. On the way there it
    /// may still write.
    pub(super) async fn state_of(&self, node: &NodeId, deadline: Deadline) -> Result<HostState> {
        let instance = node.as_str();
        if !is_instance_id(instance) {
            return Ok(HostState::Unknown(format!("{instance} is not the id of an instance")));
        }
        let found = self.account.ec2.describe_instances(&[instance.to_owned()], deadline).await;
        let found = found.map_err(|refusal| refusal.while_doing(format!("look at {instance}")))?;
        let Some(found) = found.get(instance) else {
            return Ok(HostState::Unknown(format!("EC2 does not know instance {instance}")));
        };
        Ok(match found.state {
            InstanceState::Pending => HostState::Alive(format!("instance {instance} is starting")),
            InstanceState::Running => HostState::Alive(format!("instance {instance} is running")),
            InstanceState::Stopped => HostState::Dead(format!("instance {instance} is stopped")),
            InstanceState::Terminated => HostState::Dead(format!("instance {instance} is terminated")),
            InstanceState::Stopping => HostState::Unknown(format!("instance {instance} is stopping and may still write")),
            InstanceState::ShuttingDown => {
                HostState::Unknown(format!("instance {instance} is shutting down and may still write"))
            }
            InstanceState::Unknown => HostState::Unknown(format!("instance {instance} is in a state that is not known here")),
        })
    }
}
