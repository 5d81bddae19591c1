//! What to do next, from what was found. No I/O.

use std::time::Duration;

use super::report::Report;
use super::work::Failure;
use crate::client::trace::Maker;

/// A call that takes longer than this waits for something that hangs.
const LONG: Duration = Duration::from_secs(120);

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) sentences: Vec<String>,
    /// Whether something is wrong, and not only as somebody wants it to be.
    pub(super) is_wrong: bool,
}

impl Next {
    fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    fn wrong(&mut self, sentence: impl Into<String>) {
        self.is_wrong = true;
        self.say(sentence);
    }
}

/// What to do next, the most pressing first.
pub(super) fn next(report: &Report) -> Next {
    let mut next = Next::default();
    let (volume, node) = (&report.volume, &report.node);
    let id = &volume.id;
    if let Some(condition) = volume.condition.as_ref().filter(|condition| condition.abnormal) {
        next.wrong(format!("Mend what the storage system says of it first: {}", condition.message));
    }
    if let Err(reason) = &report.bridge
        && !reason.is_empty()
    {
        next.wrong("The bridge of this machine does not answer. Start it: it knows on whose behalf volumes are held.");
    }
    if report.unread.is_some() {
        next.wrong("What `hawser volume mount` made could not be read; run the command as root.");
    }
    for call in report.work.calls.iter().filter(|call| call.runs && call.seconds >= LONG.as_secs()) {
        next.wrong(format!(
            "{} has run for {}: a device, a server or the storage system does not answer. The log of the driver says at what; dmesg says it of \
             devices. Other volumes are not kept by it.",
            call.method,
            humantime::format_duration(Duration::from_secs(call.seconds))
        ));
    }
    for call in report.work.calls.iter().filter(|call| !call.runs) {
        next.say(format!("{} waits its turn behind {}; nothing is to be done but to wait.", call.method, call.behind.join(", ")));
    }
    if let Some(failure) = report.work.failures.iter().find(|failure| failure.overcome_by.is_none()) {
        next.wrong(mend(failure));
    }
    if report.work.takeovers.first().is_some_and(|takeover| takeover.outcome != "done") {
        next.wrong("A takeover of it is not known to have ended well: docs/takeover.md says how to find out.");
    }
    if !report.exists {
        if next.sentences.is_empty() {
            next.say(format!("Nothing has it any more. hawser volume create {id} makes a new one of this name."));
        }
        return next;
    }
    let elsewhere = volume.elsewhere(node);
    let here = !node.is_empty() && volume.is_on(node);
    if let Some(holding) = report.holding() {
        let stale = volume.nodes.is_some() && !here && holding.uses.values().any(|usage| !usage.targets.is_empty());
        if stale {
            next.wrong(format!(
                "The bridge holds it here, and the storage system says that {} has it. End the tasks that use it here; what they write goes \
                 nowhere.",
                if elsewhere.is_empty() { "no node".to_owned() } else { elsewhere.join(", ") }
            ));
        } else if holding.uses.is_empty() {
            next.say("The bridge gives it back by itself once bridge.grace is over. Nothing is to be done.");
        } else {
            let names: Vec<&str> = holding.uses.values().map(|usage| usage.name.as_str()).collect();
            next.say(format!(
                "It is in use. To have it elsewhere, end the tasks that use {}; the bridge then gives it back.",
                names.join(", ")
            ));
        }
        return next;
    }
    if !report.mounts.is_empty() && volume.nodes.is_some() && !here && report.can.attach {
        next.wrong(format!(
            "It is mounted here, and the storage system says that {} has it. Stop who uses it here and unmount it; what is written through \
             these mounts may go nowhere.",
            if elsewhere.is_empty() { "no node".to_owned() } else { elsewhere.join(", ") }
        ));
        return next;
    }
    let by = |maker: Maker| report.mounts.iter().any(|mount| mount.by == maker);
    if by(Maker::Kubelet) {
        next.say(format!(
            "A pod on this node uses it. To have it elsewhere, delete or move the pod: kubectl get volumeattachments, and kubectl get pv, name \
             who claims {id}."
        ));
    }
    if by(Maker::Bridge) {
        next.wrong("The bridge has it mounted and does not have it on record. The log of the bridge says what it makes of it.");
    }
    if by(Maker::Other) {
        let paths: Vec<String> =
            report.mounts.iter().filter(|mount| mount.by == Maker::Other).map(|mount| mount.path.display().to_string()).collect();
        next.say(format!(
            "Somebody has it mounted at {}: fuser -vm {} names the processes. Whoever mounted it has to unmount it before it can go elsewhere.",
            paths.join(", "),
            paths[0]
        ));
    }
    if let Some(record) = &report.record {
        let paths: Vec<String> = record.paths.keys().map(|path| path.display().to_string()).collect();
        let mounted = report.mounts.iter().filter(|mount| mount.by == Maker::Person).count();
        let begun = mounted == 0 && report.can.node;
        next.say(format!(
            "`hawser volume mount` {} at {}. When you are done with it: hawser volume unmount {id}",
            if begun { "mounted it, or began to," } else { "mounted it" },
            paths.join(", ")
        ));
    }
    if !report.mounts.is_empty() || report.record.is_some() {
        return next;
    }
    match volume.nodes.as_deref() {
        None => next.say(format!(
            "Driver {} does not tell who has a volume (LIST_VOLUMES_PUBLISHED_NODES). Ask the storage system itself, or each node: hawser why \
             {id}",
            report.driver
        )),
        Some([]) => next.say(format!("Nobody has it. hawser volume mount {id} PATH mounts it here; an orchestrator can have it at once.")),
        Some(_) if here => next.say(format!(
            "It is attached here and mounted nowhere that this machine's table of mounts shows. If no orchestrator is about to use it: hawser \
             volume detach {id}"
        )),
        Some(_) => {
            let holders = elsewhere.join(", ");
            next.say(format!(
                "{holders} has it. If {holders} is alive, run hawser why {id} there, and end what uses it. If it is dead, the bridge takes the \
                 volume over once that is proved, if the policy allows it (docs/takeover.md); with Kubernetes, say that the node is out of \
                 service (kubectl taint nodes {} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute) only when it is switched off.",
                elsewhere.first().map_or("NODE", String::as_str)
            ));
        }
    }
    next
}

/// What to do about a call that failed.
fn mend(failure: &Failure) -> String {
    let what = match failure.code.as_str() {
        "UNAVAILABLE" | "DEADLINE_EXCEEDED" => {
            "whoever asked asks again. If it goes on, hawser doctor looks for what keeps the storage system away"
        }
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => "mend the credentials of the backend; hawser doctor says which are wrong",
        "RESOURCE_EXHAUSTED" => "make room: a larger pool, fewer volumes, or another node",
        "FAILED_PRECONDITION" => "somebody has to act first, as the message says",
        "OUT_OF_RANGE" | "INVALID_ARGUMENT" => {
            "mend the declaration or the parameters, as the message says; it is of no use to repeat the call"
        }
        "ALREADY_EXISTS" => "use another name, or the properties that the volume has",
        "NOT_FOUND" => "what it names is gone, or never was; mend whoever still asks for it",
        "UNIMPLEMENTED" => "this backend cannot do that",
        _ => "it is a fault of the driver or of the machine: its log has all of it",
    };
    format!("{} failed last: {what}.", failure.method)
}

#[cfg(test)]
mod tests;
