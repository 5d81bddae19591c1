//! A CSI plugin, as a file of `--csi_plugin_config_dir` describes it (`src/slave/csi_server.cpp`, `src/csi/service_manager.cpp`).

use std::path::{Component, Path, PathBuf};

use hawser_volume::error::shown;

use super::message::{Reader, elements, member, object, text};
use super::schema::PLUGIN;
use crate::declare::json::{Node, Object};
use crate::finding::{Findings, Place};

/// `CSIServerProcess::initializePlugin` returns an error for any file that it cannot parse, and `Slave::registered` answers an error
/// of the CSI server with EXIT (slave.cpp).
pub(super) const READER: Reader = Reader { refused: "the agent exits as soon as it is registered", protobuf: false };

/// The longest path of a unix socket, in bytes.
pub(super) const SOCKET_MAX: usize = 107;

/// What Mesos calls a plugin without a `name`.
const NAME: &str = "default";

/// What the rest of an agent's files must agree with.
#[derive(Debug, Clone)]
pub(super) struct Plugin {
    /// Key of the plugin: `plugin_name` of tasks.
    pub kind: String,
    pub name: String,
    pub place: Place,
    pub target_path_root: Option<(PathBuf, Place)>,
}

impl Plugin {
    /// What the file says, unless it is no plugin at all.
    pub fn read(root: &Node<'_>, findings: &mut Findings) -> Option<Self> {
        let file = PLUGIN.check(root, READER, findings)?;
        let plugin = identity(&file)?;
        for (key, name) in [("type", &plugin.kind), ("name", &plugin.name)] {
            // Both become directories of `<work_dir>/csi/<type>/<name>` (src/csi/paths.hpp).
            if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) || name.len() > 255 {
                let place = member(&file, key).map_or_else(|| root.place(), Node::place);
                let text = "must be a name that a directory can have: Mesos keeps the plugin's state in csi/<type>/<name> of \
                    its work_dir";
                findings.mistake(&place, text);
            }
        }
        let (containers, endpoints) = (elements(&file, "containers"), elements(&file, "endpoints"));
        if containers.is_empty() && endpoints.is_empty() {
            // CHECK(info.endpoints_size() > 0), csi_server.cpp.
            findings.mistake(
                &root.place(),
                "has neither containers nor endpoints, and the agent aborts on a CHECK; say where the plugin listens with \
                    endpoints, or \
                 how to run it with containers",
            );
        } else if !containers.is_empty() {
            managed(&file, &containers, &endpoints, findings);
        } else {
            unmanaged(&endpoints, findings);
        }
        if let Some((path, place)) = &plugin.target_path_root {
            root_is_a_place(path, place, findings);
        }
        Some(plugin)
    }
}

/// What names the plugin, and where it mounts.
pub(super) fn identity(file: &Object<'_>) -> Option<Plugin> {
    let kind = text(file, "type")?;
    let name = text(file, "name").unwrap_or_else(|| NAME.to_owned());
    let root = member(file, "target_path_root").and_then(|node| Some((text(file, "target_path_root")?.into(), node.place())));
    Some(Plugin { kind, name, place: file.node.place(), target_path_root: root })
}

fn managed(file: &Object<'_>, containers: &[Node<'_>], endpoints: &[Node<'_>], findings: &mut Findings) {
    if let Some(first) = endpoints.first() {
        findings.mistake(
            &first.place(),
            "has no effect: where there are containers, Mesos reads no endpoints; take one of the two out",
        );
    }
    let served = services(containers, findings);
    if !served.iter().any(|service| service == "NODE_SERVICE") {
        let text = "no container serves NODE_SERVICE, so no volume can be published; add it to the services of one";
        findings.mistake(&file.node.place().member("containers"), text);
    }
    if let Some(node) = member(file, "target_path_root") {
        // service_manager.cpp gives the container `<work_dir>/csi/<type>/<name>/mounts` and nothing else.
        findings.mistake(
            &node.place(),
            "is not mounted into the containers that Mesos starts, so that what is mounted there never reaches a task; take it \
                out",
        );
    }
}

