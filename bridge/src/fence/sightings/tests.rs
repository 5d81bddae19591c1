use super::*;
use crate::mesos::master::RegisteredAgent;

const MINUTE: Duration = Duration::from_secs(60);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn id(text: &str) -> AgentId {
    text.parse().unwrap()
}

/// A view in which these agents are registered, each on its node, and these are unreachable since then.
fn view(registered: &[(&str, &str)], unreachable: &[(&str, SystemTime)]) -> MasterView {
    let unreachable = unreachable.iter().map(|(agent, since)| (id(agent), *since)).collect();
    let mut view = MasterView::for_tests("m", SystemTime::UNIX_EPOCH, unreachable);
    for (agent, node) in registered {
        // A host by its name, and a node by its attribute.
        let (hostname, nodes) = match node.strip_prefix("host:") {
            Some(host) => (host.to_owned(), Vec::new()),
            None => (format!("host-of-{agent}"), vec![(*node).to_owned()]),
        };
        let info = AgentInfo { id: id(agent), hostname, nodes, numeric_nodes: Vec::new(), boot: None };
        let process = Some(format!("http://{}:5051/slave(1)", agent.to_lowercase()).parse().unwrap());
        view.registered.insert(id(agent), RegisteredAgent { info, active: true, process, disks: Default::default() });
    }
    view
}

fn on(sightings: &Sightings, node: &str, view: &MasterView, now: SystemTime) -> Remembered {
    sightings.on(&node.parse().unwrap(), view, now)
}

fn agents(names: &[&str]) -> Remembered {
    Remembered::Agents(names.iter().map(|name| id(name)).collect())
}

#[test]
fn the_agent_that_was_last_registered_on_a_node_is_remembered() {
    let mut seen = Sightings::default();
    assert!(seen.looked(&view(&[("A", "n1"), ("B", "host:Node-B")], &[]), start()));
    assert!(!seen.looked(&view(&[("A", "n1")], &[]), start() + MINUTE), "nobody is new and nobody forgotten");
    let nobody = view(&[], &[]);
    let now = start() + MINUTE * 2;
    assert_eq!(on(&seen, "n1", &nobody, now), agents(&["A"]));
    assert_eq!(on(&seen, "node-b", &nobody, now), agents(&["B"]));
    for node in ["N1", "host-of-A", "n2", "node"] {
        assert_eq!(on(&seen, node, &nobody, now), Remembered::Nobody, "{node}");
    }
    let addresses = seen.addresses(&"n1".parse().unwrap());
    assert_eq!(addresses, [(id("A"), "http://a:5051/slave(1)".parse().unwrap())]);
    // The one after it takes its place, and two at once are both meant.
    seen.looked(&view(&[("C", "n1")], &[]), now);
    assert_eq!(on(&seen, "n1", &nobody, now), agents(&["C"]));
    seen.looked(&view(&[("C", "n1"), ("D", "n1")], &[]), now);
    assert_eq!(on(&seen, "n1", &nobody, now), agents(&["C", "D"]));
}

#[test]
fn an_unreachable_agent_that_nobody_saw_makes_every_node_uncertain() {
    let mut seen = Sightings::default();
    seen.looked(&view(&[("A", "n1"), ("B", "n2")], &[]), start());
    let now = start() + MINUTE * 60;
    // Known ones are on the nodes that they were on.
    assert_eq!(on(&seen, "n1", &view(&[], &[("A", now), ("B", now)]), now), agents(&["A"]));
    let unseen = view(&[], &[("A", now), ("X", now)]);
    assert_eq!(on(&seen, "n1", &unseen, now), Remembered::Uncertain(id("X")));
    // One that was unreachable already when A was last registered on the node has not come there since.
    let earlier = |minutes: u32| view(&[], &[("X", start() - MINUTE * minutes)]);
    assert_eq!(on(&seen, "n1", &earlier(6), now), agents(&["A"]));
    assert_eq!(on(&seen, "n1", &earlier(4), now), Remembered::Uncertain(id("X")), "clocks differ");
    // One that is on its way from the registered to the unreachable ones.
    let mut unsettled = view(&[], &[]);
    unsettled.admit_for_tests(id("X"));
    assert_eq!(on(&seen, "n1", &unsettled, now), Remembered::Uncertain(id("X")));
    // Once it was seen somewhere it is certain again, also after another one has taken its place there.
    seen.looked(&view(&[("X", "n3")], &[]), now);
    seen.looked(&view(&[("Y", "n3")], &[]), now);
    assert_eq!(on(&seen, "n1", &unseen, now), agents(&["A"]));
}

#[test]
fn what_was_seen_a_week_ago_or_in_the_future_does_not_count() {
    let mut seen = Sightings::default();
    seen.looked(&view(&[("A", "n1")], &[]), start());
    let nobody = view(&[], &[]);
    assert_eq!(on(&seen, "n1", &nobody, start() - Duration::from_secs(1)), Remembered::Nobody);
    // A clock that was set back by a second costs a second and no memory.
    seen.looked(&nobody, start() - Duration::from_secs(1));
    assert_eq!(on(&seen, "n1", &nobody, start()), agents(&["A"]));
    seen.looked(&nobody, start() + KEPT);
    assert_eq!(on(&seen, "n1", &nobody, start() + KEPT), agents(&["A"]));
    assert!(seen.looked(&nobody, start() + KEPT + MINUTE));
    assert_eq!(seen, Sightings::default());
}

#[test]
fn what_was_seen_survives_its_file() {
    let mut seen = Sightings::default();
    seen.looked(&view(&[("A", "n1"), ("B", "host:b")], &[]), start());
    let text = serde_json::to_string(&seen).unwrap();
    assert_eq!(serde_json::from_str::<Sightings>(&text).unwrap(), seen);
    assert_eq!(serde_json::from_str::<Sightings>("{}").unwrap(), Sightings::default());
}

#[test]
fn of_several_agents_the_one_that_is_least_dead_counts() {
    let mut now = view(&[("R", "n1")], &[("U", start())]);
    now.gone.insert(id("G"), start());
    for (agents, wanted) in [(vec!["G", "U"], "U"), (vec!["G", "U", "X"], "X"), (vec!["G", "X", "R"], "R"), (vec!["G"], "G")] {
        assert_eq!(least_dead(agents.into_iter().map(id).collect(), &now), Some(id(wanted)));
    }
    assert_eq!(least_dead(Vec::new(), &now), None);
}
