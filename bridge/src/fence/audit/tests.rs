use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::fence::{Decision, Evidence, Says, decide};

fn proof() -> Proof {
    let holder = Holder { agent: Some("A".parse().unwrap()), ..Holder::on("n1".parse().unwrap()) };
    let says = Says::AgentGone { agent: "A".parse().unwrap(), since: std::time::SystemTime::UNIX_EPOCH };
    let statement = Statement { source: "master http://m1:5050".into(), asked: Moment::now(), says };
    let evidence = Evidence { holder: holder.clone(), statements: vec![statement] };
    match decide(Takeover::AgentGone, &holder, &evidence, Moment::now()) {
        Decision::Take(proof) => *proof,
        Decision::Refuse(refusal) => panic!("{refusal}"),
    }
}

fn taker() -> Taker {
    Taker { node: "n2".parse().unwrap(), agent: Some("B".parse().unwrap()) }
}

fn append(audit: &Audit, volume: &str) {
    audit.append(&Record::new(Uuid::new_v4(), Outcome::Intended, volume, &taker(), &proof())).unwrap();
}

fn volumes(audit: &Audit) -> Vec<String> {
    let text = |line| match line {
        Line::Record(record) => record.get("volume").map_or("?".into(), |volume| volume.as_str().unwrap().to_owned()),
        Line::Torn(text) => format!("torn:{}", text.len()),
    };
    audit.lines().unwrap().into_iter().map(text).collect()
}

#[test]
fn a_record_has_everything_and_is_for_the_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let audit = Audit::new(place.path().join("takeovers.jsonl"));
    assert_eq!(audit.lines().unwrap(), []);
    let (proof, taker, id) = (proof(), taker(), Uuid::new_v4());
    let record = Record::new(id, Outcome::Failed, "local:v1", &taker, &proof);
    audit.append(&Record { error: Some("detach: no\nanswer".into()), ..record }).unwrap();
    assert_eq!(std::fs::metadata(audit.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(audit.path()).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, wanted) in [
        ("/takeover", id.to_string()),
        ("/outcome", "failed".into()),
        ("/volume", "local:v1".into()),
        ("/from/node", "n1".into()),
        ("/from/agent", "A".into()),
        ("/to/node", "n2".into()),
        ("/policy", "agent-gone".into()),
        ("/grade", "agent-gone".into()),
        ("/evidence/0/source", "master http://m1:5050".into()),
        ("/evidence/0/says", "agent-gone".into()),
        ("/evidence/0/words", "agent A was marked gone at 1970-01-01T00:00:00Z".into()),
        ("/error", "detach: no\nanswer".into()),
    ] {
        assert_eq!(read.pointer(key).and_then(|value| value.as_str()), Some(wanted.as_str()), "{key} of {text}");
    }
    for key in ["/time", "/evidence/0/asked"] {
        let time = humantime::parse_rfc3339(read.pointer(key).unwrap().as_str().unwrap()).unwrap();
        assert!(time.elapsed().unwrap() < Duration::from_secs(60), "{key} of {text}");
    }
}

#[test]
fn a_file_that_was_renamed_is_begun_anew() {
    let place = tempfile::tempdir().unwrap();
    let audit = Audit::new(place.path().join("log"));
    append(&audit, "a");
    std::fs::rename(audit.path(), place.path().join("log.1")).unwrap();
    append(&audit, "b");
    assert_eq!(volumes(&audit), ["b"]);
    assert_eq!(volumes(&Audit::new(place.path().join("log.1"))), ["a"]);
    assert_eq!(std::fs::metadata(audit.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_line_that_a_crash_cut_short_stays_and_spoils_no_other() {
    let place = tempfile::tempdir().unwrap();
    let whole = Audit::new(place.path().join("whole"));
    append(&whole, "a");
    let line = std::fs::read(whole.path()).unwrap();
    for length in [1, 2, line.len() / 2, line.len() - 2] {
        let audit = Audit::new(place.path().join(format!("cut-{length}")));
        append(&audit, "before");
        let mut text = std::fs::read(audit.path()).unwrap();
        text.extend_from_slice(&line[..length]);
        std::fs::write(audit.path(), &text).unwrap();
        append(&audit, "after");
        append(&audit, "last");
        assert_eq!(volumes(&audit), ["before", &format!("torn:{length}"), "?", "after", "last"]);
        let Line::Record(note) = &audit.lines().unwrap()[2] else { panic!("the note is whole") };
        assert_eq!(note["torn_bytes"], length);
    }
    // All but the newline arrived: the record is whole, and the next one is on its own line.
    let audit = Audit::new(place.path().join("cut-newline"));
    std::fs::write(audit.path(), &line[..line.len() - 1]).unwrap();
    append(&audit, "after");
    assert_eq!(volumes(&audit), ["a", "?", "after"]);
}

#[test]
fn records_from_many_threads_and_programs_do_not_mix() {
    // In memory, where a flush takes no time and the writers meet often.
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    // Two of them know nothing of each other, as two programs would.
    let logs = [Audit::new(place.path().join("log")), Audit::new(place.path().join("log"))];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let audit = &logs[thread % 2];
            scope.spawn(move || {
                for number in 0..200 {
                    append(audit, &format!("{thread}.{number}"));
                }
            });
        }
    });
    let mut seen = volumes(&logs[0]);
    // One may have looked while another one was writing, and then says that it found a line cut short.
    seen.retain(|volume| volume != "?");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 800);
}

