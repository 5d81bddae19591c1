//! One subscription with the agent, from its beginning to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_proto::mesos::v1::resource_provider::event::{self, ApplyOperation};
use hawser_proto::mesos::v1::resource_provider::{Call, Event, call};
use hawser_proto::mesos::v1::{Operation, OperationState, ResourceProviderId, ResourceProviderInfo};
use hawser_volume::{Error, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::state::{Outcome, Registration, State, is_pending, message_of, uuid_of};
use super::stream::{Caller, Events, subscribe};
use super::work::Work;
use super::{Doing, Provider, TYPE, Words};
use crate::mesos::AgentId;

/// How long a status waits for its acknowledgement before it is said again (src/slave/constants.hpp); it doubles each time.
const FIRST_REPEAT: Duration = Duration::from_secs(10);
const LONGEST_REPEAT: Duration = Duration::from_secs(600);

/// How a subscription ended.
#[derive(Debug)]
pub(super) enum End {
    /// The agent ended it, or is not there.
    Lost(Error),
    /// An operator has given the provider up.
    TornDown,
}

/// A subscription.
pub(super) struct Session<'a> {
    pub(super) provider: &'a Provider,
    /// The agent that it is with.
    pub(super) agent: AgentId,
    pub(super) caller: Caller,
    pub(super) state: State,
    /// The version of what the agent was told last that there is.
    version: Uuid,
    /// When each status that is not acknowledged is said again, and after which pause.
    repeats: BTreeMap<Uuid, (Instant, Duration)>,
}

impl<'a> Session<'a> {
    /// Subscribes. The provider's work of before is in `doing`.
    pub(super) async fn begin(provider: &'a Provider, doing: &mut Doing) -> Result<(Self, Events)> {
        let agent = provider.agent.identity().await?.id;
        let mut state = provider.load().await?;
        let name = &provider.config.name;
        let is_known = |known: &&Registration| known.agent == agent && known.name == *name && !known.gone;
        let id = state.registration.as_ref().filter(is_known).map(|known| ResourceProviderId { value: known.provider.clone() });
        if state.registration.as_ref().is_some_and(|before| before.agent != agent) {
            // What was begun for another agent is ended for nobody, but it is ended.
            provider.resume(&state, doing);
            while let Some((uuid, outcome)) = doing.next().await {
                finish(&mut state, uuid, outcome)?;
            }
        }
        // Before anything is offered: an operator may have given our disks to another agent.
        provider.give_up_lost(&agent, &mut state).await?;
        let info = ResourceProviderInfo {
            id,
            attributes: Vec::new(),
            r#type: TYPE.to_owned(),
            name: name.clone(),
            default_reservations: provider.config.reservations(),
        };
        let (caller, events) = subscribe(&provider.agent, info, provider.config.format).await?;
        let registration =
            Registration { agent: agent.clone(), name: name.clone(), provider: caller.id().value.clone(), gone: false };
        tracing::info!(provider = registration.provider, agent = %registration.agent, "Mesos' agent takes this provider");
        state.register(registration)?;
        provider.resume(&state, doing);
        let mut session = Self { provider, agent, caller, state, version: Uuid::new_v4(), repeats: BTreeMap::new() };
        session.measure().await;
        session.tell().await?;
        // What was said before may not have been heard.
        session.repeats = session
            .state
            .operations()
            .filter(|(_, operation)| !is_pending(operation))
            .map(|(uuid, _)| (uuid, (Instant::now(), FIRST_REPEAT)))
            .collect();
        Ok((session, events))
    }

    /// Does what the agent says until the subscription ends.
    pub(super) async fn run(&mut self, mut events: Events, doing: &mut Doing, words: &mut Words) -> End {
        let (mut publishing, mut adopting) = (JoinSet::new(), JoinSet::new());
        let mut look = tokio::time::interval_at(Instant::now() + self.provider.look_every, self.provider.look_every);
        loop {
            let due = self.repeats.values().map(|(at, _)| *at).min().unwrap_or_else(|| Instant::now() + LONGEST_REPEAT);
            let step = tokio::select! {
                event = events.next() => match event {
                    Ok(Some(event)) => match self.take(event, doing, &mut publishing).await {
                        Ok(true) => return End::TornDown,
                        Ok(false) => Ok(()),
                        Err(error) => Err(error),
                    },
                    Ok(None) => Err(Error::unavailable("the agent ended the subscription")),
                    Err(error) => Err(error),
                },
                Some((uuid, outcome)) = doing.next() => self.finished(uuid, outcome).await,
                () = tokio::time::sleep_until(due) => self.repeat().await,
                _ = look.tick() => self.look().await,
                Some(word) = words.recv() => {
                    self.hear(word, &mut adopting);
                    Ok(())
                }
                Some(Ok((word, looked))) = adopting.join_next() => {
                    let adopted = match looked {
                        Ok(adoptable) => self.adopt(adoptable).await,
                        Err(error) => Err(error),
                    };
                    word.answer(adopted);
                    Ok(())
                }
                Some(_) = publishing.join_next() => Ok(()),
            };
            if let Err(error) = step {
                return End::Lost(error);
            }
        }
    }

