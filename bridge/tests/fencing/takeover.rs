//! Takeovers from the first question to the last line of the audit log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hawser_bridge::Takeover;
use hawser_bridge::fence::{Decision, Fence, Holder, Sightings, Why};
use hawser_volume::{Error, HostState, Kind};
use serde_json::json;

use crate::fake::{Fake, Fate, Manner};
use crate::world::{PATIENCE, World};

const VOLUME: &str = "local:v1";

async fn refused(world: &World, policy: Takeover) -> String {
    let error = Arc::clone(&world.fence).take(VOLUME, policy).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "{}", error.chain());
    assert_eq!(world.detached(), []);
    error.chain()
}

#[tokio::test]
async fn a_volume_of_an_agent_that_is_gone_is_taken_from_its_node_alone() {
    let world = World::new().await;
    world.master.agent("A", "n1", Fate::Gone(1_795_310_713));
    world.master.agent("B", "n2", Fate::Active);
    let from = Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap().unwrap();
    assert_eq!((from.node.as_str(), from.epoch), ("n1", Some(7)));
    assert_eq!(world.detached(), [(VOLUME.to_owned(), "n1".to_owned())]);

    let records = world.records();
    assert_eq!(world.outcomes(), ["intended", "done"]);
    assert_eq!(records[0]["takeover"], records[1]["takeover"]);
    for record in &records {
        assert_eq!(record["from"]["node"], "n1");
        assert_eq!(record["from"]["task"], "db.1");
        assert_eq!(record["to"], json!({"node": "n2", "agent": "B"}));
        assert_eq!((&record["policy"], &record["grade"]), (&json!("agent-gone"), &json!("agent-gone")));
        let says: Vec<&str> = record["evidence"].as_array().unwrap().iter().map(|said| said["says"].as_str().unwrap()).collect();
        assert_eq!(says, ["agent-gone", "host-unknown"]);
        assert_eq!(record["evidence"][0]["source"], json!(format!("master {}", world.master.url())));
    }
    // What was proved the second time is a new look and not the first one once more.
    assert_ne!(records[0]["evidence"][0]["asked"], records[1]["evidence"][0]["asked"]);
    assert_eq!(world.master.asked().iter().filter(|asked| asked.call == "GET_AGENTS").count(), 2);
}

#[tokio::test]
async fn nothing_is_taken_from_a_live_agent_and_nothing_is_written_down() {
    let world = World::new().await;
    for fate in [Fate::Active, Fate::Inactive] {
        world.master.agent("A", "n1", fate);
        for policy in
            [Takeover::Never, Takeover::BackendDead, Takeover::AgentGone, Takeover::UnreachableAfter(Duration::from_secs(1))]
        {
            let text = refused(&world, policy).await;
            assert!(text.contains(VOLUME) && text.contains("agent A") && text.contains("stop task db.1 on agent A"), "{text}");
        }
    }
    // However certain the storage system is.
    *world.around.host.lock().unwrap() = HostState::Dead("instance n1 is stopped".into());
    let text = refused(&world, Takeover::BackendDead).await;
    assert!(text.contains("disagree") && text.contains("instance n1 is stopped"), "{text}");
    assert!(!world.audit.exists());
}

#[tokio::test]
async fn what_is_enough_for_the_storage_system_needs_no_master() {
    let world = World::new().await;
    *world.around.host.lock().unwrap() = HostState::Dead("instance n1 is stopped".into());
    world.master.manner(Manner::Hangs);
    assert!(Arc::clone(&world.fence).take(VOLUME, Takeover::BackendDead).await.unwrap().is_some());
    assert_eq!(world.detached().len(), 1);
    let record = world.records().pop().unwrap();
    assert_eq!((record["grade"].clone(), record["evidence"][0]["says"].clone()), (json!("backend-dead"), json!("master-away")));
}

#[tokio::test]
async fn contradicting_sources_refuse() {
    let world = World::new().await;
    world.master.agent("A", "n1", Fate::Gone(1));
    *world.around.host.lock().unwrap() = HostState::Alive("instance n1 is running".into());
    let text = refused(&world, Takeover::AgentGone).await;
    assert!(text.contains("marked gone") && text.contains("instance n1 is running") && text.contains("disagree"), "{text}");
}

