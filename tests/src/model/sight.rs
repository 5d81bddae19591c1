//! A look at everything that there is: what the plugin lists, what the kernel has mounted and bound, what a task finds.

use std::fs;
use std::path::Path;

use hawser_proto::csi;
use tonic::Status;

use super::co::{Co, entry, staging, target};
use super::form::Form;
use super::names::Names;
use super::operation::{Filter, Node, Page, Pod, VolumeName};
use super::view::{Lines, NOTHING, content_line, device_line, mount_words, pattern_words, published_line, staged_line};
use crate::client::Client;
use crate::content::{Found, look};
use crate::kernel::{Loop, Mount, mounts_below};

/// How many bytes a task writes: more than fits into a filesystem's smallest corner, little enough to be compared at each step.
pub const LENGTH: usize = 16 << 10;

/// The name, below the staging path, of the file that a raw volume is staged at.
const DEVICE: &str = "device";

/// What was seen, under the names that the plugin and the kernel have for it.
#[derive(Debug)]
pub struct Sight {
    volumes: Vec<csi::list_volumes_response::Entry>,
    asked: Vec<csi::list_volumes_response::Entry>,
    snapshots: Vec<csi::Snapshot>,
    here: Here,
}

/// What was seen of the machine.
#[derive(Debug)]
struct Here {
    places: Vec<Place>,
    mounts: Vec<Mount>,
    devices: Vec<(Loop, i64, bool)>,
}

/// A path where a volume may be shown.
#[derive(Debug)]
struct Place {
    line: String,
    mounts: Vec<Mount>,
    left: Option<String>,
    content: Option<(String, String)>,
}

impl Sight {
    /// Looks. The process behind `client` answers for both; `devices` are those of the volumes, each with what it is bound to.
    pub async fn take(co: Co<'_>, client: &Client, devices: Vec<Loop>) -> Result<Self, Status> {
        let volumes = co.volumes(client, Page::All).await?;
        let mut asked = Vec::with_capacity(volumes.len());
        for volume in volumes.iter().filter_map(|entry| entry.volume.as_ref()) {
            let request = csi::ControllerGetVolumeRequest { volume_id: volume.volume_id.clone() };
            asked.push(entry(client.controller().controller_get_volume(request).await?.into_inner()));
        }
        let snapshots = co.snapshots(client, Filter::All, Page::All).await?;
        let workspace = co.workspace.to_owned();
        // A filesystem that hangs must not hang the test.
        let here = tokio::task::spawn_blocking(move || Here::look(&workspace, devices)).await;
        Ok(Self { volumes, asked, snapshots, here: here.map_err(|error| Status::internal(format!("looking: {error}")))? })
    }

    /// What it is in the words of the model.
    pub fn lines(&self, names: &Names, form: &Form) -> Lines {
        let mut lines = names.volume_lines(form, &self.volumes);
        if lines.len() < self.volumes.len() {
            lines.insert("volumes".to_owned(), "one is listed twice".to_owned());
        }
        if self.asked != self.volumes {
            lines.insert("ControllerGetVolume".to_owned(), format!("{:?} where ListVolumes says {:?}", self.asked, self.volumes));
        }
        lines.extend(names.snapshot_lines(form, &self.snapshots));
        for (device, size, read_only) in &self.here.devices {
            let label = names.volume_at(&device.file).map_or_else(|| device.file.display().to_string(), |key| key.to_string());
            let (what, how) = device_line(&label, &form.words(*size), *read_only);
            let another = lines.get(&what).map(|other| format!("{other} and ")).unwrap_or_default();
            lines.insert(what, format!("{another}{how}"));
        }
        for place in &self.here.places {
            let mounts: Vec<String> = place.mounts.iter().map(|mount| self.mount(names, mount)).collect();
            let words: Vec<String> = mounts.into_iter().chain(place.left.clone()).collect();
            if !words.is_empty() {
                lines.insert(place.line.clone(), words.join(" and "));
            }
            lines.extend(place.content.clone());
        }
        let known = |mount: &&Mount| self.here.places.iter().any(|place| place.mounts.contains(mount));
        for mount in self.here.mounts.iter().filter(|mount| !known(mount)) {
            lines.insert(format!("mount {}", mount.point.display()), self.mount(names, mount));
        }
        lines
    }

