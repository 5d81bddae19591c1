//! One subscription with the agent, from its beginning to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_proto::mesos::v1::resource_provider::Event;
use hawser_proto::mesos::v1::resource_provider::event::{self, ApplyOperation};
use hawser_proto::mesos::v1::{Operation, OperationState, ResourceProviderId, ResourceProviderInfo};
use hawser_volume::{Error, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::report::{FIRST_REPEAT, LONGEST_REPEAT};
use super::rivals::Around;
use super::state::{Outcome, Registration, State, is_pending, message_of, uuid_of};
use super::stream::{Caller, Events, subscribe};
use super::work::{Slow, Work};
use super::{Doing, Provider, TYPE, Words};
use crate::mesos::AgentId;

/// How many events that have arrived together are taken together.
const BURST: usize = 1000;

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
    pub(super) version: Uuid,
    /// When each status that is not acknowledged is said again, and after which pause.
    pub(super) repeats: BTreeMap<Uuid, (Instant, Duration)>,
    /// What is done once everything is in the ledger.
    next: Vec<Step>,
}

/// What follows from an event.
enum Step {
    Start(Uuid, Slow),
    Say(Uuid),
    Tell,
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
            provider.resume(&agent, &state, doing);
            while let Some((uuid, outcome)) = doing.next().await {
                finish(&mut state, uuid, outcome)?;
                state.flush()?;
            }
        }
        // Before anything is offered: an operator may have given our disks to another agent.
        if let Some(look) = provider.look_around(&agent, &state) {
            let around = look.await?;
            provider.give_up_lost(&agent, &mut state, &around)?;
        }
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
        provider.resume(&agent, &state, doing);
        let mut session =
            Self { provider, agent, caller, state, version: Uuid::new_v4(), repeats: BTreeMap::new(), next: Vec::new() };
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
        let (mut publishing, mut adopting, mut looking) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let mut look = tokio::time::interval_at(Instant::now() + self.provider.look_every, self.provider.look_every);
        loop {
            let due = self.repeats.values().map(|(at, _)| *at).min().unwrap_or_else(|| Instant::now() + LONGEST_REPEAT);
            let step = tokio::select! {
                event = events.next() => match event {
                    Ok(Some(event)) => match self.take_all(event, &mut events, doing, &mut publishing).await {
                        Ok(true) => return End::TornDown,
                        Ok(false) => Ok(()),
                        Err(error) => Err(error),
                    },
                    Ok(None) => Err(Error::unavailable("the agent ended the subscription")),
                    Err(error) => Err(error),
                },
                Some((uuid, outcome)) = doing.next() => self.finished(uuid, outcome, doing).await,
                () = tokio::time::sleep_until(due) => self.repeat().await,
                _ = look.tick() => {
                    // Nothing waits for a storage system or a master that does not answer.
                    if looking.is_empty() {
                        looking.extend(self.provider.look_around(&self.agent, &self.state));
                    }
                    if self.measure().await { self.tell().await } else { Ok(()) }
                }
                Some(Ok(around)) = looking.join_next() => self.compare(around).await,
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

    /// Gives up what others offer by now.
    async fn compare(&mut self, around: Result<Around>) -> Result<()> {
        match around {
            Ok(around) => match self.provider.give_up_lost(&self.agent, &mut self.state, &around)? {
                true => self.tell().await,
                false => Ok(()),
            },
            Err(error) => {
                tracing::warn!(error = error.chain(), "could not find out whether other agents offer the same disks");
                Ok(())
            }
        }
    }

    /// Takes an event, and those that arrived with it: they share one flush of the ledger. Whether the provider was given up.
    async fn take_all(
        &mut self,
        first: Event,
        events: &mut Events,
        doing: &mut Doing,
        publishing: &mut JoinSet<()>,
    ) -> Result<bool> {
        let mut next = Some(first);
        for _ in 0..BURST {
            let Some(event) = next else { break };
            if self.take(event, publishing).await? {
                return Ok(true);
            }
            next = events.arrived()?;
        }
        if let Some(event) = next
            && self.take(event, publishing).await?
        {
            return Ok(true);
        }
        self.go_on(doing).await.map(|()| false)
    }

    /// Writes down what was changed, and then does what follows from it.
    async fn go_on(&mut self, doing: &mut Doing) -> Result<()> {
        self.state.flush()?;
        for step in std::mem::take(&mut self.next) {
            match step {
                Step::Start(uuid, work) => {
                    doing.start(uuid, work, &self.provider.lifecycle, self.provider.rivals(&self.agent));
                }
                Step::Say(uuid) => {
                    if let Some(operation) = self.state.operation(uuid).cloned() {
                        self.say(uuid, &operation).await?;
                    }
                }
                Step::Tell => self.tell().await?,
            }
        }
        Ok(())
    }

    /// Takes one event. Whether the provider was given up.
    async fn take(&mut self, event: Event, publishing: &mut JoinSet<()>) -> Result<bool> {
        let lacks = || Error::unavailable(format!("the agent says {} without what it is about", event.r#type().as_str_name()));
        match event.r#type() {
            event::Type::ApplyOperation => {
                let apply = event.apply_operation.clone().ok_or_else(lacks)?;
                self.apply(apply)?;
            }
            event::Type::PublishResources => {
                let publish = event.publish_resources.clone().ok_or_else(lacks)?;
                self.publish(publish, publishing);
            }
            event::Type::AcknowledgeOperationStatus => {
                let acknowledged = event.acknowledge_operation_status.as_ref().ok_or_else(lacks)?;
                let uuid = uuid_of(&acknowledged.operation_uuid)?;
                self.state.acknowledge(uuid, &acknowledged.status_uuid.value);
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

    fn apply(&mut self, apply: ApplyOperation) -> Result<()> {
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
            self.state.drop_operation(uuid, operation, why)?;
            self.next.push(Step::Say(uuid));
            return Ok(());
        }
        match self.provider.work(&self.state, uuid, &operation.info) {
            Work::Done(outcome) => {
                let has_failed = outcome.is_err();
                let operation = self.state.finish(uuid, operation, outcome)?;
                let has_failed = has_failed || operation.latest_status.state() == OperationState::OperationFailed;
                let is_done_already = operation.info.create_disk.is_none() && operation.info.destroy_disk.is_none();
                if has_failed && is_done_already {
                    // Agent and master believe that it was done.
                    self.next.push(Step::Tell);
                }
                self.next.push(Step::Say(uuid));
            }
            Work::Slow(work) => {
                self.state.begin(uuid, operation)?;
                self.next.push(Step::Start(uuid, work));
            }
        }
        Ok(())
    }

    /// Takes the end of an operation, and those of others that have ended meanwhile.
    async fn finished(&mut self, uuid: Uuid, outcome: Result<Outcome>, doing: &mut Doing) -> Result<()> {
        let mut ended = Some((uuid, outcome));
        while let Some((uuid, outcome)) = ended {
            if finish(&mut self.state, uuid, outcome)? {
                self.next.push(Step::Say(uuid));
            }
            ended = doing.ended();
        }
        self.go_on(doing).await
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

/// Notes how the work of an operation ended. Whether it is on record.
fn finish(state: &mut State, uuid: Uuid, outcome: Result<Outcome>) -> Result<bool> {
    match state.operation(uuid).filter(|operation| is_pending(operation)).cloned() {
        Some(operation) => state.finish(uuid, operation, outcome).map(|_| true),
        None => Ok(false),
    }
}