#[tokio::test]
async fn while_the_master_is_away_nothing_is_taken_and_nobody_waits_long() {
    let world = World::new().await;
    world.master.agent("A", "n1", Fate::Gone(1));
    let standby = world.master.address.to_string();
    for manner in [
        Manner::Hangs,
        Manner::Refuses(503, "No leader elected"),
        Manner::Refuses(403, ""),
        Manner::Standby(standby),
        Manner::Drips(Duration::from_millis(10)),
        Manner::Says("registry", "{}".into()),
        Manner::Says("GET_AGENTS", r#"{"get_agents":{"agents":[{}]}}"#.into()),
    ] {
        world.master.manner(manner.clone());
        for policy in [Takeover::AgentGone, Takeover::UnreachableAfter(Duration::from_secs(1))] {
            let started = Instant::now();
            let text = refused(&world, policy).await;
            assert!(text.contains("no leading master answers") && text.contains("bridge.mesos-master"), "{manner:?}: {text}");
            assert!(started.elapsed() < PATIENCE.all + Duration::from_secs(2), "{manner:?}: {:?}", started.elapsed());
        }
    }
    assert!(!world.audit.exists());
}

/// As CSI tells it: a node, and nothing of what runs there.
fn bare() -> Option<Holder> {
    Some(Holder::on("n1".parse().unwrap()))
}

#[tokio::test]
async fn without_a_record_the_agent_is_whoever_was_last_seen_on_the_node() {
    let mut world = World::new().await;
    *world.around.holder.lock().unwrap() = bare();
    // Gone before we looked for the first time: nobody knows which node it was on, and it is not guessed.
    world.master.agent("A", "n1", Fate::Gone(1));
    let text = refused(&world, Takeover::AgentGone).await;
    assert!(text.contains("no agent is known on this node") && text.contains("csi_node:n1"), "{text}");
    world.master.agent("A", "n1", Fate::Active);
    assert!(refused(&world, Takeover::AgentGone).await.contains("agent A is registered and active"));
    // Seen once, and remembered over a restart.
    world.master.agent("A", "n1", Fate::Unreachable(1));
    world.restart().await;
    let text = refused(&world, Takeover::AgentGone).await;
    assert!(text.contains("agent A is unreachable") && text.contains("mark agent A gone"), "{text}");
    world.master.agent("A", "n1", Fate::Gone(1));
    // An agent that we never saw is unreachable; it may be on that node.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    world.master.agent("X", "n9", Fate::Unreachable(now));
    let text = refused(&world, Takeover::AgentGone).await;
    assert!(text.contains("agent X is unreachable, and it is not known on which node"), "{text}");
    world.master.agent("X", "n9", Fate::Unreachable(1));
    let from = Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap();
    assert_eq!((from, world.detached()), (bare(), vec![(VOLUME.to_owned(), "n1".to_owned())]));
    assert_eq!(world.records()[1]["evidence"][0]["words"], "agent A was marked gone at 1970-01-01T00:00:01Z");
}

#[tokio::test]
async fn an_agent_that_was_seen_is_asked_itself_and_gets_no_credential() {
    let world = World::new().await;
    *world.around.holder.lock().unwrap() = bare();
    let agent = Fake::start().await;
    agent.agent("A", "n1", Fate::Active);
    world.master.agent("A", "n1", Fate::Active);
    world.master.process("A", format!("slave(1)@{}", agent.address));
    refused(&world, Takeover::AgentGone).await;
    world.master.agent("A", "n1", Fate::Gone(1));
    let text = refused(&world, Takeover::AgentGone).await;
    assert!(text.contains("agent A answers") && text.contains("disagree"), "{text}");
    assert!(agent.asked().iter().all(|asked| asked.authorization.is_none()));
    agent.manner(Manner::Refuses(401, ""));
    assert!(Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.is_ok());
}

#[tokio::test]
async fn who_is_where_is_looked_at_from_time_to_time() {
    let world = World::new().await;
    *world.around.holder.lock().unwrap() = bare();
    world.master.agent("A", "n1", Fate::Active);
    // Nobody asks for a volume; the first look comes all the same, and no second one so soon.
    let watch = watching(&world.fence);
    let started = Instant::now();
    while *world.around.seen.lock().unwrap() == Sightings::default() {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.master.asked().len(), 3);
    world.master.agent("A", "n1", Fate::Gone(1));
    assert!(Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.is_ok());
    watch.abort();
}

#[tokio::test]
async fn an_agent_that_answers_is_alive_whatever_its_master_says() {
    let world = World::new().await;
    let agent = Fake::start().await;
    agent.agent("A", "n1", Fate::Active);
    world.master.agent("A", "n1", Fate::Gone(1));
    world.around.holder.lock().unwrap().as_mut().unwrap().agent_address = Some(agent.url().parse().unwrap());
    let text = refused(&world, Takeover::AgentGone).await;
    assert!(text.contains("agent A answers") && text.contains("disagree"), "{text}");
    // Another agent at that address says nothing, and neither does silence.
    agent.set(|state| state.agents.clear());
    agent.agent("C", "n3", Fate::Active);
    assert!(Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.is_ok());
    agent.manner(Manner::Hangs);
    assert!(Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.is_ok());
}

#[tokio::test]
async fn an_agent_that_comes_back_at_the_last_moment_keeps_its_volume() {
    let world = World::new().await;
    world.master.agent("A", "n1", Fate::Gone(1));
    let master = world.master.clone();
    *world.around.meanwhile.lock().unwrap() = Some(Box::new(move || master.agent("A", "n1", Fate::Active)));
    let text = refused(&world, Takeover::AgentGone).await;
    assert!(text.contains("registered and active"), "{text}");
    assert_eq!(world.outcomes(), ["intended", "failed"]);
    assert!(world.records()[1]["error"].as_str().unwrap().contains("registered and active"));
}

#[tokio::test]
async fn a_volume_that_changes_hands_at_the_last_moment_is_left_alone() {
    for (change, words) in [
        (Some(("n3", 8)), "held by node n3"),
        // The same node, in a later hold.
        (Some(("n1", 8)), "changed hands"),
        (None, "let go meanwhile"),
        (Some(("n2", 8)), "let go meanwhile"),
    ] {
        let world = World::new().await;
        world.master.agent("A", "n1", Fate::Gone(1));
        let around = Arc::clone(&world.around);
        *world.around.meanwhile.lock().unwrap() = Some(Box::new(move || {
            let mut holder = around.holder.lock().unwrap();
            *holder =
                change.map(|(node, epoch)| Holder { node: node.parse().unwrap(), epoch: Some(epoch), ..holder.clone().unwrap() });
        }));
        let text = refused(&world, Takeover::AgentGone).await;
        assert!(text.contains(words), "{text}");
        assert_eq!(world.outcomes(), ["intended", "failed"]);
        *world.around.meanwhile.lock().unwrap() = None;
    }
}

#[tokio::test]
async fn what_is_free_or_ours_is_not_taken() {
    let world = World::new().await;
    for holder in [None, Some(Holder::on("n2".parse().unwrap()))] {
        *world.around.holder.lock().unwrap() = holder;
        assert_eq!(Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap(), None);
    }
    assert_eq!((world.detached(), world.audit.exists(), world.master.asked().len()), (vec![], false, 0));
}

#[tokio::test]
async fn a_detach_that_fails_is_told_and_written_down() {
    let world = World::new().await;
    world.master.agent("A", "n1", Fate::Gone(1));
    *world.around.detach_error.lock().unwrap() = Some(Error::exhausted("detach local:v1: too many requests"));
    let error = Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted);
    assert_eq!(world.outcomes(), ["intended", "failed"]);
    assert_eq!(world.records()[1]["error"], "detach local:v1: too many requests");
}

