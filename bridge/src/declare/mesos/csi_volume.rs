//! `CSI_VOLUME`: static provisioning, which the `volume/csi` isolator hands to a node plugin.
//!
//! The fields are those of `mesos.proto`; the documentation of the isolator lists others (a `readonly` that there is not).

use hawser_volume::{Access, AccessKind};

use super::container::{Container, Engine};
use crate::claim::VolumeClaim;
use crate::declare::capability::{filesystem, mode, mount};
use crate::declare::context;
use crate::declare::docker::map_entries;
use crate::declare::draft::{Draft, driver_name};
use crate::declare::json::Object;
use crate::finding::Findings;

pub(super) fn read(mut draft: Draft, volume: &Object<'_>, container: &Container, findings: &mut Findings) -> Option<VolumeClaim> {
    volume.warn_of_others(&["plugin_name", "static_provisioning"], "Mesos", findings);
    if container.engine == Engine::Docker {
        findings.mistake(&draft.place, "is left out without a word by Mesos in a container of type DOCKER; use type MESOS");
    }
    draft.driver = volume
        .required("plugin_name", findings)
        .and_then(|node| Some((node.text(findings)?, node.place())))
        .and_then(|(text, place)| driver_name(text, &place, findings));
    let provisioning = volume.required("static_provisioning", findings)?.object(findings)?;
    let fields = ["volume_id", "volume_capability", "node_stage_secrets", "node_publish_secrets", "volume_context"];
    provisioning.warn_of_others(&fields, "Mesos", findings);
    for key in ["node_stage_secrets", "node_publish_secrets"] {
        if let Some(node) = provisioning.get(key) {
            findings.warn(&node.place(), "never reaches the plugin: Mesos drops it (src/slave/csi_server.cpp); give Hawser its credentials in its configuration");
        }
    }
    let context = provisioning.get("volume_context").map(|node| map_entries(node, findings)).unwrap_or_default();
    let id = provisioning.required("volume_id", findings).and_then(|node| Some((node.text(findings)?, node.place())));
    let capability = provisioning.required("volume_capability", findings)?.object(findings)?;
    let access = access(&capability, findings)?;
    if access.is_block() {
        // volume/csi/isolator.cpp makes a directory and binds the published path to it.
        findings
            .warn(&capability.node.place(), "asks for a block device, and the isolator can only show a directory to the task");
    }
    let (id, place) = id?;
    context::read(draft, (&id, &place), context, access, findings)
}

fn access(capability: &Object<'_>, findings: &mut Findings) -> Option<Access> {
    capability.warn_of_others(&["block", "mount", "access_mode"], "Mesos", findings);
    let by = capability.required("access_mode", findings).and_then(|node| node.object(findings));
    let mode = by.and_then(|by| by.required("mode", findings).and_then(|node| mode(node, findings)));
    let kind = match (capability.get("block"), capability.get("mount")) {
        (Some(block), None) => block.object(findings).map(|_| AccessKind::Block),
        (None, Some(node)) => {
            let object = node.object(findings)?;
            object.warn_of_others(&["fs_type", "mount_flags"], "Mesos", findings);
            let filesystem = object.get("fs_type").map_or(Some(None), |node| filesystem(node, findings))?;
            mount(filesystem, object.get("mount_flags"), findings)
        }
        _ => {
            findings.mistake(&capability.node.place(), "must have mount or block, one of them");
            None
        }
    };
    Some(Access { kind: kind?, mode: mode? })
}
