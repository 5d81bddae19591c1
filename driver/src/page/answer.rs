//! `/status.json`. Times are in milliseconds since 1970 by the clock of this machine, ages and durations in milliseconds.

use std::time::{Duration, SystemTime};

use hawser_controller::VolumeStatus;
use hawser_node::Shown;
use hawser_proto::hawser;
use hawser_volume::BackendName;
use prost_types::Timestamp;
use serde::Serialize;

use super::history::{History, Told};
use super::look::Seen;
use super::survey::{Listed, Sight};
use crate::telemetry::Calls;

/// The key of a volume's context that says under which name it was made.
const NAME: &str = "name";

/// Everything that the page shows.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    now: u64,
    /// Nothing while the process is being built.
    process: Option<Process>,
    work: Vec<Work>,
    failures: Vec<Failure>,
    takeovers: Vec<Takeover>,
    takeovers_error: String,
    backends: Vec<Backend>,
    volumes: Vec<Volume>,
    /// What is mounted on this node; nothing without a node service.
    mounts: Option<Mounts>,
    step_s: u64,
    history: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Process {
    driver: String,
    version: String,
    role: String,
    node: String,
    started: u64,
}

#[derive(Debug, Serialize)]
struct Object {
    kind: String,
    name: String,
    node: String,
    backend: String,
}

