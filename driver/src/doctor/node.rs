//! This machine: what its backends need of it, the sockets, the node's id, and what is left of volumes that are gone.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hawser_host::examine::{self, Needs, Remains};
use hawser_host::machine;
use hawser_pool::Kind;
use hawser_volume::NodeId;
use hawser_volume::checkup::{Check, Step};

use super::Patient;
use crate::config::BackendConfig;
use crate::socket::{self, Standing};

/// Where the kubelet has the targets of volumes.
const KUBELET: &str = "/var/lib/kubelet";

/// Where it is noted whose a device is, until the next boot.
const NOTES: &str = "/run/hawser";

/// Host names that many machines have.
const PLACEHOLDERS: [&str; 7] = ["localhost", "localhost.localdomain", "localhost6", "(none)", "debian", "ubuntu", "raspberrypi"];

/// The steps of a look at the node.
pub(super) fn steps(patient: &Patient) -> Vec<Step> {
    let needs = needs(patient);
    let mut steps = vec![id(patient)];
    steps.extend(socket_of_driver(patient, &needs.seen));
    steps.extend(needs.steps());
    steps
}

fn needs(patient: &Patient) -> Needs {
    let mut needs = Needs::default();
    for backend in patient.config.backends.values() {
        match backend {
            BackendConfig::Local(local) if local.kind == Kind::Image => {
                (needs.filesystems, needs.loops) = (true, true);
            }
            BackendConfig::Local(_) => {}
            BackendConfig::Ebs(_) => (needs.filesystems, needs.nvme) = (true, true),
            BackendConfig::ScaleIo(_) => (needs.filesystems, needs.scini) = (true, true),
            BackendConfig::Nfs(nfs) => {
                needs.nfs = true;
                let has = |wanted: &str| nfs.mount_options.iter().any(|flag| flag == wanted);
                needs.nfs_helper |= (has("vers=3") || has("nfsvers=3")) && !has("nolock");
            }
        }
    }
    if needs.nvme || needs.scini {
        needs.places.push((NOTES.into(), "the notes of whose a device is"));
    }
    if Path::new(KUBELET).is_dir() {
        needs.seen.push(KUBELET.into());
    }
    if patient.has_bridge() {
        let bridge = &patient.config.bridge;
        needs.seen.push(bridge.mounts.clone());
        needs.places.push((bridge.state.clone(), "the ledger of the bridge"));
        needs.places.push((bridge.mounts.clone(), "the directories on which volumes are mounted"));
    }
    if let Some(folder) =
        endpoint(patient).and_then(|path| path.parent().map(Path::to_owned)).filter(|folder| folder.is_absolute())
    {
        needs.places.push((folder, "the driver's socket"));
    }
    needs
}

/// Where the driver listens, if that is known.
fn endpoint(patient: &Patient) -> Option<PathBuf> {
    match &patient.endpoint {
        Some(endpoint) => socket::endpoint(endpoint).ok(),
        None if patient.has_bridge() && patient.config.bridge.driver.is_none() => {
            Some(patient.config.bridge.state.join("csi.sock"))
        }
        None => None,
    }
}

/// The id of the node, and whether another machine may have the same.
fn id(patient: &Patient) -> Step {
    const STEP: &str = "the node's id";
    let given = patient.node.clone();
    // There the storage system says who the node is.
    let is_told = patient.config.backends.values().any(|backend| match backend {
        BackendConfig::Ebs(_) => true,
        BackendConfig::ScaleIo(scaleio) => scaleio.node_ids == hawser_scaleio::config::NodeIds::SdcGuid,
        BackendConfig::Local(_) | BackendConfig::Nfs(_) => false,
    });
    Step::one(STEP, move || {
        let mend = "set `driver.node-id` (or --node-id) to a name that no other machine has, or `hostnamectl set-hostname`";
        let (id, whence) = match (given, is_told) {
            (Some(id), _) => (id.to_string(), "the configuration"),
            (None, true) => return Check::well(STEP, "is what the storage system calls this machine; see the backend"),
            (None, false) => match machine::hostname() {
                Ok(name) => (name, "the host name"),
                Err(error) => return Check::wrong(STEP, error.chain(), mend),
            },
        };
        if let Err(error) = id.parse::<NodeId>() {
            return Check::wrong(STEP, format!("{whence} is {id:?}: {}", error.chain()), mend);
        }
        if PLACEHOLDERS.contains(&id.to_ascii_lowercase().as_str()) {
            let why = format!("it is {id} ({whence}), as on many machines: two nodes of one id would have each other's volumes");
            return Check::wrong(STEP, why, mend);
        }
        Check::well(STEP, format!("{id} ({whence})"))
    })
}

