use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TEN: Duration = Duration::from_secs(10);

fn agent() -> AgentId {
    "A".parse().unwrap()
}

/// A master that was elected at `elected` and has marked the agent at `since`, both in seconds.
fn view(elected: u64, since: Option<u64>) -> MasterView {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let unreachable: BTreeMap<AgentId, SystemTime> = since.map(|since| (agent(), at(since))).into_iter().collect();
    MasterView::for_tests(&format!("master-{elected}"), at(elected), unreachable)
}

/// A watch that began at `start` with a look that was answered at once.
fn begun(start: Moment) -> Watch {
    let mut watch = Watch::default();
    watch.want(&agent(), &view(1, Some(5)), start);
    watch
}

fn look(watch: &mut Watch, view: &MasterView, at: Moment) -> Duration {
    watch.looked(view, at, at);
    watch.watched(&agent())
}

#[test]
fn time_counts_from_the_first_answer_and_not_from_when_the_agent_was_marked() {
    let start = Moment::now();
    let mut watch = begun(start);
    assert_eq!(watch.watched(&agent()), Duration::ZERO);
    assert_eq!(look(&mut watch, &view(1, Some(5)), start.later(TEN)), TEN);
    assert_eq!(look(&mut watch, &view(1, Some(5)), start.later(TEN * 3)), TEN * 3);
}

#[test]
fn an_answer_that_takes_long_is_not_counted_twice() {
    let start = Moment::now();
    let mut watch = begun(start);
    // Asked at 10 and answered at 20; another one, asked at 15 and answered at 16, came in first.
    watch.looked(&view(1, Some(5)), start.later(TEN + TEN / 2), start.later(TEN + TEN * 6 / 10));
    watch.looked(&view(1, Some(5)), start.later(TEN), start.later(TEN * 2));
    assert_eq!(watch.watched(&agent()), TEN + TEN / 2);
    assert_eq!(look(&mut watch, &view(1, Some(5)), start.later(TEN * 2)), TEN * 2);
}

#[test]
fn what_lies_around_a_failed_look_is_not_counted() {
    let start = Moment::now();
    let mut watch = begun(start);
    look(&mut watch, &view(1, Some(5)), start.later(TEN));
    watch.failed();
    watch.failed();
    assert_eq!(look(&mut watch, &view(1, Some(5)), start.later(TEN * 3)), TEN);
    assert_eq!(look(&mut watch, &view(1, Some(5)), start.later(TEN * 4)), TEN * 2);
}

#[test]
fn a_long_absence_begins_the_count_anew() {
    for failed in [false, true] {
        let start = Moment::now();
        let mut watch = begun(start);
        look(&mut watch, &view(1, Some(5)), start.later(TEN));
        if failed {
            watch.failed();
        }
        let late = start.later(TEN + GAP + Duration::from_millis(1));
        assert_eq!(look(&mut watch, &view(1, Some(5)), late), Duration::ZERO);
        assert_eq!(look(&mut watch, &view(1, Some(5)), late.later(TEN)), TEN);
    }
}

#[test]
fn a_new_leader_or_an_agent_that_came_back_begins_the_count_anew() {
    for changed in [view(2, Some(5)), view(1, Some(6))] {
        let start = Moment::now();
        let mut watch = begun(start);
        look(&mut watch, &view(1, Some(5)), start.later(TEN));
        assert_eq!(look(&mut watch, &changed, start.later(TEN * 2)), Duration::ZERO);
        assert_eq!(look(&mut watch, &changed, start.later(TEN * 3)), TEN);
    }
    let start = Moment::now();
    let mut watch = begun(start);
    look(&mut watch, &view(1, None), start.later(TEN));
    assert!(watch.is_idle(), "the agent is back");
    watch.want(&agent(), &view(1, None), start);
    assert!(watch.is_idle(), "an agent that is not unreachable is not watched");
}

#[test]
fn an_agent_that_nobody_asks_about_is_forgotten() {
    let start = Moment::now();
    let mut watch = begun(start);
    watch.want(&agent(), &view(1, Some(5)), start.later(TEN));
    look(&mut watch, &view(1, Some(5)), start.later(INTEREST + TEN));
    assert!(!watch.is_idle());
    look(&mut watch, &view(1, Some(5)), start.later(INTEREST + TEN * 2));
    assert!(watch.is_idle());
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Look(u64),
    Fail(u64),
    Elect,
    Return,
    Ask(u64),
}

proptest! {
    /// Never more than the time that the present leader has been seen to say the same, and never time around a failure.
    #[test]
    fn never_more_is_counted_than_was_seen(events in prop::collection::vec(prop_oneof![
        6 => (1u64..60).prop_map(Event::Look),
        2 => (1u64..60).prop_map(Event::Fail),
        1 => Just(Event::Elect),
        1 => Just(Event::Return),
        2 => (1u64..60).prop_map(Event::Ask),
    ], 1..60)) {
        let mut now = Moment::now();
        let (mut elected, mut since) = (1, 5);
        let mut watch = Watch::default();
        // The same told with a list: the times between looks that follow each other without a failure, under one sighting.
        let mut last: Option<Moment> = None;
        let mut bound = Duration::ZERO;
        for event in events {
            match event {
                Event::Look(seconds) | Event::Ask(seconds) => {
                    now = now.later(Duration::from_secs(seconds));
                    bound += last.map_or(Duration::ZERO, |last| last.age(now));
                    last = Some(now);
                    watch.looked(&view(elected, Some(since)), now, now);
                    if matches!(event, Event::Ask(_)) {
                        watch.want(&agent(), &view(elected, Some(since)), now);
                    }
                    let watched = watch.watched(&agent());
                    prop_assert!(watched <= bound, "{watched:?} of {bound:?}");
                }
                Event::Fail(seconds) => {
                    now = now.later(Duration::from_secs(seconds));
                    last = None;
                    watch.failed();
                }
                Event::Elect => (elected, last, bound) = (elected + 1, None, Duration::ZERO),
                Event::Return => (since, last, bound) = (since + 1, None, Duration::ZERO),
            }
        }
    }
}
