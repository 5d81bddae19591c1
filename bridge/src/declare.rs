//! From what a task declares to claims, and to every mistake in it with its place.
//!
//! There is a file for each form; what they have in common (options, contexts, the last checks) is read in one place. A volume with
//! a mistake gives no claim: half-understood volumes are how data ends up on the wrong disk.

mod capability;
pub mod context;
pub mod docker;
mod draft;
mod environment;
mod json;
mod marathon;
mod mesos;
mod nearest;
pub mod options;

use hawser_volume::Result;

use crate::claim::VolumeClaim;
use crate::finding::{Finding, Findings};

use json::{Document, Object};

/// What was read: the claims of the volumes without mistakes, and everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The claims, in the order of the file.
    pub claims: Vec<VolumeClaim>,
    /// Mistakes and warnings.
    pub findings: Findings,
}

impl Reading {
    /// The reading of one claim.
    fn of(read: impl FnOnce(&mut Findings) -> Option<VolumeClaim>) -> Self {
        let mut reading = Self::default();
        reading.claim(read);
        reading
    }

    /// Adds what `read` gives, unless it found a mistake.
    fn claim(&mut self, read: impl FnOnce(&mut Findings) -> Option<VolumeClaim>) {
        self.findings.begin();
        let claim = read(&mut self.findings);
        self.claims.extend(claim.filter(|_| self.findings.is_good()));
    }

    /// The one claim of a door, with its warnings; `Invalid` with every mistake otherwise.
    pub fn into_result(self) -> Result<(VolumeClaim, Vec<Finding>)> {
        match self.claims.into_iter().next() {
            Some(claim) if self.findings.mistakes.is_empty() => Ok((claim, self.findings.warnings)),
            _ => Err(self.findings.into_error()),
        }
    }
}

/// What a file was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    App,
    Group,
    Pod,
    Message,
    DockerCreate,
}

/// Reads a file of any form: a Marathon app or group, a task or another message of Mesos, a request to make a Docker volume; or a
/// list of these.
pub fn file(text: &str) -> Reading {
    let mut reading = Reading::default();
    let mut apps = marathon::Apps::default();
    let document = Document::new(text);
    let Some(root) = document.root(&mut reading.findings) else { return reading };
    if root.is_array() {
        let list = root.array(&mut reading.findings);
        for node in list.iter().flat_map(|list| list.iter()) {
            if let Some(object) = node.object(&mut reading.findings) {
                one(&object, &mut apps, &mut reading);
            }
        }
    } else if let Some(object) = root.object(&mut reading.findings) {
        // As `GET /v2/apps/{id}` answers.
        let inner = object.get("app").and_then(|node| node.object(&mut reading.findings));
        one(inner.as_ref().unwrap_or(&object), &mut apps, &mut reading);
    }
    apps.end(&mut reading);
    reading
}

fn one(root: &Object<'_>, apps: &mut marathon::Apps, reading: &mut Reading) {
    match kind(root) {
        Some(Kind::App) => apps.app(root, "", reading),
        Some(Kind::Group) => apps.group(root, "", 0, reading),
        Some(Kind::Pod) => marathon::read_pod(root, reading),
        Some(Kind::Message) => mesos::read(root, reading),
        Some(Kind::DockerCreate) => docker::create_request(root, reading),
        None => reading.findings.mistake(
            &root.node.place(),
            "is nothing that declares volumes: neither a Marathon app (id) nor a group (apps), nor a task (task_id), an executor, a \
             container (type, volumes) or a volume (container_path) of Mesos, nor a request for a Docker volume (Name)",
        ),
    }
}

/// Tells the forms apart by the fields that one has and the others have not. Marathon has `id`, Mesos `task_id` and the like.
fn kind(root: &Object<'_>) -> Option<Kind> {
    // An app has no name; a task has, and may lack its id in a file that is still being written.
    let task = root.has("name") && (root.has("container") || root.has("command"));
    if root.has("apps") || root.has("groups") {
        Some(Kind::Group)
    } else if root.has("id") && root.has("containers") {
        Some(Kind::Pod)
    } else if !root.has("id") && (task || mesos::is_message(root)) {
        Some(Kind::Message)
    } else if root.has("Name") && ["Opts", "Driver", "DriverOpts"].iter().any(|key| root.has(key)) {
        Some(Kind::DockerCreate)
    } else if root.has("id") || root.has("container") || root.has("env") {
        Some(Kind::App)
    } else if root.has("Name") {
        Some(Kind::DockerCreate)
    } else {
        None
    }
}
