//! What the plugin called the things that the model knows: ids, contexts and times, as its answers gave them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hawser_proto::csi;
use hawser_scaleio::grant;

use super::form::Form;
use super::operation::{Node, SnapshotName, VolumeName};
use super::state::{Answer, Key, Reply, SnapshotKey, VolumeKey};
use super::view::{Lines, snapshot_line, volume_line};
use crate::client::Context;
use crate::plugin::Plugin;
use crate::settings::Kind;

/// What a call really answered.
#[derive(Debug, Clone)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// A volume.
    Volume(csi::Volume),
    /// A publish context.
    Context(Context),
    /// A size, and whether the node has to follow.
    Size(i64, Option<bool>),
    /// A snapshot.
    Snapshot(csi::Snapshot),
    /// Whether a use was confirmed.
    Confirmed(bool),
    /// Volumes.
    Volumes(Vec<csi::list_volumes_response::Entry>),
    /// Snapshots.
    Snapshots(Vec<csi::Snapshot>),
}

/// What the end of an operation was.
#[derive(Debug, Clone)]
pub enum End {
    /// An answer.
    Said(Said),
    /// A refusal.
    Refused(tonic::Status),
    /// The task could not write.
    ReadOnly,
    /// The task did not try.
    Nowhere,
}

/// What is remembered of answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Names {
    kind: Kind,
    nodes: BTreeMap<Node, String>,
    imagined: Arc<Imagined>,
    volumes: BTreeMap<VolumeKey, csi::Volume>,
    snapshots: BTreeMap<SnapshotKey, csi::Snapshot>,
    contexts: BTreeMap<(VolumeKey, u32), Context>,
}

/// Ids that could be given to what was never made.
#[derive(Debug, PartialEq)]
struct Imagined {
    volumes: BTreeMap<VolumeName, String>,
    snapshots: BTreeMap<SnapshotName, String>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Said(Said::Nothing) => f.write_str("Ok"),
            End::Said(Said::Volume(volume)) => write!(f, "volume {} of {} bytes", volume.volume_id, volume.capacity_bytes),
            End::Said(said) => write!(f, "{said:?}"),
            End::Refused(status) => write!(f, "{:?} {:?}", status.code(), status.message()),
            End::ReadOnly => f.write_str("a task that cannot write"),
            End::Nowhere => f.write_str("a task that does not write"),
        }
    }
}

impl Names {
    /// Those of a plugin that has made nothing yet.
    pub fn new(kind: Kind, plugin: &Plugin) -> Self {
        let nodes = Node::ALL.iter().map(|node| (*node, plugin.node_id(node.word()))).collect();
        let of_volumes = VolumeName::ALL.iter().map(|name| (*name, plugin.imagined("vol", *name as u8)));
        let of_snapshots = SnapshotName::ALL.iter().map(|name| (*name, plugin.imagined("snap", *name as u8)));
        let imagined = Imagined { volumes: of_volumes.collect(), snapshots: of_snapshots.collect() };
        let (volumes, snapshots, contexts) = Default::default();
        Self { kind, nodes, imagined: Arc::new(imagined), volumes, snapshots, contexts }
    }

    /// The id of a node.
    pub fn node(&self, node: Node) -> &str {
        &self.nodes[&node]
    }

    /// The volume as its creation answered; for one that was never made, one with an id that could be.
    pub fn volume(&self, key: VolumeKey) -> csi::Volume {
        let imagined = || csi::Volume { volume_id: self.imagined.volumes[&key.name].clone(), ..Default::default() };
        self.volumes.get(&key).cloned().unwrap_or_else(imagined)
    }

    /// The id of a snapshot.
    pub fn snapshot(&self, key: SnapshotKey) -> String {
        self.snapshots
            .get(&key)
            .map_or_else(|| self.imagined.snapshots[&key.name].clone(), |snapshot| snapshot.snapshot_id.clone())
    }

    /// The publish context of an attachment; empty if there was none.
    pub fn context(&self, key: VolumeKey, epoch: Option<u32>) -> Context {
        epoch.and_then(|epoch| self.contexts.get(&(key, epoch))).cloned().unwrap_or_default()
    }

    /// What a volume with this id is called, or the id itself if nobody has asked for it.
    pub fn of_volume(&self, id: &str) -> String {
        label(&self.volumes, id, |volume| &volume.volume_id)
    }

    /// The same for a snapshot.
    pub fn of_snapshot(&self, id: &str) -> String {
        label(&self.snapshots, id, |snapshot| &snapshot.snapshot_id)
    }

    /// The volume that lies at `path`. Directories of pools are called as the first part of the id, which volumes of one name share; a
    /// device that was given has the whole id.
    pub fn volume_at(&self, path: &Path) -> Option<VolumeKey> {
        let lies_there = |volume: &csi::Volume| {
            let Some((_, native)) = volume.volume_id.split_once(':') else { return false };
            let called = if matches!(self.kind, Kind::Ebs | Kind::ScaleIo) { Some(native) } else { native.split('-').next() };
            called.is_some_and(|called| path.components().any(|component| component.as_os_str() == called))
        };
        self.volumes.iter().rev().find(|(_, volume)| lies_there(volume)).map(|(key, _)| *key)
    }

