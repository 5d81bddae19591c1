//! What a provider has and is doing: in memory, and word for word in the ledger.
//!
//! An agent keeps nothing of it (`Slave::handleResourceProviderMessage`, src/slave/slave.cpp): what is left out when it asks is gone for
//! Mesos. So every change is in the ledger before the agent hears of it.

use std::collections::BTreeMap;

use hawser_proto::mesos::v1::{
    AgentId as AgentIdMessage, Operation, OperationState, OperationStatus, Resource, ResourceProviderId, Uuid as UuidMessage,
    offer,
};
use hawser_volume::{Access, Error, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::format::Stored;
use super::resource::{Conversion, Totals, disk_id, source};
use super::rivals::ADOPTED;
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

/// A disk that was made, or that was there before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskEntry {
    /// What CreateVolume said of it.
    #[serde(default)]
    pub(super) context: Context,
    pub(super) access: Access,
    /// As it is offered, allocated to nobody.
    pub(super) resource: Stored<Resource>,
}

impl DiskEntry {
    /// When an operator had it offered here, in seconds since 1970; 0 for one that was made here.
    pub(super) fn adopted_at(&self) -> u64 {
        let labels = source(&self.resource.0).and_then(|source| source.metadata.as_ref()).map(|metadata| &metadata.labels);
        let label = labels.into_iter().flatten().find(|label| label.key == ADOPTED);
        label.and_then(|label| label.value.as_ref()?.parse().ok()).unwrap_or(0)
    }
}

/// Everything of one provider.
#[derive(Debug)]
pub(super) struct State {
    ledger: Ledger,
    pub(super) registration: Option<Registration>,
    totals: Totals,
    disks: BTreeMap<String, DiskEntry>,
    operations: BTreeMap<Uuid, Operation>,
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
        Ok(Self { ledger: ledger.clone(), registration, totals, disks, operations })
    }

    /// The agent, as its messages say it.
    pub(super) fn agent(&self) -> Option<AgentIdMessage> {
        self.registration.as_ref().map(|registration| AgentIdMessage { value: registration.agent.as_str().to_owned() })
    }

    /// All that is offered.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn disk(&self, id: &str) -> Option<&DiskEntry> {
        self.disks.get(id)
    }

    pub(super) fn disks(&self) -> impl Iterator<Item = &DiskEntry> {
        self.disks.values()
    }

    pub(super) fn disks_by_id(&self) -> impl Iterator<Item = (&str, &DiskEntry)> {
        self.disks.iter().map(|(id, disk)| (id.as_str(), disk))
    }

    /// Adds a disk that was there before.
    pub(super) fn add_disk(&mut self, id: &str, entry: DiskEntry) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(Section::Disks, id, &entry)?;
        self.write(&batch)?;
        self.totals.add(&entry.resource.0);
        self.disks.insert(id.to_owned(), entry);
        Ok(())
    }

    /// Forgets a disk, whose volume stays.
    pub(super) fn remove_disk(&mut self, id: &str) -> Result<()> {
        let Some(entry) = self.disks.get(id) else { return Ok(()) };
        let mut batch = Batch::default();
        batch.remove(Section::Disks, id);
        self.write(&batch)?;
        self.totals.subtract(&entry.resource.0)?;
        self.disks.remove(id);
        Ok(())
    }

    pub(super) fn operation(&self, uuid: Uuid) -> Option<&Operation> {
        self.operations.get(&uuid)
    }

    pub(super) fn operations(&self) -> impl Iterator<Item = (Uuid, &Operation)> {
        self.operations.iter().map(|(uuid, operation)| (*uuid, operation))
    }

    /// Whether the disk is being destroyed.
    pub(super) fn is_going(&self, id: &str) -> bool {
        self.operations.values().any(|operation| {
            let source = operation.info.destroy_disk.as_ref().map(|destroy| &destroy.source);
            is_pending(operation) && source.and_then(disk_id) == Some(id)
        })
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
        self.write(&batch)?;
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
        self.write(&batch)?;
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
    pub(super) fn acknowledge(&mut self, uuid: Uuid, status: &[u8]) -> Result<()> {
        let is_it = self.operations.get(&uuid).is_some_and(|operation| {
            operation.latest_status.uuid.as_ref().is_some_and(|known| known.value == status) && !is_pending(operation)
        });
        if is_it {
            let mut batch = Batch::default();
            batch.remove(Section::Operations, &uuid.to_string());
            self.write(&batch)?;
            self.operations.remove(&uuid);
        }
        Ok(())
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

    /// Where a flush may block.
    fn write(&self, batch: &Batch) -> Result<()> {
        tokio::task::block_in_place(|| self.ledger.write_together(batch))
    }

    fn put_space(&self, batch: &mut Batch) -> Result<()> {
        let space = self.totals.all().iter().filter(|resource| disk_id(resource).is_none());
        batch.put(Section::Provider, SPACE, &space.cloned().map(Stored).collect::<Vec<_>>())
    }

    fn put_operation(&mut self, uuid: Uuid, operation: Operation, mut batch: Batch) -> Result<()> {
        batch.put(Section::Operations, &uuid.to_string(), &Stored(operation.clone()))?;
        self.write(&batch)?;
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
