//! What processes of Hawser do with a volume, what their calls wait for, and what failed (the service `Status` of proto/hawser.proto).

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hawser_bridge::driver;
use hawser_proto::hawser::{self, GetStatusResponse, takeover::Outcome};
use hawser_volume::Result;
use serde::Serialize;

use crate::client::session::Session;
use crate::status;

/// Everything that was told. The fields are those of the JSON output.
#[derive(Debug, Default, Serialize)]
pub(super) struct Work {
    /// Whether the driver tells anything of its work.
    pub(super) told: bool,
    /// Who could not be asked, and why.
    pub(super) silent: Vec<String>,
    /// Calls that run or wait.
    pub(super) calls: Vec<Call>,
    /// The last failure of each method, the newest first.
    pub(super) failures: Vec<Failure>,
    /// When it was taken from another node, the newest first.
    pub(super) takeovers: Vec<Takeover>,
}

/// A call that runs or waits.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Call {
    pub(super) method: String,
    /// Who makes it: the mode of a `hawser serve`, or the bridge.
    pub(super) role: String,
    pub(super) node: Option<String>,
    /// For how long it has been there.
    pub(super) seconds: u64,
    /// Whether its turn has come.
    pub(super) runs: bool,
    /// How many callers still wait for its answer.
    pub(super) callers: u32,
    /// What it waits for.
    pub(super) behind: Vec<String>,
}

/// The last failure of a method.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failure {
    pub(super) method: String,
    pub(super) role: String,
    pub(super) node: Option<String>,
    pub(super) code: String,
    pub(super) message: String,
    /// When it failed so for the last time, in RFC 3339.
    pub(super) last: String,
    pub(super) times: u64,
    /// What succeeded since.
    pub(super) overcome_by: Option<String>,
}

/// A volume that was taken from another node.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Takeover {
    pub(super) id: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) grade: String,
    pub(super) outcome: &'static str,
    pub(super) time: String,
    pub(super) error: Option<String>,
}

impl Session {
    /// What is told of work on the volume that has these ids and names.
    pub(super) async fn work_on(&self, objects: &BTreeSet<String>) -> Work {
        let mut work = Work::default();
        let bridge = self.config.bridge.state.join(status::SOCKET);
        let of_bridge = bridge.exists().then(|| driver::channel(&bridge.display().to_string()));
        for object in objects {
            match self.driver.status(object, self.asking()).await {
                Ok(told) => {
                    work.told |= !told.is_empty();
                    told.into_iter().for_each(|told| work.add(told));
                }
                Err(error) => work.silent.push(error.chain()),
            }
            if let Some(channel) = &of_bridge {
                match ask(channel, object, self.asking()).await {
                    Ok(told) => told.into_iter().for_each(|told| work.add(told)),
                    Err(error) => work.silent.push(error.while_doing("the bridge").chain()),
                }
            }
        }
        work.silent.dedup();
        work.failures.sort_by(|a, b| b.last.cmp(&a.last));
        work.takeovers.sort_by(|a, b| b.time.cmp(&a.time));
        work
    }
}

async fn ask(
    channel: &Result<tonic::transport::Channel>,
    object: &str,
    deadline: hawser_volume::Deadline,
) -> Result<Option<GetStatusResponse>> {
    driver::status(channel.as_ref().map_err(Clone::clone)?, object, deadline.earlier(hawser_volume::Deadline::after(LOCAL))).await
}

/// How long the bridge may take, whose answer comes from memory. The socket of one that was killed is still there.
const LOCAL: Duration = Duration::from_secs(3);

