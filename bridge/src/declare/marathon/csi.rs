//! Provider `csi`: the id of a volume, for the `volume/csi` isolator (core/externalvolume/impl/providers/CSIProvider.scala).

use hawser_volume::error::shown;
use hawser_volume::{Access, AccessKind};

use super::external::Engine;
use super::rules::Volume;
use crate::claim::VolumeClaim;
use crate::declare::capability::{filesystem, mode, mount};
use crate::declare::context;
use crate::declare::docker::map_entries;
use crate::declare::draft::{Draft, driver_name};
use crate::declare::json::Object;
use crate::finding::{Findings, Place};

pub(super) fn read(
    mut draft: Draft,
    name: (&str, &Place),
    external: &Object<'_>,
    engine: Engine,
    told: &mut Volume,
    findings: &mut Findings,
) -> Option<VolumeClaim> {
    external.warn_of_others(&["name", "provider", "options"], "Marathon", findings);
    if let Engine::Docker { said } = engine {
        let default = if said { "" } else { ", which is the default when type is missing" };
        let text = format!("is left out without a word by Mesos in a container of type DOCKER{default}; use type MESOS");
        findings.mistake(&draft.place, text);
    }
    let options = external.required("options", findings)?.object(findings)?;
    let fields = ["pluginName", "capability", "nodeStageSecret", "nodePublishSecret", "volumeContext"];
    options.warn_of_others(&fields, "Marathon", findings);
    draft.driver = options
        .required("pluginName", findings)
        .and_then(|node| Some((node.text(findings)?, node.place())))
        .and_then(|(text, place)| driver_name(text, &place, findings));
    for key in ["nodeStageSecret", "nodePublishSecret"] {
        if let Some(node) = options.get(key) {
            findings.warn(&node.place(), "never reaches the plugin: Mesos drops it (src/slave/csi_server.cpp); give Hawser its credentials in its configuration");
        }
    }
    let context = options.get("volumeContext").map(|node| map_entries(node, findings)).unwrap_or_default();
    let capability = options.required("capability", findings)?.object(findings)?;
    let access = access(&capability, findings)?;
    told.mode = Some(access.mode);
    context::read(draft, name, context, access, findings)
}

fn access(capability: &Object<'_>, findings: &mut Findings) -> Option<Access> {
    capability.warn_of_others(&["accessMode", "accessType", "fsType", "mountFlags"], "Marathon", findings);
    let mode = capability.required("accessMode", findings).and_then(|node| mode(node, findings));
    let kind = capability.required("accessType", findings).and_then(|node| Some((node.text(findings)?, node.place())));
    // fsType is optional in the RAML, and an IllegalStateException of the conversion without it (raml/VolumeConversion.scala). An
    // empty one means the driver's choice.
    let (kind, place) = kind?;
    let kind = match kind.as_str() {
        "block" => AccessKind::Block,
        "mount" => {
            let Some(node) = capability.get("fsType") else {
                let place = capability.node.place().member("fsType");
                findings.mistake(
                    &place,
                    "is required for accessType mount: Marathon fails without it; \"\" leaves the choice to the driver",
                );
                return None;
            };
            let filesystem = filesystem(node, findings)?;
            mount(filesystem, capability.get("mountFlags"), findings)?
        }
        other => {
            findings.mistake(&place, format!("{} is no access type; it is mount or block", shown(other)));
            return None;
        }
    };
    Some(Access { kind, mode: mode? })
}
