//! `external` of a volume: the providers `dvdi` and `csi`.

use hawser_volume::error::shown;

use super::rules::{Provider, Volume};
use super::{csi, dvdi};
use crate::claim::VolumeClaim;
use crate::declaration::Form;
use crate::declare::draft::{Draft, container_path};
use crate::declare::json::{Node, Object};
use crate::finding::Findings;

/// Which containerizer runs the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Mesos,
    /// `said` is false when it is only Marathon's default.
    Docker {
        said: bool,
    },
}

/// Reads a volume that has `external`. What the rules about several volumes need is left in `told`, also when the volume itself has
/// mistakes.
pub(super) fn read(
    volume: &Object<'_>,
    engine: Engine,
    told: &mut Option<Volume>,
    findings: &mut Findings,
) -> Option<VolumeClaim> {
    volume.warn_of_others(&["containerPath", "mode", "external"], "Marathon", findings);
    let path = volume.required("containerPath", findings).and_then(|node| mount_path(node, findings));
    let read_only = volume.required("mode", findings).and_then(|node| mode(node, findings));
    let external = volume.get("external")?.object(findings)?;
    let provider = external.required("provider", findings).and_then(|node| Some((node.text(findings)?, node.place())));
    let (provider, place) = provider?;
    let provider = match provider.as_str() {
        "dvdi" => Provider::Dvdi,
        "csi" => Provider::Csi,
        other => {
            findings.mistake(&place, format!("{} is no provider; it is dvdi or csi", shown(other)));
            return None;
        }
    };
    let name = external.required("name", findings).and_then(|node| Some((node.text(findings)?, node.place())));
    let (name, name_place) = name?;
    *told =
        Some(Volume { provider, name: name.clone(), place: volume.node.place(), shared: false, mode: None, read_only: false });
    let told = told.as_mut()?;
    let form = if provider == Provider::Dvdi { Form::MarathonDvdi } else { Form::MarathonCsi };
    let mut draft = Draft::new(form, volume.node.place());
    draft.container_path = path;
    draft.read_only = read_only;
    told.read_only = read_only.unwrap_or_default();
    match provider {
        Provider::Dvdi => dvdi::read(draft, (&name, &name_place), &external, engine, told, findings),
        Provider::Csi => csi::read(draft, (&name, &name_place), &external, engine, told, findings),
    }
}

fn mode(node: &Node<'_>, findings: &mut Findings) -> Option<bool> {
    match node.text(findings)?.as_str() {
        "RW" => Some(false),
        "RO" => Some(true),
        other => {
            findings.mistake(&node.place(), format!("{} is no mode; it is RW or RO", shown(other)));
            None
        }
    }
}

fn mount_path(node: &Node<'_>, findings: &mut Findings) -> Option<String> {
    let text = node.text(findings)?;
    // state/Volume.scala, DotPaths.
    if text == "." || text == ".." {
        findings.mistake(&node.place(), format!("{} is refused by Marathon; name a directory", shown(&text)));
        return None;
    }
    container_path(text, &node.place(), findings)
}
