//! What the actions make of snapshots.

use std::time::{Instant, SystemTime};

use super::ZONES;
use super::model::{Answer, Refused, Snapshot, World, all, no_snapshot, tag_filter, tag_set, time};
use super::query::Query;
use super::xml::{Node, set, text};

impl World {
    pub(crate) fn create_snapshot(&mut self, query: &Query) -> Answer {
        let size = self.volume(query.must("VolumeId")?)?.size;
        let id = self.id("snap-");
        let snapshot = Snapshot {
            id: id.clone(),
            volume: query.must("VolumeId")?.to_owned(),
            size,
            fast: Vec::new(),
            lock: None,
            tags: query.tags("TagSpecification.1.Tag"),
            made: Instant::now(),
            started: SystemTime::now(),
        };
        let shown = self.show_snapshot(&snapshot);
        self.snapshots.insert(id, snapshot);
        Ok(shown)
    }

    pub(crate) fn delete_snapshot(&mut self, query: &Query) -> Answer {
        let id = query.must("SnapshotId")?;
        let snapshot = self.snapshots.get(id).ok_or_else(|| no_snapshot(id))?;
        if snapshot.lock.is_some() {
            return Err(Refused::new("OperationNotPermitted", format!("The snapshot '{id}' is locked.")));
        }
        self.snapshots.remove(id);
        Ok(vec![text("return", true)])
    }

    /// Whether the snapshot is there, and how large it is.
    pub(crate) fn snapshot_size(&self, id: &str) -> Result<u32, Refused> {
        let snapshot = self.snapshots.get(id).ok_or_else(|| no_snapshot(id))?;
        if snapshot.made + self.settings.snapshot > Instant::now() {
            return Err(Refused::new("IncorrectState", format!("Snapshot '{id}' is not in the 'completed' state.")));
        }
        Ok(snapshot.size)
    }

    pub(crate) fn describe_snapshots(&self, query: &Query) -> Answer {
        let filters = query.filters()?;
        let ids = query.list("SnapshotId");
        if let Some(id) = ids.iter().find(|id| !self.snapshots.contains_key(*id)) {
            return Err(no_snapshot(id));
        }
        let mut shown = Vec::new();
        for snapshot in self.snapshots.values() {
            let fits = all(&filters, |name| match name {
                "snapshot-id" => Ok(vec![snapshot.id.clone()]),
                "volume-id" => Ok(vec![snapshot.volume.clone()]),
                _ => tag_filter(name, &snapshot.tags),
            })?;
            let listed = snapshot.made + self.settings.listed <= Instant::now();
            if fits && listed && (ids.is_empty() || ids.contains(&snapshot.id)) {
                shown.push((snapshot.id.clone(), self.show_snapshot(snapshot)));
            }
        }
        self.page("snapshotSet", shown, query)
    }

    fn show_snapshot(&self, snapshot: &Snapshot) -> Vec<Node> {
        let done = snapshot.made + self.settings.snapshot <= Instant::now();
        vec![
            text("snapshotId", &snapshot.id),
            text("volumeId", &snapshot.volume),
            text("status", if done { "completed" } else { "pending" }),
            text("startTime", time(snapshot.started)),
            text("progress", if done { "100%" } else { "0%" }),
            text("ownerId", "123456789012"),
            text("volumeSize", snapshot.size),
            text("encrypted", false),
            tag_set(&snapshot.tags),
        ]
    }

    pub(crate) fn fast_restore(&mut self, query: &Query) -> Answer {
        let (zones, ids) = (query.list("AvailabilityZone"), query.list("SourceSnapshotId"));
        for id in &ids {
            let snapshot = self.snapshots.get_mut(id).ok_or_else(|| no_snapshot(id))?;
            if let Some(zone) = zones.iter().find(|zone| !ZONES.contains(&zone.as_str())) {
                let error =
                    Node::Tree("error", vec![text("code", "InvalidZone.NotFound"), text("message", format!("no zone {zone}"))]);
                let state = set("fastSnapshotRestoreStateErrorSet", [vec![text("availabilityZone", zone), error]]);
                return Ok(vec![set("successful", []), set("unsuccessful", [vec![text("snapshotId", id), state]])]);
            }
            snapshot.fast = zones.clone();
        }
        Ok(vec![set("successful", ids.iter().map(|id| vec![text("snapshotId", id)])), set("unsuccessful", [])])
    }

    pub(crate) fn lock_snapshot(&mut self, query: &Query) -> Answer {
        let (id, mode, days) = (query.must("SnapshotId")?, query.must("LockMode")?, query.number("LockDuration")?);
        if !["governance", "compliance"].contains(&mode) {
            return Err(Refused::new("InvalidParameterValue", format!("Value ({mode}) for parameter LockMode is invalid.")));
        }
        let snapshot = self.snapshots.get_mut(id).ok_or_else(|| no_snapshot(id))?;
        snapshot.lock = Some((mode.to_owned(), days));
        Ok(vec![text("snapshotId", id), text("lockState", mode)])
    }
}
