//! A storage provider, as a file of `--resource_provider_config_dir` describes it (`src/resource_provider/daemon.cpp`, `local.cpp`,
//! `storage/provider.cpp`).

use hawser_volume::error::shown;

use super::message::{Reader, elements, member, number, object, text};
use super::plugin::{self, Plugin};
use super::schema::PROVIDER;
use crate::declare::json::{Node, Object};
use crate::declare::nearest::nearest;
use crate::finding::{Findings, Place};

/// `LocalResourceProviderDaemonProcess::initialize` logs what it cannot load and goes on.
pub(super) const READER: Reader =
    Reader { refused: "the agent logs an error and goes on without this provider", protobuf: false };

/// The only type that Mesos has (local.cpp).
pub(super) const TYPE: &str = "org.apache.mesos.rp.local.storage";

/// How often storage should be asked at most, in seconds. Mesos' own is 10 (resource_provider/constants.hpp): each agent lists all
/// volumes and asks for the capacity of every profile six times a minute.
const POLL: f64 = 60.0;

/// What the rest of an agent's files must agree with.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub kind: String,
    pub name: String,
    pub place: Place,
    pub plugin: Option<Plugin>,
}

impl Provider {
    /// What the file says, unless it is no provider at all.
    pub fn read(root: &Node<'_>, findings: &mut Findings) -> Option<Self> {
        let file = PROVIDER.check(root, READER, findings)?;
        let (kind, name) = (text(&file, "type")?, text(&file, "name")?);
        if let Some(node) = member(&file, "type").filter(|_| kind != TYPE) {
            // Also the help of Mesos' own flag has it wrong: org.mesos.apache.rp.local.storage.
            let text = format!("{} is no provider that Mesos has: {}; write {TYPE}", shown(&kind), READER.refused);
            findings.mistake(&node.place(), text);
        }
        if let Some(node) = member(&file, "name").filter(|_| !is_word(&name)) {
            findings.mistake(&node.place(), format!("must be of letters, digits and _ alone: {}", READER.refused));
        }
        if let Some(node) = member(&file, "id") {
            findings.mistake(&node.place(), format!("is for Mesos to set: {}; take it out", READER.refused));
        }
        let plugin = match file.get("storage").and_then(object) {
            Some(storage) => read_storage(&storage, findings),
            None => {
                let near = nearest("storage", file.members().map(|(key, _)| key)).filter(|near| *near != "storage");
                let hint = near.map(|near| format!("; {} is there, which is not read", shown(near))).unwrap_or_default();
                findings.mistake(&root.place().member("storage"), format!("is required: {}{hint}", READER.refused));
                None
            }
        };
        Some(Self { kind, name, place: root.place(), plugin })
    }
}

fn read_storage(storage: &Object<'_>, findings: &mut Findings) -> Option<Plugin> {
    interval(storage, findings);
    let file = storage.get("plugin").and_then(object)?;
    let plugin = plugin::identity(&file)?;
    let place = |key: &str| member(&file, key).map_or_else(|| file.node.place(), Node::place);
    if !is_type(&plugin.kind) {
        let text = format!("must be words of letters, digits and _ with dots between them: {}", READER.refused);
        findings.mistake(&place("type"), text);
    }
    if !is_word(&plugin.name) {
        findings.mistake(&place("name"), format!("must be of letters, digits and _ alone: {}", READER.refused));
    }
    for (key, why) in [
        ("endpoints", "a provider starts its plugin itself and reads no endpoints; describe it with containers"),
        ("target_path_root", "tasks are sent to csi/<type>/<name>/mounts of work_dir whatever stands here; take it out"),
    ] {
        if file.has(key) {
            findings.mistake(&place(key), why);
        }
    }
    if file.has("target_path_exists") {
        // volume_manager.cpp makes the target a directory, and a block device needs a file.
        findings.warn(&place("target_path_exists"), "makes a directory of the target also of a block volume, which fails then");
    }
    let containers = elements(&file, "containers");
    let served = plugin::services(&containers, findings);
    let here = file.node.place().member("containers");
    if !served.iter().any(|service| service == "NODE_SERVICE") {
        findings.mistake(&here, format!("no container serves NODE_SERVICE: {}", READER.refused));
    } else if !served.iter().any(|service| service == "CONTROLLER_SERVICE") {
        // The provider asks for both services whatever there is (provider.cpp), and ServiceManagerProcess has a CHECK for each.
        let text = "no container serves CONTROLLER_SERVICE, and the agent aborts on a CHECK; add it to the services of one";
        findings.mistake(&here, text);
    }
    Some(plugin)
}

fn interval(storage: &Object<'_>, findings: &mut Findings) {
    let key = "reconciliation_interval_seconds";
    let Some(node) = member(storage, key) else {
        let text = "is 10 when it is not given: every agent asks for all volumes and for each profile's capacity that often; \
            give 60 or more";
        return findings.warn(&storage.node.place().member(key), text);
    };
    match number(node, false, READER, &mut Findings::default()) {
        Some(seconds) if seconds < 0.0 || seconds > 0.0 && seconds < 1.0 => {
            // Read as whole seconds, and `process::after` of nothing, or less, is at once.
            findings
                .mistake(&node.place(), "makes the provider ask without a pause; give whole seconds, 60 or more, or 0 for never");
        }
        Some(seconds) if seconds > 0.0 && seconds < POLL => {
            findings.warn(
                &node.place(),
                "is how often every agent asks for all volumes and for each profile's capacity; 60 or more is kind",
            );
        }
        _ => {}
    }
}

/// isValidType, provider.cpp. The type of a plugin of volume/csi may be any text, one with hyphens, too.
pub(super) fn is_type(kind: &str) -> bool {
    kind.split('.').all(is_word)
}

/// isValidName, provider.cpp.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
