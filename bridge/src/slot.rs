//! Slots: small numbers that tasks of one kind hold while they live, so that a replacement finds its predecessor's volumes.
//!
//! The model is mesos/elasticsearch's "Node ID": the lowest number, from 0, that no task in the list has; a task that dies leaves
//! the list, and its replacement, on any agent, takes the number and with it the volume (`ClusterState.getElasticNodeId`).
//!
//! ```text
//!           allocate: the lowest free one              every task state that is terminal
//!    free ───────────────────────────────▶ held by T ─────────────────────────────────────▶ free
//!                                           │     ▲
//!                                           └─────┘ allocate for T again: the same one
//! ```
//!
//! This is the state and the rules alone. A decision is a [`SlotChange`]; whoever keeps the ledger writes it down durably, then
//! [`Slots::apply`]s it, and only then uses the slot. Reading the ledger is applying its changes again.

use std::collections::BTreeMap;
use std::fmt;

use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::task::TaskKey;

/// The number of a slot, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The tasks that share one series of numbers: those of one framework, or of one app of it. All volumes of a task use the one
/// number that it holds in its pool, so data and log of node 2 stay together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pool(pub String);

/// Who holds which slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRecord {
    /// The series.
    pub pool: Pool,
    /// The number in it.
    pub slot: Slot,
    /// Its holder.
    pub task: TaskKey,
}

/// A decision, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotChange {
    /// The task holds the slot from now on.
    Taken(SlotRecord),
    /// The slot is free.
    GivenBack(SlotRecord),
}

/// The answer to a task that wants a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocation {
    /// It has this one already; there is nothing to write down.
    Held(Slot),
    /// It gets this one, once the change is written down and applied.
    New(SlotRecord),
}

impl Allocation {
    /// The slot, either way.
    pub fn slot(&self) -> Slot {
        match self {
            Allocation::Held(slot) => *slot,
            Allocation::New(record) => record.slot,
        }
    }
}

/// All slots that are held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots {
    held: BTreeMap<Pool, BTreeMap<Slot, TaskKey>>,
    by_task: BTreeMap<TaskKey, BTreeMap<Pool, Slot>>,
}

impl Slots {
    /// The state after `changes`, oldest first.
    ///
    /// `Internal` for changes that cannot have happened (see [`Slots::apply`]): the ledger is damaged or was written by two.
    pub fn replay(changes: impl IntoIterator<Item = SlotChange>) -> Result<Self> {
        let mut slots = Self::default();
        changes.into_iter().try_for_each(|change| slots.apply(&change))?;
        Ok(slots)
    }

    /// The slot of `task` in `pool`: the one that it holds, or else the lowest that is free. Changes nothing.
    ///
    /// `Exhausted` when all 2^32 numbers are held.
    pub fn allocate(&self, pool: &Pool, task: &TaskKey) -> Result<Allocation> {
        if let Some(slot) = self.by_task.get(task).and_then(|pools| pools.get(pool)) {
            return Ok(Allocation::Held(*slot));
        }
        let mut lowest = 0u32;
        for slot in self.held.get(pool).into_iter().flat_map(BTreeMap::keys) {
            if slot.0 != lowest {
                break;
            }
            lowest = lowest
                .checked_add(1)
                .ok_or_else(|| Error::new(hawser_volume::Kind::Exhausted, format!("pool {} has no slot left", pool.0)))?;
        }
        Ok(Allocation::New(SlotRecord { pool: pool.clone(), slot: Slot(lowest), task: task.clone() }))
    }

    /// What must be given back because `task` is over; nothing when it holds nothing, so a state that is told twice does no harm.
    ///
    /// Call it for terminal states alone. A task that is unreachable may still write; and one that is merely offered elsewhere is
    /// not over.
    pub fn terminal(&self, task: &TaskKey) -> Vec<SlotChange> {
        let pools = self.by_task.get(task).into_iter().flatten();
        pools
            .map(|(pool, slot)| SlotChange::GivenBack(SlotRecord { pool: pool.clone(), slot: *slot, task: task.clone() }))
            .collect()
    }

    /// Makes a decision true. A change that is true already changes nothing.
    ///
    /// `Internal` when another task holds the slot, or the task holds another slot of the pool.
    pub fn apply(&mut self, change: &SlotChange) -> Result<()> {
        match change {
            SlotChange::Taken(SlotRecord { pool, slot, task }) => {
                let holder = self.held.get(pool).and_then(|slots| slots.get(slot));
                let own = self.by_task.get(task).and_then(|pools| pools.get(pool));
                if let Some(holder) = holder.filter(|holder| *holder != task) {
                    return Err(Error::internal(format!("slot {slot} of {} is held by {holder}, not free for {task}", pool.0)));
                }
                if let Some(own) = own.filter(|own| *own != slot) {
                    return Err(Error::internal(format!("{task} holds slot {own} of {}, so it cannot take {slot}", pool.0)));
                }
                self.held.entry(pool.clone()).or_default().insert(*slot, task.clone());
                self.by_task.entry(task.clone()).or_default().insert(pool.clone(), *slot);
            }
            SlotChange::GivenBack(SlotRecord { pool, slot, task }) => {
                let Some(slots) = self.held.get_mut(pool).filter(|slots| slots.get(slot) == Some(task)) else { return Ok(()) };
                slots.remove(slot);
                if slots.is_empty() {
                    self.held.remove(pool);
                }
                if let Some(pools) = self.by_task.get_mut(task) {
                    pools.remove(pool);
                    if pools.is_empty() {
                        self.by_task.remove(task);
                    }
                }
            }
        }
        Ok(())
    }

