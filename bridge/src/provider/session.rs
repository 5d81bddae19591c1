//! One subscription with the agent, from its beginning to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hawser_proto::mesos::v1::resource::{DiskInfo, disk_info};
use hawser_proto::mesos::v1::resource_provider::event::{self, ApplyOperation, PublishResources};
use hawser_proto::mesos::v1::resource_provider::{Call, Event, call};
use hawser_proto::mesos::v1::{Operation, OperationState, Resource, ResourceProviderId, ResourceProviderInfo, value};
use hawser_volume::{Bytes, Deadline, Error, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::config::Pool;
use super::resource::{disk_id, mebibytes, size, source};
use super::state::{DiskEntry, Outcome, Registration, State, is_pending, message_of, uuid_of};
use super::stream::{Caller, Events, subscribe};
use super::work::{Work, target};
use super::{Doing, Provider, TYPE};
use crate::lifecycle::{Disk, Lifecycle};

/// How long a status waits for its acknowledgement before it is said again (src/slave/constants.hpp); it doubles each time.
const FIRST_REPEAT: Duration = Duration::from_secs(10);
const LONGEST_REPEAT: Duration = Duration::from_secs(600);

/// How long the disks of one container may take. Mesos waits for ever and hears no reason, so it hears a no in time.
const PUBLISH: Duration = Duration::from_secs(300);

/// How long the storage may take to say what is free.
const CAPACITY: Duration = Duration::from_secs(20);

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
    provider: &'a Provider,
    caller: Caller,
    state: State,
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
        let info = ResourceProviderInfo {
            id,
            attributes: Vec::new(),
            r#type: TYPE.to_owned(),
            name: name.clone(),
            default_reservations: provider.config.reservations(),
        };
        let (caller, events) = subscribe(&provider.agent, info, provider.config.format).await?;
        let registration = Registration { agent, name: name.clone(), provider: caller.id().value.clone(), gone: false };
        tracing::info!(provider = registration.provider, agent = %registration.agent, "Mesos' agent takes this provider");
        state.register(registration)?;
        provider.resume(&state, doing);
        let mut session = Self { provider, caller, state, version: Uuid::new_v4(), repeats: BTreeMap::new() };
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
    pub(super) async fn run(&mut self, mut events: Events, doing: &mut Doing) -> End {
        let mut publishing = JoinSet::new();
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
                _ = look.tick() => {
                    if self.measure().await { self.tell().await } else { Ok(()) }
                }
                Some(_) = publishing.join_next() => Ok(()),
            };
            if let Err(error) = step {
                return End::Lost(error);
            }
        }
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

    /// Has the disks of all containers where Mesos looks for them, and answers.
    fn publish(&self, publish: PublishResources, publishing: &mut JoinSet<()>) {
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
        let agent = self.state.registration.as_ref().map(|registration| registration.agent.clone());
        Ok(Disk {
            id: id.to_owned(),
            context: known.context.clone(),
            access: known.access.clone(),
            target: target(&self.provider.root, id),
            agent: agent.ok_or_else(|| Error::internal("there is no agent"))?,
        })
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
    async fn tell(&mut self) -> Result<()> {
        self.version = Uuid::new_v4();
        let update = call::UpdateState {
            operations: self.state.operations().map(|(_, operation)| operation.clone()).collect(),
            resources: self.state.totals().all().to_vec(),
            resource_version_uuid: message_of(self.version),
        };
        let call = Call { r#type: Some(call::Type::UpdateState.into()), update_state: Some(update), ..Call::default() };
        self.caller.call(call).await
    }

    /// Compares the space with what each profile has. Whether it changed. While an operation is under way nothing is changed: the agent
    /// would drop what it asks for next, and the storage counts what is being made.
    async fn measure(&mut self) -> bool {
        if self.state.operations().any(|(_, operation)| is_pending(operation)) {
            return false;
        }
        let mut wanted = Vec::new();
        for (profile, pool) in &self.provider.config.pools {
            match self.free(profile, pool).await {
                Ok(Some(free)) => wanted.push((profile.clone(), free)),
                Ok(None) => {}
                // What was offered before goes on being offered.
                Err(error) => tracing::warn!(profile, error = error.chain(), "could not find out how much a profile has"),
            }
        }
        let (provider, owner) = (self.provider, self.caller.id().clone());
        let changed = self.state.change_space(|totals| {
            let offered: BTreeSet<&String> = provider.config.pools.keys().collect();
            totals.retain_space(|source| source.profile.as_ref().is_some_and(|profile| offered.contains(profile)));
            for (profile, free) in &wanted {
                totals.set_space(&provider.space(&owner, profile), mebibytes(*free));
            }
            Ok(())
        });
        changed.unwrap_or_else(|error| {
            tracing::warn!(error = error.chain(), "could not write down how much there is");
            false
        })
    }

    /// How much of a profile is not a disk.
    async fn free(&self, profile: &str, pool: &Pool) -> Result<Option<Bytes>> {
        let Some(capacity) = pool.capacity else {
            let driver = self.provider.lifecycle.driver();
            let (capability, parameters) = ((&pool.access(false)).into(), pool.parameters.clone());
            return driver.capacity(capability, parameters, Deadline::after(CAPACITY)).await;
        };
        let of_profile =
            |disk: &&DiskEntry| source(&disk.resource.0).is_some_and(|source| source.profile.as_deref() == Some(profile));
        let mut used = 0;
        for disk in self.state.disks().filter(of_profile) {
            used += size(&disk.resource.0)?.get();
        }
        Ok(Some(Bytes::new(capacity.get().saturating_sub(used))))
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

fn update_status(update: call::UpdateOperationStatus) -> Call {
    Call { r#type: Some(call::Type::UpdateOperationStatus.into()), update_operation_status: Some(update), ..Call::default() }
}

impl Provider {
    /// Space of a profile, as nobody has reserved it.
    fn space(&self, owner: &ResourceProviderId, profile: &str) -> Resource {
        let source = disk_info::Source {
            r#type: disk_info::source::Type::Raw.into(),
            profile: Some(profile.to_owned()),
            vendor: Some(self.vendor.clone()),
            ..disk_info::Source::default()
        };
        Resource {
            provider_id: Some(owner.clone()),
            name: "disk".to_owned(),
            r#type: value::Type::Scalar.into(),
            reservations: self.config.reservations(),
            disk: Some(DiskInfo { source: Some(source), ..DiskInfo::default() }),
            ..Resource::default()
        }
    }
}