    fn mount(&self, names: &Names, mount: &Mount) -> String {
        let node = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let block = matches!(mount.filesystem.as_str(), "devtmpfs" | "tmpfs");
        let device = node(&if block { mount.root.display().to_string() } else { mount.source.clone() });
        let bound = self.here.devices.iter().find(|(bound, ..)| bound.device.ends_with(&device));
        // What an export shows is a part of its source.
        let remote = mount.source.split_once(":/").filter(|_| mount.filesystem == "nfs4").map(|(_, path)| Path::new(path));
        let root = remote.unwrap_or(&mount.root);
        let key = names.volume_at(bound.map_or(root, |(bound, ..)| bound.file.as_path()));
        let label = key.map_or_else(|| format!("{} {}", mount.filesystem, mount.source), |key| key.to_string());
        let read_only = mount.options.iter().chain(&mount.super_options).any(|option| option == "ro");
        mount_words(&label, block, read_only)
    }
}

impl Here {
    fn look(workspace: &Path, devices: Vec<Loop>) -> Self {
        let mounts = mounts_below(workspace);
        let devices = devices.into_iter().map(|bound| {
            let attribute = |name: &str| {
                let path = Path::new("/sys/block").join(bound.device.file_name().unwrap()).join(name);
                fs::read_to_string(path).unwrap_or_default().trim().parse::<i64>().unwrap_or(-1)
            };
            // Documentation/ABI: sizes in sysfs are in units of 512 bytes, whatever the device.
            let (size, read_only) = (attribute("size") * 512, attribute("ro") == 1);
            (bound, size, read_only)
        });
        let mut here = Self { places: Vec::new(), devices: devices.collect(), mounts };
        for node in Node::ALL {
            for name in VolumeName::ALL {
                here.staged(workspace, *node, *name);
                Pod::ALL.iter().for_each(|pod| here.published(workspace, *node, *pod, *name));
            }
        }
        here
    }

    fn at(&self, path: &Path) -> Vec<Mount> {
        self.mounts.iter().filter(|mount| mount.point == path).cloned().collect()
    }

    fn staged(&mut self, workspace: &Path, node: Node, name: VolumeName) {
        let path = staging(workspace, node, name);
        let mounts = [self.at(&path), self.at(&path.join(DEVICE))].concat();
        let left = mounts.is_empty().then(|| fs::read_dir(&path).ok()?.flatten().next()).flatten();
        let left = left.map(|entry| format!("a file {} that is not mounted", entry.file_name().display()));
        self.places.push(Place { line: staged_line(node.word(), name.word()), mounts, left, content: None });
    }

    fn published(&mut self, workspace: &Path, node: Node, pod: Pod, name: VolumeName) {
        let path = target(workspace, node, pod, name);
        let mounts = self.at(&path);
        let left = (mounts.is_empty() && path.symlink_metadata().is_ok()).then(|| "a target that is not mounted".to_owned());
        let content = (!mounts.is_empty()).then(|| {
            let words = match look(&path, LENGTH) {
                Ok(Found::Nothing) => NOTHING.to_owned(),
                Ok(Found::Pattern(seed)) => pattern_words(seed),
                Ok(Found::Other) => "neither nothing nor what a task wrote".to_owned(),
                Err(error) => format!("unreadable: {error}"),
            };
            (content_line(node.word(), pod.word(), name.word()), words)
        });
        self.places.push(Place { line: published_line(node.word(), pod.word(), name.word()), mounts, left, content });
    }
}