    /// Whether `end` is what the model answers; what it names is remembered.
    pub fn agree(&mut self, form: &Form, answer: &Answer, end: &End) -> bool {
        match (answer, end) {
            (Answer::Refused(code), End::Refused(status)) => *code == status.code(),
            (Answer::ReadOnly, End::ReadOnly) | (Answer::Nowhere, End::Nowhere) => true,
            (Answer::Done(reply), End::Said(said)) => self.agree_on(form, reply, said),
            _ => false,
        }
    }

    fn agree_on(&mut self, form: &Form, reply: &Reply, said: &Said) -> bool {
        match (reply, said) {
            (Reply::Nothing, Said::Nothing) => true,
            (Reply::Volume(key), Said::Volume(volume)) => {
                let same = |known: &csi::Volume, now: &csi::Volume| {
                    (&known.volume_id, &known.volume_context) == (&now.volume_id, &now.volume_context)
                };
                remember(&mut self.volumes, *key, volume, same, |volume| &volume.volume_id)
            }
            (Reply::Snapshot(key), Said::Snapshot(snapshot)) => {
                snapshot.ready_to_use
                    && snapshot.creation_time.is_some()
                    && remember(&mut self.snapshots, *key, snapshot, PartialEq::eq, |snapshot| &snapshot.snapshot_id)
            }
            (Reply::Context(key, epoch), Said::Context(context)) => {
                // A volume may have grown since.
                let lasting = |context: &Context| -> Context {
                    context
                        .iter()
                        .filter(|(key, _)| *key != grant::SIZE)
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect()
                };
                lasting(self.contexts.entry((*key, *epoch)).or_insert_with(|| context.clone())) == lasting(context)
            }
            (Reply::Size(size, follow), Said::Size(bytes, said)) => form.bytes(*size) == *bytes && follow == said,
            (Reply::Confirmed(wanted), Said::Confirmed(confirmed)) => wanted == confirmed,
            (Reply::Listed(lines), Said::Volumes(entries)) => {
                entries.len() == lines.len() && self.volume_lines(form, entries) == *lines
            }
            (Reply::Listed(lines), Said::Snapshots(snapshots)) => {
                snapshots.len() == lines.len() && self.snapshot_lines(form, snapshots) == *lines
            }
            _ => false,
        }
    }

    /// Listed volumes in words.
    pub fn volume_lines(&self, form: &Form, entries: &[csi::list_volumes_response::Entry]) -> Lines {
        use csi::volume_content_source::Type;
        let line = |entry: &csi::list_volumes_response::Entry| {
            let volume = entry.volume.clone().unwrap_or_default();
            let status = entry.status.clone().unwrap_or_default();
            let word = |id: String| match self.nodes.iter().find(|(_, known)| **known == id) {
                Some((node, _)) => node.word().to_owned(),
                None => id,
            };
            let mut nodes: Vec<String> = status.published_node_ids.into_iter().map(word).collect();
            nodes.sort_unstable();
            let origin = volume.content_source.and_then(|source| source.r#type).map(|source| match source {
                Type::Snapshot(snapshot) => self.of_snapshot(&snapshot.snapshot_id),
                Type::Volume(volume) => self.of_volume(&volume.volume_id),
            });
            let label = self.of_volume(&volume.volume_id);
            let (what, mut how) = volume_line(&label, &form.words(volume.capacity_bytes), &nodes, origin.as_deref());
            let condition = status.volume_condition.unwrap_or_default();
            if condition.abnormal {
                how = format!("{how}, and {}", condition.message);
            }
            (what, how)
        };
        entries.iter().map(line).collect()
    }

    /// Listed snapshots in words.
    pub fn snapshot_lines(&self, form: &Form, snapshots: &[csi::Snapshot]) -> Lines {
        let line = |snapshot: &csi::Snapshot| {
            let label = self.of_snapshot(&snapshot.snapshot_id);
            let known = self.snapshots.values().find(|known| known.snapshot_id == snapshot.snapshot_id);
            let (what, how) =
                snapshot_line(&label, &self.of_volume(&snapshot.source_volume_id), &form.words(snapshot.size_bytes));
            // Sidecars store the time of the first answer; nothing else of it changes either.
            let how = if known == Some(snapshot) { how } else { format!("{how}? {snapshot:?} instead of {known:?}") };
            (what, how)
        };
        snapshots.iter().map(line).collect()
    }
}

fn label<K: fmt::Display, T>(known: &BTreeMap<K, T>, id: &str, id_of: impl Fn(&T) -> &String) -> String {
    known.iter().find(|(_, object)| id_of(object) == id).map_or_else(|| id.to_owned(), |(key, _)| key.to_string())
}

/// Whether `object` can be what is called `key`: it is what was called so before, or new.
fn remember<N, T: Clone>(
    known: &mut BTreeMap<Key<N>, T>,
    key: Key<N>,
    object: &T,
    same: impl Fn(&T, &T) -> bool,
    id_of: impl Fn(&T) -> &String,
) -> bool
where
    Key<N>: Ord,
{
    if let Some(before) = known.get(&key) {
        return same(before, object);
    }
    let is_new = known.values().all(|other| id_of(other) != id_of(object));
    if is_new {
        known.insert(key, object.clone());
    }
    is_new
}
