//! What a provider has and is doing: in memory, and word for word in the ledger.
//!
//! An agent keeps nothing of it (`Slave::handleResourceProviderMessage`, src/slave/slave.cpp): what is left out when it asks is gone for
//! Mesos. So every change is in the ledger before the agent hears of it: what operations change is noted, and [`State::flush`] writes it
//! before anything is done or said about it, for many operations at once.

use std::collections::BTreeMap;

use hawser_proto::mesos::v1::{
    AgentId as AgentIdMessage, Operation, OperationState, OperationStatus, Resource, ResourceProviderId, Uuid as UuidMessage,
    offer,
};
use hawser_volume::{Access, Error, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disks::DiskEntry;
use super::format::Stored;
use super::resource::{Conversion, Totals, disk_id};
use crate::driver::Context;
use crate::ledger::{Batch, Ledger, Section};
use crate::mesos::AgentId;

/// Keys of [`Section::Provider`].
const REGISTRATION: &str = "registration";
const SPACE: &str = "space";

/// The agent that the provider is registered with, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    pub(super) agent: AgentId,
    /// Under which name. The agent takes an id only with the name that it was given for.
    pub(super) name: String,
    /// The id that the agent gave.
    pub(super) provider: String,
    /// An operator has given the provider up; the agent never takes this id again.
    #[serde(default)]
    pub(super) gone: bool,
}

/// Everything of one provider.
#[derive(Debug)]
pub(super) struct State {
    ledger: Ledger,
    pub(super) registration: Option<Registration>,
    pub(super) totals: Totals,
    pub(super) disks: BTreeMap<String, DiskEntry>,
    operations: BTreeMap<Uuid, Operation>,
    /// What was changed and is not in the ledger yet.
    unwritten: Batch,
}

/// How an operation ends.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) conversions: Vec<Conversion>,
    /// A disk that is new, and how it is used.
    pub(super) disk: Option<(String, Context, Access)>,
    /// Disks whose persistent volume was destroyed.
    pub(super) leftovers: Vec<String>,
}

impl State {
    /// What the ledger has.
    pub(super) fn load(ledger: &Ledger) -> Result<Self> {
        let registration = ledger.entry(Section::Provider, REGISTRATION)?;
        let space: Vec<Stored<Resource>> = ledger.entry(Section::Provider, SPACE)?.unwrap_or_default();
        let disks: BTreeMap<String, DiskEntry> = ledger.entries(Section::Disks)?.into_iter().collect();
        let mut totals = Totals::default();
        space.iter().chain(disks.values().map(|disk| &disk.resource)).for_each(|Stored(resource)| totals.add(resource));
        let mut operations = BTreeMap::new();
        for (key, Stored(operation)) in ledger.entries::<Stored<Operation>>(Section::Operations)? {
            let uuid =
                key.parse().map_err(|error| Error::internal(format!("the operation {key:?} in the ledger")).caused_by(error))?;
            operations.insert(uuid, operation);
        }
        Ok(Self { ledger: ledger.clone(), registration, totals, disks, operations, unwritten: Batch::default() })
    }

    /// The agent, as its messages say it.
    pub(super) fn agent(&self) -> Option<AgentIdMessage> {
        self.registration.as_ref().map(|registration| AgentIdMessage { value: registration.agent.as_str().to_owned() })
    }

