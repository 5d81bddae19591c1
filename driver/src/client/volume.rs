//! A volume as a driver describes it.

use std::collections::BTreeMap;

use hawser_bridge::Driver;
use hawser_proto::csi;
use hawser_proto::csi::list_volumes_response::Entry;
use hawser_volume::{Bytes, Deadline, Error, Result, VolumeId};
use serde::Serialize;

use super::find::{Listed, Named, Typed};
use super::session::Session;

/// The key of a volume's context under which Hawser says what name it was made under, and other drivers may.
const NAME: &str = "name";

/// What is wrong with a volume, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Condition {
    pub(super) abnormal: bool,
    pub(super) message: String,
}

/// A volume. The fields are those of the JSON output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Volume {
    pub(super) id: String,
    pub(super) name: Option<String>,
    /// Nothing when the driver does not say.
    pub(super) bytes: Option<u64>,
    pub(super) status: Status,
    /// The nodes that have it; nothing when the driver cannot say.
    pub(super) nodes: Option<Vec<String>>,
    pub(super) condition: Option<Condition>,
    /// Whether the driver knows it. One that can neither list nor look up believes every id.
    pub(super) context: BTreeMap<String, String>,
    /// What it is a copy of.
    pub(super) source: Option<Source>,
    /// Places from which it is reachable, any of them; none for everywhere.
    pub(super) topology: Vec<BTreeMap<String, String>>,
}

/// Where a volume is, in the words of REX-Ray.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// To this node.
    Attached,
    /// To no node.
    Available,
    /// To other nodes only.
    Unavailable,
    /// The driver does not say.
    Unknown,
}

impl Status {
    fn of(nodes: Option<&[String]>, this: &str) -> Self {
        match nodes {
            None => Status::Unknown,
            Some([]) => Status::Available,
            Some(nodes) if nodes.iter().any(|node| node == this) => Status::Attached,
            Some(_) => Status::Unavailable,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Status::Attached => "attached",
            Status::Available => "available",
            Status::Unavailable => "unavailable",
            Status::Unknown => "unknown",
        }
    }
}

/// What a volume is a copy of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    Snapshot(String),
    Volume(String),
}

impl Named for Volume {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Volume {
    /// A volume as the driver listed it.
    pub(super) fn of(entry: Entry, driver: &Driver) -> Option<Self> {
        let volume = entry.volume?;
        let nodes = entry.status.as_ref().filter(|_| driver.can.list_nodes).map(|status| status.published_node_ids.clone());
        let condition = entry.status.and_then(|status| status.volume_condition);
        let source = volume.content_source.and_then(|source| source.r#type).map(|source| match source {
            csi::volume_content_source::Type::Snapshot(snapshot) => Source::Snapshot(snapshot.snapshot_id),
            csi::volume_content_source::Type::Volume(volume) => Source::Volume(volume.volume_id),
        });
        Some(Self {
            status: Status::of(nodes.as_deref(), &driver.node_id),
            name: volume.volume_context.get(NAME).filter(|name| !name.is_empty()).cloned(),
            id: volume.volume_id,
            bytes: u64::try_from(volume.capacity_bytes).ok().filter(|bytes| *bytes > 0),
            nodes,
            condition: condition.map(|condition| Condition { abnormal: condition.abnormal, message: condition.message }),
            context: volume.volume_context,
            source,
            topology: volume.accessible_topology.into_iter().map(|place| place.segments.into_iter().collect()).collect(),
        })
    }

    /// One of which nothing is known but the id.
    pub(super) fn bare(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: None,
            bytes: None,
            status: Status::Unknown,
            nodes: None,
            condition: None,
            context: BTreeMap::new(),
            source: None,
            topology: Vec::new(),
        }
    }

    /// How sentences call it.
    pub(super) fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.id),
            None => self.id.clone(),
        }
    }

    /// Its size in words.
    pub(super) fn size(&self) -> String {
        self.bytes.map(|bytes| Bytes::new(bytes).to_string()).unwrap_or_default()
    }

    /// The other nodes that have it.
    pub(super) fn elsewhere(&self, node: &str) -> Vec<String> {
        self.nodes.iter().flatten().filter(|other| *other != node).cloned().collect()
    }

    /// Whether a node has it, as far as the driver says.
    pub(super) fn is_on(&self, node: &str) -> bool {
        self.nodes.iter().flatten().any(|other| other == node)
    }
}

impl Session {
    /// Every volume that the driver lists, by name and then id. Of Hawser's own driver those of the backends that answer.
    pub(super) async fn volumes(&self) -> Result<Listed<Volume>> {
        let partly = self.driver.list_partly(self.asking()).await?;
        let mut listed = Listed::of("volume", partly, |entry| Volume::of(entry, &self.driver));
        listed.all.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(listed)
    }

    /// The volume that is meant by `text`.
    ///
    /// A driver that cannot list is asked for the id alone; one that can do neither is believed to have every id.
    pub(super) async fn volume(&self, text: &str, typed: Typed) -> Result<Volume> {
        let can = self.driver.can;
        if text.is_empty() {
            return Err(Error::invalid("the name of the volume is empty; give an id or a name"));
        }
        // A name would be refused, and be a failure in the driver's log. Ids of Hawser's are told from names by their form.
        let may_be_id = !can.list || (self.driver.is_own() && text.parse::<VolumeId>().is_ok());
        if can.get
            && may_be_id
            && let Some(volume) = self.look_up(text, self.asking()).await?
        {
            return Ok(volume);
        }
        if can.list {
            return self.volumes().await?.find("volume", text, typed).cloned();
        }
        if can.get {
            return Err(Error::not_found(format!(
                "there is no volume with the id {text:?}, and driver {} cannot list its volumes (LIST_VOLUMES), so names and parts of ids are \
                 not known; give the whole id",
                self.driver.name
            )));
        }
        Ok(Volume::bare(text))
    }

    /// The volume with this id, anew.
    pub(super) async fn look_up(&self, id: &str, deadline: Deadline) -> Result<Option<Volume>> {
        Ok(self.driver.volume(id, deadline).await?.and_then(|entry| Volume::of(entry, &self.driver)))
    }
}

impl Volume {
    /// The volume of a record, as far as that knows it.
    pub(super) fn of_record(record: &super::record::Record) -> Self {
        Self { name: record.name.clone(), context: record.context.clone(), ..Self::bare(&record.volume) }
    }

    /// A volume that was answered without its status.
    #[cfg(test)]
    pub(super) fn bare_of(volume: csi::Volume) -> Self {
        Self { context: volume.volume_context, ..Self::bare(&volume.volume_id) }
    }
}
