//! What there is to see, in words: one line of `what: how it is` for each thing. The model and the look at the plugin write the same
//! lines or differ, and the difference is what a failure shows.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::operation::{Node, Pod, VolumeName};
use super::state::{Data, Device, Mount, Opened, Origin, Snapshot, SnapshotKey, State, Volume, VolumeKey};
use crate::conformance::Need;
use crate::ground::Ground;

/// What there is, and how it is.
pub type Lines = BTreeMap<String, String>;

/// For what cannot be foreseen.
pub const ANYTHING: &str = "anything";

/// For where nothing was written.
pub const NOTHING: &str = "nothing";

/// How a volume is listed.
pub fn volume_line(label: &str, size: &str, nodes: &[String], origin: Option<&str>) -> (String, String) {
    let nodes = if nodes.is_empty() { "nobody's".to_owned() } else { nodes.join(" and ") };
    (format!("volume {label}"), format!("{size}, {nodes}, from {}", origin.unwrap_or("nothing")))
}

/// How a snapshot is listed.
pub fn snapshot_line(label: &str, of: &str, size: &str) -> (String, String) {
    (format!("snapshot {label}"), format!("of {of}, {size}, ready, cut when it was said to be"))
}

/// What is mounted at a staging path.
pub fn staged_line(node: &str, name: &str) -> String {
    format!("staged on {node} for {name}")
}

/// What is mounted at a target path.
pub fn published_line(node: &str, pod: &str, name: &str) -> String {
    format!("published on {node} at {pod} for {name}")
}

/// How a mount is.
pub fn mount_words(label: &str, block: bool, read_only: bool) -> String {
    match (block, read_only) {
        (true, _) => format!("{label} raw"),
        (false, true) => format!("{label} read-only"),
        (false, false) => format!("{label} writable"),
    }
}

/// What a task finds at a target path.
pub fn content_line(node: &str, pod: &str, name: &str) -> String {
    format!("content on {node} at {pod} for {name}")
}

/// The content of a seed.
pub fn pattern_words(seed: u64) -> String {
    format!("pattern {seed}")
}

/// The device of a volume.
pub fn device_line(label: &str, size: &str, read_only: bool) -> (String, String) {
    (format!("device of {label}"), format!("{size}, {}", if read_only { "read-only" } else { "writable" }))
}

impl State {
    pub(super) fn volume_line(&self, key: VolumeKey, volume: &Volume) -> (String, String) {
        let nodes: Vec<String> = volume.attachments.keys().map(ToString::to_string).collect();
        let origin = volume.origin.filter(|_| self.form.has(Need::Noted)).map(|origin| match origin {
            Origin::Volume(key) => key.to_string(),
            Origin::Snapshot(key) => key.to_string(),
        });
        // CSI spec, Volume.capacity_bytes: zero is "unknown".
        let size = if self.form.has(Need::Measured) { volume.size.word().to_owned() } else { self.form.words(0) };
        volume_line(&key.to_string(), &size, &nodes, origin.as_deref())
    }

    pub(super) fn snapshot_line(&self, key: SnapshotKey, snapshot: &Snapshot) -> (String, String) {
        snapshot_line(&key.to_string(), &snapshot.of.to_string(), snapshot.size.word())
    }

    /// The device of a volume. One that the driver makes is there while a node holds the volume, with the size that was last looked
    /// at; one that the storage system gives is there while a node has been given it, as the volume is.
    fn device_of(&self, volume: &Volume) -> Option<Device> {
        let given = || Device { size: volume.size, read_only: false };
        match self.form.backend.ground {
            Ground::Devices if !self.form.has(Need::Untold) => (!volume.attachments.is_empty()).then(given),
            _ => volume.device.filter(|_| self.form.has(Need::Device)),
        }
    }

    /// Everything that must be seen, and nothing else may be.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::new();
        for (key, snapshot) in &self.snapshots {
            lines.extend([self.snapshot_line(*key, snapshot)]);
        }
        for (key, volume) in &self.volumes {
            lines.extend([self.volume_line(*key, volume)]);
            if let Some(device) = self.device_of(volume) {
                let (what, how) = device_line(&key.to_string(), device.size.word(), device.read_only);
                // Whether it has been asked meanwhile, by whoever asked for another one, is not known.
                let may_be_larger = self.form.has(Need::Untold) && device.size != volume.size;
                lines.insert(what, if may_be_larger { ANYTHING.to_owned() } else { how });
            }
            for (node, place) in &volume.places {
                if let Some(mount) = &place.staged {
                    lines.insert(staged_line(node.word(), key.name.word()), words(*key, volume, mount));
                }
                for (pod, mount) in &place.pods {
                    self.published(&mut lines, (*key, volume), (*node, *pod), mount);
                }
            }
        }
        lines
    }

    fn published(&self, lines: &mut Lines, (key, volume): (VolumeKey, &Volume), (node, pod): (Node, Pod), mount: &Mount) {
        let (node, pod, name) = (node.word(), pod.word(), key.name.word());
        lines.insert(published_line(node, pod, name), words(key, volume, mount));
        let content = match (volume.data, mount.block) {
            (Data::Filesystem { .. }, true) => ANYTHING.to_owned(),
            (Data::Raw(seed), _) | (Data::Filesystem { pattern: Some(seed), .. }, false) => pattern_words(seed.into()),
            (Data::Blank, _) | (Data::Filesystem { pattern: None, .. }, false) => NOTHING.to_owned(),
        };
        lines.insert(content_line(node, pod, name), content);
    }
}

fn words(key: VolumeKey, volume: &Volume, mount: &Mount) -> String {
    let read_only = mount.read_only || volume.opened == Some(Opened::ReadOnly);
    mount_words(&key.to_string(), mount.block, read_only)
}

/// What differs between what must be seen and what is seen, or nothing.
pub fn difference(expected: &Lines, seen: &Lines) -> Option<String> {
    let mut text = String::new();
    for (what, how) in expected {
        match seen.get(what) {
            Some(found) if found == how || how == ANYTHING => {}
            Some(found) => writeln!(text, "  {what}: {found}, and should be {how}").unwrap(),
            None => writeln!(text, "  {what}: missing, and should be {how}").unwrap(),
        }
    }
    for (what, how) in seen.iter().filter(|(what, _)| !expected.contains_key(*what)) {
        writeln!(text, "  {what}: {how}, and should not be").unwrap();
    }
    (!text.is_empty()).then_some(text)
}

/// The name of a path that belongs to a pod and a volume.
pub fn pod_directory(pod: Pod, name: VolumeName) -> String {
    format!("{pod}-{name}")
}