#[tokio::test]
async fn without_a_record_nothing_is_detached() {
    let world = World::new().await;
    world.master.agent("A", "n1", Fate::Gone(1));
    std::fs::create_dir(&world.audit).unwrap();
    let error = Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.chain().contains("audit log"), "{}", error.chain());
    std::fs::remove_dir(&world.audit).unwrap();
    world.around.store_error.store(true, Ordering::SeqCst);
    let error = Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.chain().contains("disk full"), "{}", error.chain());
    assert_eq!((world.detached(), world.audit.exists()), (vec![], false));
}

#[tokio::test]
async fn the_fourth_takeover_in_ten_minutes_is_refused_also_after_a_restart() {
    let mut world = World::new().await;
    world.master.agent("A", "n1", Fate::Gone(1));
    for _ in 0..3 {
        Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap();
    }
    for _ in 0..2 {
        let error = Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap_err();
        assert!(error.kind() == Kind::Precondition && error.chain().contains("the next time is 20"), "{}", error.chain());
        world.restart().await;
    }
    assert_eq!(world.detached().len(), 3);
    assert_eq!(world.outcomes().len(), 6);
    // A refusal for want of evidence does not count as one.
    let other = World::new().await;
    other.master.agent("A", "n1", Fate::Active);
    for _ in 0..10 {
        refused(&other, Takeover::AgentGone).await;
    }
    other.master.agent("A", "n1", Fate::Gone(1));
    assert!(Arc::clone(&other.fence).take(VOLUME, Takeover::AgentGone).await.is_ok());
}