    /// Every slot that is held, by pool and number: what a compacted ledger holds.
    pub fn list(&self) -> impl Iterator<Item = SlotRecord> {
        self.held.iter().flat_map(|(pool, slots)| {
            slots.iter().map(|(slot, task)| SlotRecord { pool: pool.clone(), slot: *slot, task: task.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::TaskState;

    fn task(number: u8) -> TaskKey {
        TaskKey { framework: "f-1".into(), task: format!("t-{number}") }
    }

    fn take(slots: &mut Slots, pool: &str, number: u8) -> u32 {
        let allocation = slots.allocate(&Pool(pool.into()), &task(number)).unwrap();
        if let Allocation::New(record) = &allocation {
            slots.apply(&SlotChange::Taken(record.clone())).unwrap();
        }
        allocation.slot().0
    }

    fn end(slots: &mut Slots, number: u8) {
        for change in slots.terminal(&task(number)) {
            slots.apply(&change).unwrap();
        }
    }

    /// The story of mesos/elasticsearch#489: three nodes, node 1 dies, its replacement becomes node 1.
    #[test]
    fn a_replacement_takes_the_place_of_the_one_that_died() {
        let mut slots = Slots::default();
        assert_eq!([1, 2, 3].map(|number| take(&mut slots, "es", number)), [0, 1, 2]);
        assert_eq!(take(&mut slots, "es", 2), 1, "asking again changes nothing");
        end(&mut slots, 2);
        assert_eq!(take(&mut slots, "es", 4), 1);
        assert_eq!(take(&mut slots, "es", 5), 3);
        end(&mut slots, 2);
        assert_eq!(take(&mut slots, "es", 4), 1, "a late word of the old task's death takes nothing from the new one");
        assert_eq!(take(&mut slots, "kafka", 4), 0, "another pool has its own numbers");
        end(&mut slots, 4);
        assert_eq!(slots.list().map(|record| record.slot.0).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn an_unreachable_task_keeps_its_slot_and_a_lost_one_does_not() {
        for (name, state) in [
            ("TASK_UNREACHABLE", TaskState::Alive),
            ("TASK_LOST", TaskState::Terminal),
            ("TASK_KILLING", TaskState::Alive),
            ("TASK_GONE_BY_OPERATOR", TaskState::Terminal),
        ] {
            assert_eq!(name.parse::<TaskState>().unwrap(), state, "{name}");
        }
        assert!("RUNNING".parse::<TaskState>().is_err());
    }

    #[test]
    fn a_ledger_in_which_two_tasks_hold_one_slot_is_refused() {
        let record = |slot, number| SlotRecord { pool: Pool("es".into()), slot: Slot(slot), task: task(number) };
        assert!(Slots::replay([SlotChange::Taken(record(0, 1)), SlotChange::Taken(record(0, 2))]).is_err());
        assert!(Slots::replay([SlotChange::Taken(record(0, 1)), SlotChange::Taken(record(1, 1))]).is_err());
        assert!(Slots::replay([SlotChange::Taken(record(0, 1)), SlotChange::Taken(record(0, 1))]).is_ok());
        assert_eq!(
            Slots::replay([SlotChange::Taken(record(0, 1)), SlotChange::GivenBack(record(0, 1))]).unwrap(),
            Slots::default()
        );
    }

    proptest! {
        /// Against a list of (pool, task, slot) that is searched from the start each time. The ledger, read again at the end as it
        /// comes back from JSON, gives the same state; so does the compacted one.
        #[test]
        fn slots_are_those_of_a_naive_list(steps in prop::collection::vec((any::<bool>(), 0u8..3, 0u8..12), 0..80)) {
            let mut slots = Slots::default();
            let mut model: Vec<(u8, u8, u32)> = Vec::new();
            let mut ledger: Vec<String> = Vec::new();
            for (allocate, pool, number) in steps {
                if allocate {
                    let expected = match model.iter().find(|(p, t, _)| (*p, *t) == (pool, number)) {
                        Some((_, _, slot)) => *slot,
                        None => {
                            let free = (0..).find(|slot| !model.iter().any(|(p, _, s)| (*p, s) == (pool, slot))).unwrap();
                            model.push((pool, number, free));
                            free
                        }
                    };
                    let allocation = slots.allocate(&Pool(format!("p-{pool}")), &task(number)).unwrap();
                    prop_assert_eq!(allocation.slot().0, expected);
                    if let Allocation::New(record) = allocation {
                        let change = SlotChange::Taken(record);
                        ledger.push(serde_json::to_string(&change).unwrap());
                        slots.apply(&change).unwrap();
                    }
                } else {
                    model.retain(|(_, t, _)| *t != number);
                    for change in slots.terminal(&task(number)) {
                        ledger.push(serde_json::to_string(&change).unwrap());
                        slots.apply(&change).unwrap();
                    }
                }
                let mut held: Vec<(String, u32)> = model.iter().map(|(p, _, s)| (format!("p-{p}"), *s)).collect();
                held.sort();
                let listed: Vec<(String, u32)> = slots.list().map(|record| (record.pool.0, record.slot.0)).collect();
                prop_assert_eq!(listed, held);
            }
            let read = Slots::replay(ledger.iter().map(|line| serde_json::from_str(line).unwrap())).unwrap();
            prop_assert_eq!(&read, &slots);
            prop_assert_eq!(Slots::replay(slots.list().map(SlotChange::Taken)).unwrap(), slots);
        }
    }
}
