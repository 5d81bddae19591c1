//! Marathon: an app, a list of apps, or a group of them, as `POST /v2/apps` and `PUT /v2/groups` take them.
//!
//! The rules are those of Marathon 1.12's code, not of its documentation; each is cited where it is checked. Paths there are below
//! `src/main/scala/mesosphere/marathon/`.

mod app;
mod csi;
mod dvdi;
mod external;
mod rules;

use super::Reading;
use super::json::{Node, Object};
use crate::finding::Findings;

use rules::AppVolumes;

/// Groups within groups, at most: Marathon's own are names in a path, and nobody has twenty parts in one.
const DEPTH_MAX: usize = 32;

/// Apps that are read, for the rules that concern several.
#[derive(Debug, Default)]
pub(super) struct Apps(Vec<AppVolumes>);

impl Apps {
    /// Reads one app; `base` is the id of its group.
    pub fn app(&mut self, root: &Object<'_>, base: &str, reading: &mut Reading) {
        self.0.push(app::read(root, base, reading));
    }

    /// Reads a group, with the groups in it.
    pub fn group(&mut self, root: &Object<'_>, base: &str, depth: usize, reading: &mut Reading) {
        let id = root.get("id").and_then(|node| node.text(&mut reading.findings));
        let id = id.map_or_else(|| base.to_owned(), |id| absolute(&id, base));
        if depth >= DEPTH_MAX {
            reading.findings.mistake(&root.node.place(), format!("is a group in {DEPTH_MAX} others; no more are read"));
            return;
        }
        for app in objects(root.get("apps"), &mut reading.findings) {
            self.app(&app, &id, reading);
        }
        for pod in objects(root.get("pods"), &mut reading.findings) {
            read_pod(&pod, reading);
        }
        for group in objects(root.get("groups"), &mut reading.findings) {
            self.group(&group, &id, depth + 1, reading);
        }
    }

    /// Ends the reading: what several apps may not share.
    pub fn end(self, reading: &mut Reading) {
        rules::names_across_apps(&self.0, &mut reading.findings);
    }
}

fn objects<'d>(list: Option<&Node<'d>>, findings: &mut Findings) -> Vec<Object<'d>> {
    let Some(list) = list.and_then(|node| node.array(findings)) else { return Vec::new() };
    list.iter().filter_map(|node| node.object(findings)).collect()
}

/// An id as Marathon completes it: absolute, or below the group (PathId).
fn absolute(id: &str, base: &str) -> String {
    let full = if id.starts_with('/') { id.to_owned() } else { format!("{base}/{id}") };
    full.trim_end_matches('/').to_owned()
}

/// A pod has no external volumes (docs/docs/rest-api/public/api/v2/types/volumes.raml, PodVolume); an `external` in it is dropped
/// without a word, as any field that Marathon does not know.
pub(super) fn read_pod(root: &Object<'_>, reading: &mut Reading) {
    let findings = &mut reading.findings;
    for volume in objects(root.get("volumes"), findings) {
        if let Some(external) = volume.get("external") {
            findings.mistake(&external.place(), "is not read: Marathon has external volumes in apps only, not in pods");
        }
    }
}