#[tokio::test]
async fn a_takeover_whose_caller_is_gone_is_finished_and_another_one_does_not_come_between() {
    let world = World::new().await;
    world.master.agent("A", "n1", Fate::Gone(1));
    world.around.detach_waits.store(true, Ordering::SeqCst);
    let caller = tokio::spawn(Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone));
    world.around.detach_begun.notified().await;
    assert_eq!(world.outcomes(), ["intended"], "it is written down before anything is detached");
    let error = Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.chain().contains("already"), "{}", error.chain());
    caller.abort();
    let _ = caller.await;
    world.around.go.notify_one();
    let started = Instant::now();
    while world.outcomes().len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.outcomes(), ["intended", "done"]);
    // The volume is not busy any more, or will not be in a moment.
    world.around.detach_waits.store(false, Ordering::SeqCst);
    while let Err(error) = Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await {
        assert!(error.chain().contains("already") && started.elapsed() < Duration::from_secs(10), "{}", error.chain());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A watch that looks ten times a second.
fn watching(fence: &Arc<Fence>) -> tokio::task::JoinHandle<()> {
    let fence = Arc::clone(fence);
    tokio::spawn(async move { fence.keep_watch(Duration::from_millis(100)).await })
}

#[tokio::test]
async fn unreachable_counts_from_when_we_saw_it_and_only_while_the_master_is_there() {
    let world = World::new().await;
    let watch = watching(&world.fence);
    let wait = Duration::from_secs(2);
    let policy = Takeover::UnreachableAfter(wait);
    // Marked an hour ago, and yet the time begins now: what the master did in that hour is not known.
    world.master.agent("A", "n1", Fate::Unreachable(1_795_310_701));
    let started = Instant::now();
    let text = refused(&world, policy).await;
    assert!(text.contains("takeover is unreachable-after-2s") && text.contains("MARK_AGENT_GONE"), "{text}");
    assert!(refused(&world, Takeover::AgentGone).await.contains("takeover is agent-gone"));
    // A second of absence: it does not count.
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.master.manner(Manner::Refuses(503, "No leader elected"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.master.manner(Manner::Leads);
    let taken = loop {
        match Arc::clone(&world.fence).take(VOLUME, policy).await {
            Ok(taken) => break taken,
            Err(error) => assert!(error.kind() == Kind::Precondition && started.elapsed() < wait * 10, "{}", error.chain()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(taken.is_some());
    assert!(started.elapsed() >= wait + Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(world.detached().len(), 1);
    let record = world.records().pop().unwrap();
    assert_eq!((record["grade"].clone(), record["policy"].clone()), (json!("unreachable"), json!("unreachable-after-2s")));
    watch.abort();
}

#[tokio::test]
async fn a_new_leader_and_an_agent_that_came_and_went_begin_the_time_anew() {
    for change in [0, 1] {
        let world = World::new().await;
        let watch = watching(&world.fence);
        let policy = Takeover::UnreachableAfter(Duration::from_secs(2));
        world.master.agent("A", "n1", Fate::Unreachable(1_795_310_701));
        refused(&world, policy).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        match change {
            0 => world.master.set(|state| (state.id, state.elected) = ("master-2".into(), state.elected + 5.0)),
            _ => world.master.agent("A", "n1", Fate::Unreachable(1_795_310_799)),
        }
        let changed = Instant::now();
        let holder = world.around.holder.lock().unwrap().clone().unwrap();
        loop {
            match world.fence.judge(VOLUME, policy, &holder).await {
                Decision::Take(_) => break,
                Decision::Refuse(refusal) => {
                    assert!(
                        matches!(refusal.why, Why::TooSoon { .. }) && changed.elapsed() < Duration::from_secs(20),
                        "{refusal}"
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(changed.elapsed() >= Duration::from_secs(2), "{change}: {:?}", changed.elapsed());
        watch.abort();
    }
}
