//! Disks for containers: an agent asks for those of all its containers before it starts the next one.

use std::time::Duration;

use hawser_proto::mesos::v1::Resource;
use hawser_proto::mesos::v1::resource::disk_info;
use hawser_proto::mesos::v1::resource_provider::event::PublishResources;
use hawser_proto::mesos::v1::resource_provider::{Call, call};
use hawser_volume::{Deadline, Error, Result};
use tokio::task::JoinSet;

use super::resource::{disk_id, source};
use super::session::Session;
use super::work::target;
use crate::lifecycle::{Disk, Lifecycle};

/// How long the disks of one container may take. Mesos waits for ever and hears no reason, so it hears a no in time.
const PUBLISH: Duration = Duration::from_secs(300);

impl Session<'_> {
    /// Has the disks of all containers where Mesos looks for them, and answers.
    pub(super) fn publish(&self, publish: PublishResources, publishing: &mut JoinSet<()>) {
        use call::update_publish_resources_status::Status;
        let mut disks = Vec::new();
        let mut wrong = None;
        for resource in &publish.resources {
            match self.disk(resource) {
                Ok(disk) => disks.push(disk),
                Err(error) => wrong = Some(error),
            }
        }
        let (lifecycle, caller) = (self.provider.lifecycle.clone(), self.caller.clone());
        publishing.spawn(async move {
            let result = match wrong {
                Some(error) => Err(error),
                None => show(&lifecycle, disks).await,
            };
            if let Err(error) = &result {
                // Mesos has no place for a reason.
                tracing::error!(error = error.chain(), "could not bring the disks of a container; Mesos is told that it failed");
            }
            let status = if result.is_ok() { Status::Ok } else { Status::Failed };
            let update = call::UpdatePublishResourcesStatus { uuid: publish.uuid, status: status.into() };
            let call = Call {
                r#type: Some(call::Type::UpdatePublishResourcesStatus.into()),
                update_publish_resources_status: Some(update),
                ..Call::default()
            };
            if let Err(error) = caller.call(call).await {
                tracing::warn!(error = error.chain(), "could not tell the agent about the disks of a container");
            }
        });
    }

    /// The disk that a resource is, to be shown.
    fn disk(&self, resource: &Resource) -> Result<Disk> {
        let id = disk_id(resource).ok_or_else(|| Error::invalid("a container has space, of which no disk was made"))?;
        let known = self.state.disk(id).ok_or_else(|| Error::not_found(format!("there is no disk {id}")))?;
        if source(resource).is_some_and(|source| source.r#type() == disk_info::source::Type::Raw) {
            return Err(Error::invalid(format!("{id} is no disk that can be used; CREATE_DISK makes one of it")));
        }
        if self.state.is_going(id) {
            return Err(Error::precondition(format!("{id} is being destroyed")));
        }
        Ok(Disk {
            id: id.to_owned(),
            context: known.context.clone(),
            access: known.access.clone(),
            target: target(&self.provider.root, id),
            agent: self.agent.clone(),
        })
    }
}

async fn show(lifecycle: &Lifecycle, disks: Vec<Disk>) -> Result<()> {
    let deadline = Deadline::after(PUBLISH);
    let mut shown = JoinSet::new();
    for disk in disks {
        let lifecycle = lifecycle.clone();
        shown.spawn(async move {
            let id = disk.id.clone();
            lifecycle.show_disk(disk, deadline).await.map_err(|error| error.while_doing(format_args!("show the disk {id}")))
        });
    }
    let mut result = Ok(());
    while let Some(one) = shown.join_next().await {
        let one = one.unwrap_or_else(|error| Err(Error::internal("showing a disk panicked; see the log").caused_by(error)));
        result = result.and(one);
    }
    result
}