/// Checks each container, and returns the services that they have between them.
pub(super) fn services(containers: &[Node<'_>], findings: &mut Findings) -> Vec<String> {
    let mut served: Vec<String> = Vec::new();
    for node in containers {
        let Some(container) = object(node) else { continue };
        let names: Vec<_> = elements(&container, "services");
        if names.is_empty() {
            // CHECK(!serviceContainers.empty()), service_manager.cpp, when no other container has any.
            let text = "serves nothing: Mesos never starts it, and aborts on a CHECK if no other container has a service; name \
                its services";
            findings.mistake(&node.place().member("services"), text);
        }
        for name in names {
            let Some(service) = name.text(&mut Findings::default()) else { continue };
            if served.contains(&service) {
                findings.mistake(&name.place(), format!("{} is given twice; Mesos uses the first alone", shown(&service)));
            } else {
                served.push(service);
            }
        }
        runnable(&container, findings);
    }
    served
}

fn runnable(container: &Object<'_>, findings: &mut Findings) {
    let place = container.node.place();
    let info = member(container, "container").and_then(object);
    if let Some(kind) = info.as_ref().and_then(|info| member(info, "type"))
        && kind.text(&mut Findings::default()).as_deref() == Some("DOCKER")
    {
        // LAUNCH_CONTAINER starts standalone containers with the Mesos containerizer only (src/slave/http.cpp).
        findings.mistake(&kind.place(), "plugins are started by the Mesos containerizer, which knows MESOS alone; write MESOS");
    }
    let has_image = info.is_some_and(|info| member(&info, "mesos").and_then(object).is_some_and(|mesos| mesos.has("image")));
    let command = member(container, "command").and_then(object);
    let value = command.as_ref().and_then(|command| text(command, "value")).unwrap_or_default();
    if value.is_empty() && !has_image {
        let text =
            "says nothing to run: the container ends at once, and Mesos starts it again without a pause; give command.value";
        findings.mistake(&place.member("command"), text);
    }
    for resource in elements(container, "resources").iter().filter_map(object) {
        let reserved = text(&resource, "role").is_some_and(|role| role != "*") || resource.has("reservation");
        if reserved || !elements(&resource, "reservations").is_empty() || resource.has("revocable") {
            // validation.cpp, LAUNCH_CONTAINER.
            let text = "is reserved or revocable, and Mesos launches no standalone container with such; name the amount alone";
            findings.mistake(&resource.node.place(), text);
        }
    }
    if elements(container, "resources").is_empty() {
        findings.warn(&place.member("resources"), "are not given: no cpus and mem are set aside for the plugin");
    }
}

fn unmanaged(endpoints: &[Node<'_>], findings: &mut Findings) {
    let mut served: Vec<String> = Vec::new();
    for node in endpoints {
        let Some(endpoint) = object(node) else { continue };
        if let (Some(service), Some(place)) = (text(&endpoint, "csi_service"), member(&endpoint, "csi_service").map(Node::place))
        {
            if service == "CONTROLLER_SERVICE" {
                findings.warn(
                    &place,
                    "volume/csi calls no Controller RPC; the endpoint only must be there, too, when the agent starts",
                );
            }
            if served.contains(&service) {
                findings.mistake(&place, format!("{} is given twice; Mesos uses the first alone", shown(&service)));
            }
            served.push(service);
        }
        if let Some(address) = member(&endpoint, "endpoint") {
            reachable(address, findings);
        }
    }
    if !served.is_empty() && !served.iter().any(|service| service == "NODE_SERVICE") {
        let place = endpoints.first().map(Node::place).unwrap_or_else(|| Place::named("$.endpoints"));
        findings.mistake(&place, "no endpoint is a NODE_SERVICE, so no volume can be published; add one");
    }
}

/// The text goes to `grpc::CreateChannel` as it is (service_manager.cpp), for which a bare path is the name of a host.
fn reachable(node: &Node<'_>, findings: &mut Findings) {
    let Some(address) = node.text(&mut Findings::default()) else { return };
    let place = node.place();
    let path = address.strip_prefix("unix://").or_else(|| address.strip_prefix("unix:"));
    match path {
        Some(path) if path.starts_with('/') && path.len() <= SOCKET_MAX && !path.contains('\0') => {}
        Some(path) if path.len() > SOCKET_MAX => {
            findings.mistake(&place, format!("has {} bytes, and the path of a unix socket at most {SOCKET_MAX}", path.len()));
        }
        Some(path) => {
            let text = format!("{} is not the absolute path of a socket; write unix:///path/csi.sock", shown(path));
            findings.mistake(&place, text);
        }
        None if address.starts_with('/') => findings.mistake(
            &place,
            format!(
                "gRPC takes a bare path for the name of a host, and every call fails after 60 s; write {}",
                shown(&format!("unix://{address}"))
            ),
        ),
        None if address.contains("://") || !address.contains(':') => findings.mistake(
            &place,
            format!("{} is no address for gRPC, and every call fails after 60 s; write unix:///path/csi.sock", shown(&address)),
        ),
        None => findings.warn(&place, "is reached over the network, without encryption and by anyone; use a unix socket"),
    }
}

fn root_is_a_place(path: &Path, place: &Place, findings: &mut Findings) {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || path.components().count() < 2 {
        findings.mistake(place, format!("{} must be an absolute path below /, without `..`", shown(&path.display().to_string())));
    }
}