#[test]
fn a_record_that_cannot_be_written_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let audit = Audit::new(place.path().join("absent/log"));
    let error = audit.append(&Record::new(Uuid::new_v4(), Outcome::Intended, "v", &taker(), &proof())).unwrap_err();
    assert!(error.chain().contains("absent/log") && error.chain().contains("No such file"), "{}", error.chain());
    // A device that takes nothing: what is written is not kept, and that must not pass for success.
    let full = Audit::new("/dev/full");
    assert!(full.append(&Record::new(Uuid::new_v4(), Outcome::Intended, "v", &taker(), &proof())).is_err());
}

#[test]
fn the_end_of_the_log_is_told_with_what_came_of_each_takeover() {
    let place = tempfile::tempdir().unwrap();
    let audit = Audit::new(place.path().join("takeovers.jsonl"));
    assert_eq!(audit.recent(10).unwrap(), []);
    let (proof, taker) = (proof(), taker());
    let ids = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let write = |id: Uuid, outcome, volume: &str, error: Option<&str>| {
        let record = Record::new(id, outcome, volume, &taker, &proof);
        audit.append(&Record { error: error.map(str::to_owned), ..record }).unwrap();
    };
    write(ids[0], Outcome::Intended, "local:v0", None);
    write(ids[1], Outcome::Intended, "local:v1", None);
    write(ids[1], Outcome::Failed, "local:v1", Some("<b>away</b>"));
    // Cut short by a crash, and mended by the next record.
    OpenOptions::new().append(true).open(audit.path()).unwrap().write_all(b"{\"time\":\"20").unwrap();
    write(ids[2], Outcome::Intended, "local:v2", None);
    write(ids[0], Outcome::Done, "local:v0", None);
    let told = audit.recent(10).unwrap();
    let seen: Vec<_> = told.iter().map(|told| (told.takeover.clone(), told.volume.as_str(), told.outcome)).collect();
    assert_eq!(
        seen,
        [
            (ids[0].to_string(), "local:v0", Outcome::Done),
            (ids[2].to_string(), "local:v2", Outcome::Intended),
            (ids[1].to_string(), "local:v1", Outcome::Failed)
        ]
    );
    assert_eq!(told[2].error.as_deref(), Some("<b>away</b>"));
    assert_eq!((told[0].policy.as_str(), told[0].grade.as_str()), ("agent-gone", "agent-gone"));
    assert_eq!((told[0].from.node.as_str(), told[0].to.node.as_str()), ("n1", "n2"));
    assert_eq!(told[0].evidence[0].words, "agent A was marked gone at 1970-01-01T00:00:00Z");
    assert_eq!(audit.recent(1).unwrap(), told[..1]);
}

#[test]
fn of_a_long_log_the_end_is_enough() {
    let place = tempfile::tempdir().unwrap();
    let audit = Audit::new(place.path().join("takeovers.jsonl"));
    append(&audit, "local:first");
    let mut file = OpenOptions::new().append(true).open(audit.path()).unwrap();
    file.write_all(&[b"x".repeat(usize::try_from(TAIL).unwrap()), b"\n".to_vec()].concat()).unwrap();
    append(&audit, "local:last");
    let told: Vec<String> = audit.recent(10).unwrap().into_iter().map(|told| told.volume).collect();
    assert_eq!(told, ["local:last"]);
}
