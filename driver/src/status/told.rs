//! From what the parts know to the messages of `hawser.v1`.

use std::time::{Instant, SystemTime};

use hawser_bridge::fence::Outcome;
use hawser_bridge::fence::audit::Told;
use hawser_proto::hawser::object::Kind;
use hawser_proto::hawser::{Failure, GetStatusResponse, Object, Statement, Takeover, Work, takeover};
use hawser_volume::queue::{self, Key};
use hawser_volume::status;

/// Both clocks at one moment: what happened is kept by the one that nobody sets, and told by the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    wall: SystemTime,
    steady: Instant,
}

impl Clock {
    pub(super) fn now() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    pub(super) fn wall(self) -> SystemTime {
        self.wall
    }

    fn at(self, then: Instant) -> SystemTime {
        self.wall.checked_sub(self.steady.saturating_duration_since(then)).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

fn object(key: &Key) -> Object {
    let (kind, on_node) = match key.space() {
        "volume" => (Kind::Volume, false),
        "node" => (Kind::Volume, true),
        "name" => (Kind::VolumeName, false),
        "snapshot" => (Kind::Snapshot, false),
        "snapshot-name" => (Kind::SnapshotName, false),
        "group" => (Kind::GroupSnapshot, false),
        "group-name" => (Kind::GroupSnapshotName, false),
        "claim" => (Kind::Claim, false),
        "target" | "staging" | "unstage" => (Kind::Path, false),
        _ => (Kind::Other, false),
    };
    let scope = key.scope().to_owned();
    let (node_id, backend) = if on_node { (scope, String::new()) } else { (String::new(), scope) };
    Object { kind: kind.into(), name: key.name().to_owned(), node_id, backend }
}

pub(super) fn work(work: queue::Work, bridge: bool, clock: Clock) -> Work {
    Work {
        number: work.number,
        method: work.method.to_owned(),
        objects: work.keys.iter().map(object).collect(),
        since: Some(clock.at(work.since).into()),
        began: work.began.map(|began| clock.at(began).into()),
        callers: work.callers,
        behind: work.behind,
        bridge,
    }
}

pub(super) fn failure(failure: queue::Failure, bridge: bool, clock: Clock) -> Failure {
    let (overcome_by, overcome) = failure.overcome.unzip();
    Failure {
        method: failure.method.to_owned(),
        objects: failure.keys.iter().map(object).collect(),
        code: status::name(status::code(failure.kind)).to_owned(),
        message: failure.message,
        first: Some(clock.at(failure.first).into()),
        last: Some(clock.at(failure.last).into()),
        times: failure.times,
        overcome_by: overcome_by.unwrap_or_default().to_owned(),
        overcome: overcome.map(|overcome| clock.at(overcome).into()),
        bridge,
    }
}

pub(super) fn takeover(told: Told) -> Takeover {
    let outcome = match told.outcome {
        Outcome::Intended => takeover::Outcome::Intended,
        Outcome::Done => takeover::Outcome::Done,
        Outcome::Failed => takeover::Outcome::Failed,
    };
    let evidence = told.evidence.into_iter().map(|said| Statement {
        source: said.source,
        asked: Some(said.asked.into()),
        says: said.says,
        words: said.words,
    });
    Takeover {
        id: told.takeover,
        volume_id: told.volume,
        from: told.from.to_string(),
        to_node_id: told.to.node.to_string(),
        policy: told.policy,
        grade: told.grade,
        outcome: outcome.into(),
        time: Some(told.time.into()),
        error: told.error.unwrap_or_default(),
        evidence: evidence.collect(),
    }
}

/// Leaves what concerns the object of this name, and the calls that its calls wait for.
pub(super) fn only(answer: &mut GetStatusResponse, name: &str) {
    let concerns = |objects: &[Object]| objects.iter().any(|object| object.name == name);
    let mut wanted: Vec<(bool, u64)> = Vec::new();
    // Whoever is waited for came earlier.
    for work in answer.work.iter().rev() {
        if concerns(&work.objects) || wanted.contains(&(work.bridge, work.number)) {
            wanted.push((work.bridge, work.number));
            wanted.extend(work.behind.iter().map(|number| (work.bridge, *number)));
        }
    }
    answer.work.retain(|work| wanted.contains(&(work.bridge, work.number)));
    answer.failures.retain(|failure| concerns(&failure.objects));
    answer.takeovers.retain(|takeover| takeover.volume_id == name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: u64, names: &[&str], behind: &[u64]) -> Work {
        let objects = names.iter().map(|name| object(&Key::new("volume", *name))).collect();
        Work { number, objects, behind: behind.to_vec(), ..Work::default() }
    }

    #[test]
    fn whoever_asks_for_one_object_sees_for_whom_it_waits() {
        let mut answer = GetStatusResponse {
            work: vec![
                waiting(1, &["a"], &[]),
                waiting(2, &["other"], &[]),
                waiting(3, &["a", "b"], &[1]),
                waiting(4, &["b", "c"], &[3]),
                Work { bridge: true, ..waiting(1, &["d"], &[]) },
            ],
            ..GetStatusResponse::default()
        };
        only(&mut answer, "c");
        assert_eq!(
            answer.work.iter().map(|work| (work.bridge, work.number)).collect::<Vec<_>>(),
            [(false, 1), (false, 3), (false, 4)]
        );
    }

    #[test]
    fn a_key_is_told_as_what_it_is() {
        let told = |key: Key| {
            let object = object(&key);
            (object.kind(), object.name, object.node_id, object.backend)
        };
        let text = str::to_owned;
        assert_eq!(told(Key::within("node", "n1", "local:v")), (Kind::Volume, text("local:v"), text("n1"), text("")));
        assert_eq!(told(Key::within("name", "local", "pvc")), (Kind::VolumeName, text("pvc"), text(""), text("local")));
        assert_eq!(told(Key::new("target", "/t")), (Kind::Path, text("/t"), text(""), text("")));
    }
}