    /// Compares what is offered with what there is.
    async fn look(&mut self) -> Result<()> {
        let given_up = self.provider.give_up_lost(&self.agent, &mut self.state).await.unwrap_or_else(|error| {
            tracing::warn!(error = error.chain(), "could not find out whether other agents offer the same disks");
            false
        });
        if self.measure().await || given_up { self.tell().await } else { Ok(()) }
    }

    /// Takes one event. Whether the provider was given up.
    async fn take(&mut self, event: Event, doing: &mut Doing, publishing: &mut JoinSet<()>) -> Result<bool> {
        let lacks = || Error::unavailable(format!("the agent says {} without what it is about", event.r#type().as_str_name()));
        match event.r#type() {
            event::Type::ApplyOperation => {
                let apply = event.apply_operation.clone().ok_or_else(lacks)?;
                self.apply(apply, doing).await?;
            }
            event::Type::PublishResources => {
                let publish = event.publish_resources.clone().ok_or_else(lacks)?;
                self.publish(publish, publishing);
            }
            event::Type::AcknowledgeOperationStatus => {
                let acknowledged = event.acknowledge_operation_status.as_ref().ok_or_else(lacks)?;
                let uuid = uuid_of(&acknowledged.operation_uuid)?;
                self.state.acknowledge(uuid, &acknowledged.status_uuid.value)?;
                if self.state.operation(uuid).is_none() {
                    self.repeats.remove(&uuid);
                }
            }
            event::Type::ReconcileOperations => {
                for uuid in event.reconcile_operations.as_ref().ok_or_else(lacks)?.operation_uuids.clone() {
                    self.reconcile(uuid_of(&uuid)?).await?;
                }
            }
            event::Type::Teardown => {
                self.tear_down()?;
                return Ok(true);
            }
            event::Type::Subscribed => tracing::warn!("the agent subscribes this provider a second time; it is passed over"),
            event::Type::Unknown => tracing::warn!("the agent says something that this version does not know; it is passed over"),
        }
        Ok(false)
    }

    async fn apply(&mut self, apply: ApplyOperation, doing: &mut Doing) -> Result<()> {
        let uuid = uuid_of(&apply.operation_uuid)?;
        if self.state.operation(uuid).is_some() {
            return Ok(());
        }
        let operation = Operation {
            framework_id: apply.framework_id,
            // A master aborts on an operation that is reported without one (`CHECK(operation->has_slave_id())`, src/master/master.cpp).
            agent_id: self.state.agent(),
            latest_status: self.state.status(&apply.info, OperationState::OperationPending, None, Vec::new()),
            statuses: Vec::new(),
            uuid: message_of(uuid),
            info: apply.info,
        };
        if uuid_of(&apply.resource_version_uuid)? != self.version {
            // The agent asked before it heard what there is now (`applyOperation`, storage/provider.cpp).
            let why = "what the provider has changed in between; the operation was not begun".to_owned();
            let operation = self.state.drop_operation(uuid, operation, why)?;
            return self.say(uuid, &operation).await;
        }
        match self.provider.work(&self.state, uuid, &operation.info) {
            Work::Done(outcome) => {
                let has_failed = outcome.is_err();
                let operation = self.state.finish(uuid, operation, outcome)?;
                let has_failed = has_failed || operation.latest_status.state() == OperationState::OperationFailed;
                let is_done_already = operation.info.create_disk.is_none() && operation.info.destroy_disk.is_none();
                if has_failed && is_done_already {
                    // Agent and master believe that it was done.
                    self.tell().await?;
                }
                self.say(uuid, &operation).await
            }
            Work::Slow(work) => {
                self.state.begin(uuid, operation)?;
                doing.start(uuid, work, &self.provider.lifecycle);
                Ok(())
            }
        }
    }

    async fn finished(&mut self, uuid: Uuid, outcome: Result<Outcome>) -> Result<()> {
        match finish(&mut self.state, uuid, outcome)? {
            Some(operation) => self.say(uuid, &operation).await,
            None => Ok(()),
        }
    }

    /// Says that an operation that nobody knows was dropped. Not repeated, as it is on nobody's record.
    async fn reconcile(&mut self, uuid: Uuid) -> Result<()> {
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
    async fn say(&mut self, uuid: Uuid, operation: &Operation) -> Result<()> {
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

    async fn repeat(&mut self) -> Result<()> {
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

    fn tear_down(&mut self) -> Result<()> {
        let Some(registration) = self.state.registration.clone() else { return Ok(()) };
        tracing::error!(
            provider = registration.provider,
            "an operator has given this provider up for good; its volumes and their data are left as they are"
        );
        self.state.register(Registration { gone: true, ..registration })
    }
}

/// Notes how the work of an operation ended; nothing for one that is on no record.
fn finish(state: &mut State, uuid: Uuid, outcome: Result<Outcome>) -> Result<Option<Operation>> {
    match state.operation(uuid).filter(|operation| is_pending(operation)).cloned() {
        Some(operation) => state.finish(uuid, operation, outcome).map(Some),
        None => Ok(None),
    }
}

fn update_status(update: call::UpdateOperationStatus) -> Call {
    Call { r#type: Some(call::Type::UpdateOperationStatus.into()), update_operation_status: Some(update), ..Call::default() }
}