fn socket_of_driver(patient: &Patient, seen: &[PathBuf]) -> Vec<Step> {
    let Some(given) = patient.endpoint.clone() else {
        return endpoint(patient).map(|path| serving(path, 0o600, seen.to_vec())).into_iter().collect();
    };
    let mode = if patient.config.driver.socket_group.is_some() { 0o660 } else { 0o600 };
    match socket::endpoint(&given) {
        Ok(path) => vec![serving(path, mode, seen.to_vec())],
        Err(error) => {
            let why = error.chain();
            vec![Step::one("the driver's socket", move || {
                Check::wrong("the driver's socket", why, "correct `driver.endpoint`, --endpoint or CSI_ENDPOINT")
            })]
        }
    }
}

fn serving(path: PathBuf, mode: u32, seen: Vec<PathBuf>) -> Step {
    let step = format!("the driver's socket {}", path.display());
    Step::new(step.clone(), move || {
        let (mut checks, process) = served(&step, &path, mode);
        checks.extend(process.map(|process| view_of(process, &seen)).unwrap_or_default());
        checks
    })
}

/// Whether somebody answers at a socket of ours, and who.
pub(super) fn served(step: &str, path: &Path, mode: u32) -> (Vec<Check>, Option<u32>) {
    let shown = path.display();
    match socket::standing(path) {
        Ok(Standing::Missing) => (vec![Check::well(step, "nobody serves it yet")], None),
        Ok(Standing::Other) => {
            let mend = format!("move {shown} away, or choose another endpoint");
            (vec![Check::wrong(step, "there is something that is no socket, and it is not replaced", mend)], None)
        }
        Ok(Standing::Stale) => {
            let why = "nobody answers: the process that made it is dead, and who connects is refused";
            (vec![Check::doubtful(step, why, "start the service (`systemctl status hawser`), which replaces it")], None)
        }
        Ok(Standing::Served(process)) => {
            let mut checks =
                vec![Check::well(step, process.map_or("is served".to_owned(), |id| format!("is served by process {id}")))];
            let there = fs::symlink_metadata(path).ok().filter(|metadata| metadata.file_type().is_socket());
            if let Some(excess) =
                there.map(|metadata| metadata.permissions().mode() & 0o777 & !mode).filter(|excess| *excess != 0)
            {
                checks.push(Check::doubtful(
                    step,
                    format!("others may use it than are configured (mode {:04o} instead of {mode:04o})", excess | mode),
                    format!("`chmod {mode:04o} {shown}`; use `driver.socket-group` for a group"),
                ));
            }
            (checks, process)
        }
        Err(error) => (vec![Check::wrong(step, error.chain(), "run it as root, and see the directory's rights")], None),
    }
}

/// Whether what the running driver mounts is seen by others.
fn view_of(process: u32, seen: &[PathBuf]) -> Vec<Check> {
    const STEP: &str = "the running driver's mounts";
    if examine::is_apart(process) != Some(true) {
        return Vec::new();
    }
    let hidden: Vec<String> = seen
        .iter()
        .filter(|path| examine::is_shared_for(process, path).is_ok_and(|is_shared| !is_shared))
        .map(|path| path.display().to_string())
        .collect();
    if hidden.is_empty() {
        return vec![Check::well(STEP, "are in a namespace of its own, from where they are seen outside")];
    }
    vec![Check::wrong(
        STEP,
        format!(
            "process {process} has a mount namespace of its own, and nobody outside sees what it mounts below {}",
            hidden.join(", ")
        ),
        "in a container mount that directory with `mountPropagation: Bidirectional`; under systemd leave PrivateMounts=, PrivateTmp= and the \
         like out",
    )]
}

/// The steps of a look at what is left of volumes that are gone.
pub(super) fn leftovers(patient: &Patient) -> Vec<Step> {
    let config = &patient.config;
    let locals = config.backends.values().filter_map(|backend| match backend {
        BackendConfig::Local(local) => Some(local.clone()),
        _ => None,
    });
    let locals: Vec<_> = locals.collect();
    let remains = Remains {
        mounts: config.bridge.mounts.clone(),
        plugin: config.driver.name.to_string(),
        roots: locals.iter().map(|local| local.root.clone()).collect(),
        notes: NOTES.into(),
    };
    let mut steps = remains.steps();
    for local in locals {
        steps.push(Step::new(format!("the pool {}", local.root.display()), move || hawser_pool::examine::leftovers(&local)));
    }
    let bridge = config.bridge.clone();
    steps.push(Step::new("the ledger", move || hawser_bridge::examine::ledger(&bridge)));
    for (name, backend) in &config.backends {
        if let BackendConfig::Ebs(_) = backend {
            let step = format!("volumes of {name} that nobody claims");
            let file = patient.file.as_ref().map_or_else(|| "FILE".to_owned(), |file| file.display().to_string());
            let found = format!(
                "are listed by `hawser volume leaked --config {file} --backend {name} --claimed IDS`; not looked at here"
            );
            steps.push(Step::one(step.clone(), move || Check::well(step, found)));
        }
    }
    steps
}
