//! What the agent is told: all that there is, and how operations end, which is repeated until it is acknowledged.

use std::time::Duration;

use hawser_proto::mesos::v1::resource_provider::{Call, call};
use hawser_proto::mesos::v1::{Operation, OperationState};
use hawser_volume::Result;
use tokio::time::Instant;
use uuid::Uuid;

use super::session::Session;
use super::state::message_of;

/// How long a status waits for its acknowledgement before it is said again (src/slave/constants.hpp); it doubles each time.
pub(super) const FIRST_REPEAT: Duration = Duration::from_secs(10);
pub(super) const LONGEST_REPEAT: Duration = Duration::from_secs(600);

impl Session<'_> {
    /// Says that an operation that nobody knows was dropped. Not repeated, as it is on nobody's record.
    pub(super) async fn reconcile(&mut self, uuid: Uuid) -> Result<()> {
        if self.state.operation(uuid).is_some() {
            return Ok(());
        }
        let mut status = self.state.status(&Default::default(), OperationState::OperationDropped, None, Vec::new());
        status.uuid = None;
        let update = call::UpdateOperationStatus {
            framework_id: None,
            status: status.clone(),
            latest_status: Some(status),
            operation_uuid: message_of(uuid),
        };
        self.caller.call(update_status(update)).await
    }

    /// Says how an operation ended, and will say so again until that is acknowledged.
    pub(super) async fn say(&mut self, uuid: Uuid, operation: &Operation) -> Result<()> {
        let pause = self.repeats.get(&uuid).map_or(FIRST_REPEAT, |(_, pause)| (*pause * 2).min(LONGEST_REPEAT));
        self.repeats.insert(uuid, (Instant::now() + pause, pause));
        let update = call::UpdateOperationStatus {
            framework_id: operation.framework_id.clone(),
            status: operation.latest_status.clone(),
            latest_status: Some(operation.latest_status.clone()),
            operation_uuid: operation.uuid.clone(),
        };
        self.caller.call(update_status(update)).await
    }

    pub(super) async fn repeat(&mut self) -> Result<()> {
        let now = Instant::now();
        let due: Vec<Uuid> = self.repeats.iter().filter(|(_, (at, _))| *at <= now).map(|(uuid, _)| *uuid).collect();
        for uuid in due {
            match self.state.operation(uuid).cloned() {
                Some(operation) => self.say(uuid, &operation).await?,
                None => drop(self.repeats.remove(&uuid)),
            }
        }
        Ok(())
    }

    /// Tells the agent all that there is, under a new version.
    pub(super) async fn tell(&mut self) -> Result<()> {
        self.version = Uuid::new_v4();
        let update = call::UpdateState {
            operations: self.state.operations().map(|(_, operation)| operation.clone()).collect(),
            resources: self.state.totals().all().to_vec(),
            resource_version_uuid: message_of(self.version),
        };
        let call = Call { r#type: Some(call::Type::UpdateState.into()), update_state: Some(update), ..Call::default() };
        self.caller.call(call).await
    }
}

fn update_status(update: call::UpdateOperationStatus) -> Call {
    Call { r#type: Some(call::Type::UpdateOperationStatus.into()), update_operation_status: Some(update), ..Call::default() }
}