#[derive(Debug, Serialize)]
struct Work {
    number: u64,
    bridge: bool,
    method: String,
    objects: Vec<Object>,
    since: u64,
    began: Option<u64>,
    callers: u32,
    behind: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Failure {
    bridge: bool,
    method: String,
    objects: Vec<Object>,
    code: String,
    message: String,
    first: u64,
    last: u64,
    times: u64,
    overcome_by: String,
    overcome: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Takeover {
    id: String,
    volume: String,
    from: String,
    to: String,
    policy: String,
    grade: String,
    outcome: String,
    time: u64,
    error: String,
    evidence: Vec<Statement>,
}

#[derive(Debug, Serialize)]
struct Statement {
    source: String,
    asked: u64,
    says: String,
    words: String,
}

#[derive(Debug, Serialize)]
struct Backend {
    name: String,
    /// What is wrong with it, from each side from which it is used.
    trouble: Vec<Ill>,
    /// How many calls to it are under way.
    running: usize,
    /// The one that has been so the longest.
    oldest: Option<Oldest>,
    /// Nothing without a controller service.
    listing: Option<Listing>,
}

#[derive(Debug, Serialize)]
struct Oldest {
    operation: &'static str,
    age: u64,
}

#[derive(Debug, Serialize)]
struct Ill {
    side: &'static str,
    since: Option<u64>,
    operation: Option<&'static str>,
    error: Option<String>,
    failures: u64,
}

/// How it stands with an answer that is asked for beside the page.
#[derive(Debug, Serialize)]
struct Freshness {
    age: Option<u64>,
    asking: Option<u64>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listing {
    #[serde(flatten)]
    freshness: Freshness,
    volumes: usize,
    more: bool,
}

#[derive(Debug, Serialize)]
struct Volume {
    id: String,
    name: String,
    backend: String,
    bytes: u64,
    nodes: Vec<String>,
    trouble: Option<String>,
}

#[derive(Debug, Serialize)]
struct Mounts {
    #[serde(flatten)]
    freshness: Freshness,
    mounts: Vec<Mount>,
}

#[derive(Debug, Serialize)]
struct Mount {
    volume: String,
    path: String,
    read_only: bool,
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn moment(time: SystemTime) -> u64 {
    milliseconds(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn stamp(time: Option<Timestamp>) -> Option<u64> {
    SystemTime::try_from(time?).ok().map(moment)
}

impl<T> From<&Seen<T>> for Freshness {
    fn from(seen: &Seen<T>) -> Self {
        Self {
            age: seen.good.as_ref().map(|(age, _)| milliseconds(*age)),
            asking: seen.asking.map(milliseconds),
            error: seen.failed.clone(),
        }
    }
}

impl Answer {
    pub(super) fn new(status: Option<hawser::GetStatusResponse>, sight: &Sight, calls: &Calls, history: Vec<Told>) -> Self {
        let started = status.is_some();
        let status = status.unwrap_or_default();
        let process = status.process.filter(|_| started).map(|process| Process {
            driver: process.driver_name,
            version: process.version,
            role: process.role,
            node: process.node_id,
            started: stamp(process.started).unwrap_or_default(),
        });
        let listed = |seen: &Seen<Listed>| seen.good.as_ref().map(|(_, listed)| std::sync::Arc::clone(listed));
        let volumes = sight.backends.iter().filter_map(|(name, seen)| Some((name, listed(seen)?)));
        Self {
            now: moment(SystemTime::now()),
            process,
            work: status.work.into_iter().map(Work::from).collect(),
            failures: status.failures.into_iter().map(Failure::from).collect(),
            takeovers: status.takeovers.into_iter().map(Takeover::from).collect(),
            takeovers_error: status.takeovers_error,
            backends: backends(sight, calls),
            volumes: volumes
                .flat_map(|(name, listed)| listed.volumes.iter().map(|v| volume(name, v)).collect::<Vec<_>>())
                .collect(),
            mounts: sight.node.as_ref().map(mounts),
            step_s: History::step_s(),
            history,
        }
    }
}

fn backends(sight: &Sight, calls: &Calls) -> Vec<Backend> {
    let mut backends: Vec<Backend> = Vec::new();
    let running = calls.running();
    for (name, side, trouble) in calls.health() {
        let trouble = trouble.map(|trouble| Ill {
            side: side.as_str(),
            since: Some(moment(trouble.since)),
            operation: Some(trouble.operation),
            error: Some(trouble.error),
            failures: trouble.failures,
        });
        match backends.last_mut().filter(|backend| backend.name == name.as_str()) {
            Some(backend) => backend.trouble.extend(trouble),
            None => {
                let listing = sight.backends.iter().find(|(listed, _)| *listed == name).map(|(_, seen)| Listing {
                    freshness: seen.into(),
                    volumes: seen.good.as_ref().map_or(0, |(_, listed)| listed.volumes.len()),
                    more: seen.good.as_ref().is_some_and(|(_, listed)| listed.more),
                });
                let mut running = running.iter().filter(|call| call.backend == name).peekable();
                let oldest =
                    running.peek().map(|call| Oldest { operation: call.operation, age: milliseconds(call.since.elapsed()) });
                backends.push(Backend {
                    name: name.to_string(),
                    trouble: trouble.into_iter().collect(),
                    running: running.count(),
                    oldest,
                    listing,
                });
            }
        }
    }
    backends
}

fn volume(backend: &BackendName, status: &VolumeStatus) -> Volume {
    Volume {
        id: status.volume.id.to_string(),
        name: status.volume.context.get(NAME).cloned().unwrap_or_default(),
        backend: backend.to_string(),
        bytes: status.volume.size.get(),
        nodes: status.nodes.iter().map(ToString::to_string).collect(),
        trouble: status.trouble.clone(),
    }
}

fn mounts(seen: &Seen<Vec<Shown>>) -> Mounts {
    let shown = seen.good.as_ref().map(|(_, shown)| shown.as_slice()).unwrap_or_default();
    let mount = |shown: &Shown| Mount {
        volume: shown.volume.to_string(),
        path: shown.path.display().to_string(),
        read_only: shown.read_only,
    };
    Mounts { freshness: seen.into(), mounts: shown.iter().map(mount).collect() }
}

impl From<hawser::Object> for Object {
    fn from(object: hawser::Object) -> Self {
        let kind = object.kind().as_str_name().to_ascii_lowercase();
        Self { kind, name: object.name, node: object.node_id, backend: object.backend }
    }
}

fn objects(objects: Vec<hawser::Object>) -> Vec<Object> {
    objects.into_iter().map(Object::from).collect()
}

impl From<hawser::Work> for Work {
    fn from(work: hawser::Work) -> Self {
        Self {
            number: work.number,
            bridge: work.bridge,
            method: work.method,
            objects: objects(work.objects),
            since: stamp(work.since).unwrap_or_default(),
            began: stamp(work.began),
            callers: work.callers,
            behind: work.behind,
        }
    }
}

impl From<hawser::Failure> for Failure {
    fn from(failure: hawser::Failure) -> Self {
        Self {
            bridge: failure.bridge,
            method: failure.method,
            objects: objects(failure.objects),
            code: failure.code,
            message: failure.message,
            first: stamp(failure.first).unwrap_or_default(),
            last: stamp(failure.last).unwrap_or_default(),
            times: failure.times,
            overcome_by: failure.overcome_by,
            overcome: stamp(failure.overcome),
        }
    }
}

impl From<hawser::Takeover> for Takeover {
    fn from(takeover: hawser::Takeover) -> Self {
        let outcome = takeover.outcome().as_str_name().to_ascii_lowercase();
        let statement = |statement: hawser::Statement| Statement {
            source: statement.source,
            asked: stamp(statement.asked).unwrap_or_default(),
            says: statement.says,
            words: statement.words,
        };
        Self {
            id: takeover.id,
            volume: takeover.volume_id,
            from: takeover.from,
            to: takeover.to_node_id,
            policy: takeover.policy,
            grade: takeover.grade,
            outcome,
            time: stamp(takeover.time).unwrap_or_default(),
            error: takeover.error,
            evidence: takeover.evidence.into_iter().map(statement).collect(),
        }
    }
}
