//! Snapshots, which are volumes that were cut from others.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::object::Wanted;
use super::refused::Refused;
use super::volumes::{Volume, now};
use super::world::World;

/// Most snapshots of one tree.
const SNAPSHOTS_MAX: usize = 126;

impl World {
    /// All or none.
    pub(crate) fn snapshot_volumes(&mut self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        let limit = wanted.text("accessModeLimit").unwrap_or("ReadWrite");
        if !matches!(limit, "ReadWrite" | "ReadOnly") {
            return Err(Refused::bad("accessModeLimit must be ReadWrite or ReadOnly"));
        }
        let minutes = wanted.number("retentionPeriodInMin")?.unwrap_or_default();
        let defs = wanted.list("snapshotDefs");
        if defs.is_empty() {
            return Err(Refused::bad("The request must have snapshotDefs"));
        }
        let mut cuts: Vec<(Volume, Option<String>)> = Vec::new();
        for def in defs {
            let def = Wanted(def);
            let source = self.volumes.get(def.must("volumeId")?).ok_or_else(Refused::no_volume)?.clone();
            let name = self.free_name(def.text("snapshotName"))?;
            if name.is_some() && cuts.iter().any(|(_, other)| *other == name) {
                return Err(Refused::name_in_use());
            }
            let tree = self.volumes.values().filter(|volume| volume.vtree == source.vtree).count();
            if tree + cuts.iter().filter(|(other, _)| other.vtree == source.vtree).count() > SNAPSHOTS_MAX {
                return Err(Refused::too_many_snapshots());
            }
            cuts.push((source, name));
        }
        let group = self.id("c");
        let ids: Vec<String> = cuts.iter().map(|_| self.id("a")).collect();
        self.copy(cuts.iter().map(|(source, _)| source.id.as_str()).zip(ids.iter().map(String::as_str)).collect());
        for ((source, name), id) in cuts.into_iter().zip(&ids) {
            let snapshot = Volume {
                id: id.clone(),
                name,
                kind: "Snapshot".to_owned(),
                ancestor: Some(source.id.clone()),
                group: Some(group.clone()),
                mapped: Vec::new(),
                limit: limit.to_owned(),
                secure_until: if minutes == 0 { 0 } else { now() + 60 * minutes },
                created: now(),
                going: None,
                ..source
            };
            self.volumes.insert(id.clone(), snapshot);
        }
        Ok(json!({"volumeIdList": ids, "snapshotGroupId": group}))
    }

    /// Gives each second one what the first has, all as of one moment.
    fn copy(&self, pairs: Vec<(&str, &str)>) {
        let Some(store) = &self.store else { return };
        let held = self.hold(&pairs.iter().map(|(from, _)| *from).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        pairs.iter().for_each(|(from, to)| store.copy(from, to));
        drop(held);
    }

    pub(crate) fn remove_group(&mut self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        let group = wanted.must("snapGroupId")?;
        let own: Vec<String> = self
            .volumes
            .values()
            .filter(|volume| volume.group.as_deref() == Some(group))
            .map(|volume| volume.id.clone())
            .collect();
        if own.is_empty() {
            return Err(Refused::no_object());
        }
        if own.iter().any(|id| !self.volumes[id].mapped.is_empty()) {
            return Err(Refused::mapped());
        }
        for id in &own {
            self.drop_volume(id);
        }
        Ok(json!({"numberOfVolumes": own.len()}))
    }
}