    /// All that is offered.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn operation(&self, uuid: Uuid) -> Option<&Operation> {
        self.operations.get(&uuid)
    }

    pub(super) fn operations(&self) -> impl Iterator<Item = (Uuid, &Operation)> {
        self.operations.iter().map(|(uuid, operation)| (*uuid, operation))
    }

    /// Notes as whom the provider is known. What it has is that one's from now on; operations of another agent are nobody's any more.
    pub(super) fn register(&mut self, registration: Registration) -> Result<()> {
        if self.registration.as_ref() == Some(&registration) {
            return Ok(());
        }
        let mut batch = Batch::default();
        let owner = ResourceProviderId { value: registration.provider.clone() };
        let mut totals = Totals::default();
        for resource in self.totals.all() {
            totals.add(&Resource { provider_id: Some(owner.clone()), ..resource.clone() });
        }
        for (id, disk) in &mut self.disks {
            disk.resource.0.provider_id = Some(owner.clone());
            batch.put(Section::Disks, id, disk)?;
        }
        if self.registration.as_ref().is_some_and(|before| before.agent != registration.agent) {
            for uuid in std::mem::take(&mut self.operations).into_keys() {
                batch.remove(Section::Operations, &uuid.to_string());
            }
        }
        self.totals = totals;
        self.put_space(&mut batch)?;
        batch.put(Section::Provider, REGISTRATION, &registration)?;
        self.write(batch)?;
        self.registration = Some(registration);
        Ok(())
    }

    /// Replaces the space, of which disks are made, by what `change` makes of it. Whether anything changed.
    pub(super) fn change_space(&mut self, change: impl FnOnce(&mut Totals) -> Result<()>) -> Result<bool> {
        let before = self.totals.clone();
        change(&mut self.totals)?;
        if self.totals == before {
            return Ok(false);
        }
        let mut batch = Batch::default();
        self.put_space(&mut batch)?;
        self.write(batch)?;
        Ok(true)
    }

    /// Notes that an operation has begun.
    pub(super) fn begin(&mut self, uuid: Uuid, operation: Operation) -> Result<()> {
        self.put_operation(uuid, operation, Batch::default())
    }

    /// Notes how the operation `uuid` has ended, and what has become of its resources. Whoever asked for something that is not there is
    /// told that it failed.
    pub(super) fn finish(&mut self, uuid: Uuid, mut operation: Operation, outcome: Result<Outcome>) -> Result<Operation> {
        let mut batch = Batch::default();
        let applied = outcome.and_then(|outcome| self.apply(outcome, &mut batch));
        let (state, message, converted) = match applied {
            Ok(converted) => (OperationState::OperationFinished, None, converted),
            Err(error) => {
                batch = Batch::default();
                (OperationState::OperationFailed, Some(error.chain()), Vec::new())
            }
        };
        let status = self.status(&operation.info, state, message, converted);
        operation.latest_status = status.clone();
        operation.statuses.push(status);
        self.put_operation(uuid, operation.clone(), batch)?;
        Ok(operation)
    }

    /// The status that an operation has been dropped; it is repeated until it is acknowledged.
    pub(super) fn drop_operation(&mut self, uuid: Uuid, mut operation: Operation, why: String) -> Result<Operation> {
        let status = self.status(&operation.info, OperationState::OperationDropped, Some(why), Vec::new());
        operation.latest_status = status.clone();
        operation.statuses = vec![status];
        self.put_operation(uuid, operation.clone(), Batch::default())?;
        Ok(operation)
    }

    /// Forgets an operation whose end the framework, or the agent for it, has heard of. Nothing happens for any other.
    pub(super) fn acknowledge(&mut self, uuid: Uuid, status: &[u8]) {
        let is_it = self.operations.get(&uuid).is_some_and(|operation| {
            operation.latest_status.uuid.as_ref().is_some_and(|known| known.value == status) && !is_pending(operation)
        });
        if is_it {
            let mut batch = Batch::default();
            batch.remove(Section::Operations, &uuid.to_string());
            self.unwritten.append(batch);
            self.operations.remove(&uuid);
        }
    }

    /// A status of an operation of this provider.
    pub(super) fn status(
        &self,
        info: &offer::Operation,
        state: OperationState,
        message: Option<String>,
        converted_resources: Vec<Resource>,
    ) -> OperationStatus {
        let provider = self.registration.as_ref().map(|registration| registration.provider.clone());
        let uuid = (state != OperationState::OperationPending).then(|| message_of(Uuid::new_v4()));
        OperationStatus {
            operation_id: info.id.clone(),
            state: state.into(),
            message,
            converted_resources,
            uuid,
            agent_id: self.agent(),
            resource_provider_id: provider.map(|value| ResourceProviderId { value }),
        }
    }

    /// Changes what there is and says what the operation's resources have become, as its framework has them.
    fn apply(&mut self, outcome: Outcome, batch: &mut Batch) -> Result<Vec<Resource>> {
        let mut changed: BTreeMap<String, Option<DiskEntry>> = BTreeMap::new();
        for conversion in &outcome.conversions {
            let (before, after) = (disk_id(&conversion.consumed), conversion.converted.as_ref().and_then(disk_id));
            if let Some(id) = before {
                changed.insert(id.to_owned(), None);
            }
            let (Some(id), Some(resource)) = (after, &conversion.converted) else { continue };
            let resource = Stored(Resource { allocation_info: None, ..resource.clone() });
            let made = outcome.disk.as_ref().filter(|(new, _, _)| new == id).cloned();
            let entry = match (made, self.disks.get(id)) {
                (Some((_, context, access)), _) => DiskEntry { context, access, resource },
                (None, Some(known)) => DiskEntry { resource, ..known.clone() },
                (None, None) => return Err(Error::internal(format!("nothing is known of the disk {id}"))),
            };
            changed.insert(id.to_owned(), Some(entry));
        }
        self.totals.apply(&outcome.conversions)?;
        for (id, entry) in changed {
            match entry {
                Some(entry) => {
                    batch.put(Section::Disks, &id, &entry)?;
                    self.disks.insert(id, entry);
                }
                None => {
                    batch.remove(Section::Disks, &id);
                    self.disks.remove(&id);
                }
            }
        }
        for id in &outcome.leftovers {
            batch.put(Section::Leftovers, id, &())?;
        }
        self.put_space(batch)?;
        Ok(outcome.conversions.into_iter().filter_map(|conversion| conversion.converted).collect())
    }

    /// Writes down everything that was changed, with one flush for all of it. After an error the ledger is right and this is not.
    pub(super) fn flush(&mut self) -> Result<()> {
        if !self.unwritten.is_empty() {
            tokio::task::block_in_place(|| self.ledger.write_together(&self.unwritten))?;
            self.unwritten = Batch::default();
        }
        Ok(())
    }

    pub(super) fn write(&mut self, batch: Batch) -> Result<()> {
        self.unwritten.append(batch);
        self.flush()
    }

    fn put_space(&self, batch: &mut Batch) -> Result<()> {
        let space = self.totals.all().iter().filter(|resource| disk_id(resource).is_none());
        batch.put(Section::Provider, SPACE, &space.cloned().map(Stored).collect::<Vec<_>>())
    }

    fn put_operation(&mut self, uuid: Uuid, operation: Operation, mut batch: Batch) -> Result<()> {
        batch.put(Section::Operations, &uuid.to_string(), &Stored(operation.clone()))?;
        self.unwritten.append(batch);
        self.operations.insert(uuid, operation);
        Ok(())
    }
}

/// Whether it is not over.
pub(super) fn is_pending(operation: &Operation) -> bool {
    operation.latest_status.state() == OperationState::OperationPending
}

pub(super) fn message_of(uuid: Uuid) -> UuidMessage {
    UuidMessage { value: uuid.as_bytes().to_vec() }
}

/// An agent's uuid, which has 16 bytes.
pub(super) fn uuid_of(message: &UuidMessage) -> Result<Uuid> {
    Uuid::from_slice(&message.value).map_err(|error| Error::unavailable("read a uuid that the agent says").caused_by(error))
}