/// A moment of these parts; the time before 1970 is not.
fn moment(seconds: i64, nanos: i32) -> SystemTime {
    let since = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

impl Work {
    /// Adds what one process told.
    fn add(&mut self, told: GetStatusResponse) {
        let process = told.process.unwrap_or_default();
        let now = process.now.map_or(UNIX_EPOCH, |time| moment(time.seconds, time.nanos));
        let text = |time: Option<_>| {
            time.map(|(seconds, nanos)| humantime::format_rfc3339_seconds(moment(seconds, nanos)).to_string()).unwrap_or_default()
        };
        let role = |is_bridge: bool| if is_bridge { "bridge".to_owned() } else { process.role.clone() };
        for call in &told.work {
            let same = |number: &&u64| told.work.iter().find(|other| other.number == **number && other.bridge == call.bridge);
            let since = call.since.map_or(now, |time| moment(time.seconds, time.nanos));
            let behind = call.behind.iter().filter_map(|number| same(&number)).map(|other| other.method.clone()).collect();
            self.put_call(Call {
                method: call.method.clone(),
                role: role(call.bridge),
                node: node(&call.objects),
                seconds: now.duration_since(since).unwrap_or_default().as_secs(),
                runs: call.began.is_some(),
                callers: call.callers,
                behind,
            });
        }
        for failure in told.failures {
            let failure = Failure {
                role: role(failure.bridge),
                node: node(&failure.objects),
                method: failure.method,
                code: failure.code,
                message: failure.message,
                last: text(failure.last.map(|time| (time.seconds, time.nanos))),
                times: failure.times,
                overcome_by: (!failure.overcome_by.is_empty()).then_some(failure.overcome_by),
            };
            let same =
                |known: &Failure| (&known.method, &known.role, &known.last) == (&failure.method, &failure.role, &failure.last);
            if !self.failures.iter().any(same) {
                self.failures.push(failure);
            }
        }
        for takeover in told.takeovers {
            if self.takeovers.iter().any(|known| known.id == takeover.id) {
                continue;
            }
            let outcome = match takeover.outcome() {
                Outcome::Intended => "intended",
                Outcome::Done => "done",
                Outcome::Failed => "failed",
            };
            self.takeovers.push(Takeover {
                outcome,
                id: takeover.id,
                from: takeover.from,
                to: takeover.to_node_id,
                grade: takeover.grade,
                time: text(takeover.time.map(|time| (time.seconds, time.nanos))),
                error: (!takeover.error.is_empty()).then_some(takeover.error),
            });
        }
        if !told.takeovers_error.is_empty() {
            self.silent.push(format!("the log of takeovers: {}", told.takeovers_error));
        }
    }

    /// One call may concern the id and the name that were asked for.
    fn put_call(&mut self, call: Call) {
        let same = |known: &Call| {
            (&known.method, &known.role, &known.node, known.runs, &known.behind)
                == (&call.method, &call.role, &call.node, call.runs, &call.behind)
                && known.seconds.abs_diff(call.seconds) <= 2
        };
        if !self.calls.iter().any(same) {
            self.calls.push(call);
        }
    }

    /// Whether anything was told of it.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.failures.is_empty() && self.takeovers.is_empty()
    }

    /// For people, each line with its head.
    pub(super) fn lines(&self, driver: &str) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let on = |node: &Option<String>| node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
        for call in &self.calls {
            let time = humantime::format_duration(Duration::from_secs(call.seconds));
            let callers = match call.callers {
                0 => ", and its caller has given up".to_owned(),
                1 => String::new(),
                more => format!(", and {more} callers wait for it"),
            };
            let behind = if call.behind.is_empty() { String::new() } else { format!(" behind {}", call.behind.join(", ")) };
            let text = format!("{}{}, for {time}{behind}{callers}", call.method, on(&call.node));
            lines.push((if call.runs { "runs" } else { "waits" }, text));
        }
        for failure in &self.failures {
            let times = if failure.times > 1 { format!(", {} times", failure.times) } else { String::new() };
            let over = failure.overcome_by.as_ref().map(|method| format!(" ({method} succeeded since)")).unwrap_or_default();
            let (method, code) = (&failure.method, &failure.code);
            lines.push((
                "failed",
                format!("{} {method}{}{times}: {code}: {}{over}", failure.last, on(&failure.node), failure.message),
            ));
        }
        for takeover in &self.takeovers {
            let error = takeover.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            let (time, outcome, grade) = (&takeover.time, takeover.outcome, &takeover.grade);
            lines.push(("taken", format!("{time} from {} by {}, {outcome} ({grade}){error}", takeover.from, takeover.to)));
        }
        lines.extend(self.silent.iter().map(|reason| ("not known", reason.clone())));
        if !self.told {
            lines.push(("work", format!("driver {driver} does not tell what it does, waits for, or failed at")));
        }
        lines
    }
}

fn node(objects: &[hawser::Object]) -> Option<String> {
    objects.iter().map(|object| &object.node_id).find(|node| !node.is_empty()).cloned()
}
