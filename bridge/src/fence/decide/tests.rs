use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::mesos::AgentId;

const WAIT: Duration = Duration::from_secs(600);
const POLICIES: [Takeover; 4] = [Takeover::Never, Takeover::BackendDead, Takeover::AgentGone, Takeover::UnreachableAfter(WAIT)];

fn agent(text: &str) -> AgentId {
    text.parse().unwrap()
}

fn holder() -> Holder {
    Holder { agent: Some(agent("A")), task: Some("db.1".into()), ..Holder::on("n1".parse().unwrap()) }
}

fn unreachable(watched: Duration) -> Says {
    Says::AgentUnreachable { agent: agent("A"), since: SystemTime::UNIX_EPOCH, watched }
}

fn gone() -> Says {
    Says::AgentGone { agent: agent("A"), since: SystemTime::UNIX_EPOCH }
}

fn dead() -> Says {
    Says::HostDead { state: "instance i-1 is stopped".into() }
}

fn away() -> Says {
    Says::MasterAway { why: "no leading master answers".into() }
}

/// Everything that can be said, once, in the four groups from each of which at most one is said at a time.
fn groups() -> [Vec<Option<Says>>; 4] {
    let a = || agent("A");
    let b = || agent("B");
    [
        vec![
            None,
            Some(Says::AgentRegistered { agent: a(), active: true }),
            Some(Says::AgentRegistered { agent: a(), active: false }),
            Some(Says::AgentRecovered { agent: a() }),
            Some(unreachable(Duration::ZERO)),
            Some(unreachable(WAIT - Duration::from_secs(1))),
            Some(unreachable(WAIT)),
            Some(gone()),
            Some(Says::AgentUnknown { agent: a() }),
            Some(Says::NodeUnknown),
            Some(Says::NodeUncertain { agent: agent("X") }),
            Some(away()),
        ],
        vec![None, Some(Says::OtherAgent { agent: b() }), Some(Says::Rebooted { agent: b(), boot: "x".into() })],
        vec![
            None,
            Some(Says::AgentAnswers { agent: a() }),
            Some(Says::AgentReplaced { agent: b() }),
            Some(Says::AgentSilent { why: "refused".into() }),
        ],
        vec![
            None,
            Some(Says::HostAlive { state: "instance i-1 is running".into() }),
            Some(dead()),
            Some(Says::HostUnknown { why: "not asked".into() }),
        ],
    ]
}

fn evidence(says: impl IntoIterator<Item = Says>, asked: Moment) -> Evidence {
    let statements = says.into_iter().map(|says| Statement { source: "master m1".into(), asked, says }).collect();
    Evidence { holder: holder(), statements }
}

fn taken(policy: Takeover, says: impl IntoIterator<Item = Says>) -> bool {
    let now = Moment::now();
    matches!(decide(policy, &holder(), &evidence(says, now), now), Decision::Take(_))
}

fn refused(policy: Takeover, says: impl IntoIterator<Item = Says>) -> Refusal {
    let now = Moment::now();
    match decide(policy, &holder(), &evidence(says, now), now) {
        Decision::Refuse(refusal) => refusal,
        Decision::Take(proof) => panic!("taken: {proof:?}"),
    }
}

/// The table of docs/takeover.md: one source speaks, the others are silent.
#[test]
fn each_statement_alone_is_enough_for_these_policies_and_no_others() {
    use Takeover::{AgentGone, BackendDead, UnreachableAfter};
    let table: [(Option<Says>, &[Takeover]); 21] = [
        (None, &[]),
        (Some(Says::AgentRegistered { agent: agent("A"), active: true }), &[]),
        (Some(Says::AgentRegistered { agent: agent("A"), active: false }), &[]),
        (Some(Says::AgentRecovered { agent: agent("A") }), &[]),
        (Some(unreachable(Duration::ZERO)), &[]),
        (Some(unreachable(WAIT - Duration::from_secs(1))), &[]),
        (Some(unreachable(WAIT)), &[UnreachableAfter(WAIT)]),
        (Some(gone()), &[UnreachableAfter(WAIT), AgentGone]),
        (Some(Says::AgentUnknown { agent: agent("A") }), &[]),
        (Some(Says::NodeUnknown), &[]),
        (Some(Says::NodeUncertain { agent: agent("X") }), &[]),
        (Some(away()), &[]),
        (Some(Says::OtherAgent { agent: agent("B") }), &[]),
        (Some(Says::Rebooted { agent: agent("B"), boot: "x".into() }), &[UnreachableAfter(WAIT), AgentGone]),
        (Some(Says::AgentAnswers { agent: agent("A") }), &[]),
        (Some(Says::AgentReplaced { agent: agent("B") }), &[]),
        (Some(Says::AgentSilent { why: "refused".into() }), &[]),
        (Some(Says::HostAlive { state: "running".into() }), &[]),
        (Some(dead()), &[UnreachableAfter(WAIT), AgentGone, BackendDead]),
        (Some(Says::HostUnknown { why: "not asked".into() }), &[]),
        (Some(unreachable(WAIT * 1000)), &[UnreachableAfter(WAIT)]),
    ];
    for (says, enough) in table {
        for policy in POLICIES {
            assert_eq!(taken(policy, says.clone()), enough.contains(&policy), "{policy} on {says:?}");
        }
    }
}

/// Every policy with every combination of what the sources can say. What is right is said here in other words than in the product.
#[test]
fn every_policy_with_every_combination() {
    let [first, second, third, fourth] = groups();
    let mut combinations = 0;
    for a in &first {
        for b in &second {
            for c in &third {
                for d in &fourth {
                    let says: Vec<Says> = [a, b, c, d].into_iter().flatten().cloned().collect();
                    let alive = matches!(a, Some(Says::AgentRegistered { .. }))
                        || matches!(b, Some(Says::OtherAgent { .. }))
                        || matches!(c, Some(Says::AgentAnswers { .. }))
                        || matches!(d, Some(Says::HostAlive { .. }));
                    let host_dead = matches!(d, Some(Says::HostDead { .. }));
                    let agent_gone =
                        host_dead || matches!(a, Some(Says::AgentGone { .. })) || matches!(b, Some(Says::Rebooted { .. }));
                    let long_unreachable =
                        agent_gone || matches!(a, Some(Says::AgentUnreachable { watched, .. }) if *watched >= WAIT);
                    for (policy, enough) in POLICIES.into_iter().zip([false, host_dead, agent_gone, long_unreachable]) {
                        combinations += 1;
                        assert_eq!(taken(policy, says.clone()), enough && !alive, "{policy} on {says:?}");
                    }
                }
            }
        }
    }
    assert_eq!(combinations, 12 * 3 * 4 * 4 * 4);
}

/// Operators are told what each statement is worth; it must be so.
#[test]
fn the_manual_says_what_each_statement_is_worth() {
    let (_, manual) = include_str!("../../../../docs/takeover.md").split_once("## Evidence").unwrap();
    for says in groups().into_iter().flatten().flatten() {
        let cell = format!("| `{}` | ", says.name());
        let (_, worth) = manual.lines().find_map(|line| line.split_once(&cell)).unwrap_or_else(|| panic!("no {cell}"));
        let wanted = match says.weight() {
            Weight::Alive => "**alive** |",
            Weight::Silent => "nothing |",
            Weight::Dead(Grade::Unreachable) => "dead, for `unreachable-for` when it was seen so long enough |",
            Weight::Dead(Grade::AgentGone) => "dead, for `agent-gone` |",
            Weight::Dead(Grade::BackendDead) => "dead, for `backend-dead` |",
        };
        assert_eq!(worth, wanted, "{}", says.name());
    }
}

#[test]
fn the_kinds_of_refusal() {
    let gone_policy = Takeover::AgentGone;
    assert_eq!(refused(Takeover::Never, [dead()]).why, Why::Never);
    assert_eq!(refused(gone_policy, [Says::AgentAnswers { agent: agent("A") }]).why, Why::Alive);
    assert_eq!(refused(gone_policy, [gone(), Says::HostAlive { state: "running".into() }]).why, Why::Contradiction);
    assert_eq!(refused(gone_policy, [away()]).why, Why::Unproven);
    let soon = refused(Takeover::UnreachableAfter(WAIT), [unreachable(Duration::from_secs(190))]);
    assert_eq!(soon.why, Why::TooSoon { left: Duration::from_secs(410) });
    assert!(soon.text.contains("6m 50s"), "{soon}");
    let now = Moment::now();
    let other = Evidence { holder: Holder { epoch: Some(8), ..holder() }, ..evidence([dead()], now) };
    assert!(matches!(decide(gone_policy, &holder(), &other, now), Decision::Refuse(r) if r.why == Why::AnotherHolder));
}

#[test]
fn death_grows_old_and_life_does_not() {
    let asked = Moment::now();
    let long_ago = asked.later(FRESH + Duration::from_millis(1));
    let at = |says: Says, now: Moment| match decide(Takeover::AgentGone, &holder(), &evidence([says], asked), now) {
        Decision::Take(_) => None,
        Decision::Refuse(refusal) => Some(refusal.why),
    };
    assert_eq!(at(gone(), asked.later(FRESH)), None);
    assert_eq!(at(gone(), long_ago), Some(Why::Stale));
    assert_eq!(at(Says::AgentAnswers { agent: agent("A") }, long_ago), Some(Why::Alive));
    let mixed = evidence([gone()], asked);
    let fresh = Statement { source: "storage".into(), asked: long_ago, says: dead() };
    let mixed = Evidence { statements: [mixed.statements, vec![fresh]].concat(), ..mixed };
    assert!(
        matches!(decide(Takeover::AgentGone, &holder(), &mixed, long_ago), Decision::Take(p) if p.grade() == Grade::BackendDead)
    );
}

#[test]
fn a_refusal_says_who_has_it_and_what_would_free_it() {
    let says_all = |refusal: &Refusal, wanted: &[&str]| {
        for part in wanted {
            assert!(refusal.text.contains(part), "{refusal} lacks {part:?}");
        }
        assert!(!refusal.text.contains('\n') && refusal.text.chars().count() < 700, "{refusal}");
    };
    let gone_policy = Takeover::AgentGone;
    let alive = refused(gone_policy, [Says::AgentRegistered { agent: agent("A"), active: true }]);
    says_all(&alive, &["node n1", "agent A", "task db.1", "registered and active", "stop task db.1 on agent A", "master m1"]);
    assert!(!alive.text.contains("MARK_AGENT_GONE"), "{alive}");
    let both = refused(gone_policy, [gone(), Says::HostAlive { state: "instance i-1 is running".into() }]);
    says_all(&both, &["marked gone", "instance i-1 is running", "disagree"]);
    let many =
        [Says::OtherAgent { agent: agent("B") }, Says::AgentAnswers { agent: agent("A") }, gone(), unreachable(WAIT), dead()];
    let many = refused(gone_policy, many);
    says_all(&many, &["agent B is on the same node", "instance i-1 is stopped"]);
    assert!(!both.text.contains("MARK_AGENT_GONE"), "{both}");
    let silent = refused(gone_policy, [unreachable(WAIT)]);
    says_all(&silent, &["unreachable since 1970-01-01", "mark agent A gone", "MARK_AGENT_GONE", "takeover is agent-gone"]);
    says_all(&refused(Takeover::Never, []), &["takeover is never", "by hand"]);
    says_all(&refused(gone_policy, [away()]), &["bridge.mesos-master", "no leading master answers"]);
    says_all(&refused(gone_policy, [Says::NodeUnknown]), &["--attributes=csi_node:n1"]);
    let uncertain = refused(gone_policy, [Says::NodeUncertain { agent: agent("X") }]);
    says_all(&uncertain, &["agent X is unreachable, and it is not known on which node"]);
    // Without a record of the holder's agent, the one that the master was asked about is named.
    let bare = Holder::on("n1".parse().unwrap());
    let now = Moment::now();
    let about_a = Evidence { holder: bare.clone(), ..evidence([unreachable(WAIT)], now) };
    match decide(gone_policy, &bare, &about_a, now) {
        Decision::Refuse(refusal) => says_all(&refusal, &["held by node n1;", "mark agent A gone"]),
        Decision::Take(proof) => panic!("{proof:?}"),
    }
    // The master answers 404 when an agent that it does not know is to be marked.
    let unknown = refused(gone_policy, [Says::AgentUnknown { agent: agent("A") }]);
    says_all(&unknown, &["not known", "by hand"]);
    assert!(!unknown.text.contains("MARK_AGENT_GONE"), "{unknown}");
    let backend = refused(Takeover::BackendDead, [gone(), unreachable_twin()]);
    assert!(!backend.text.contains("MARK_AGENT_GONE"), "it would not help: {backend}");
    // Mesos shows the text to users as the reason of a failed task.
    let long = refused(gone_policy, (0..50).map(|_| Says::MasterAway { why: "é".repeat(10_000) }));
    assert!(long.text.chars().count() < 700, "{}", long.text.len());
}

fn unreachable_twin() -> Says {
    Says::AgentUnreachable { agent: agent("B"), since: SystemTime::UNIX_EPOCH, watched: WAIT }
}

fn any_says() -> impl Strategy<Value = Says> {
    let all: Vec<Says> = groups().into_iter().flatten().flatten().collect();
    prop_oneof![
        9 => prop::sample::select(all),
        1 => (0u64..1200).prop_map(|seconds| unreachable(Duration::from_secs(seconds))),
    ]
}

/// How strong a statement for death is, told without the product's own grades.
fn strength(says: &Says) -> (u8, Duration) {
    match says {
        Says::AgentUnreachable { watched, .. } => (1, *watched),
        Says::AgentGone { .. } | Says::Rebooted { .. } => (2, Duration::ZERO),
        Says::HostDead { .. } => (3, Duration::ZERO),
        _ => (0, Duration::ZERO),
    }
}

proptest! {
    #[test]
    fn a_voice_for_life_always_refuses(
        mut says in prop::collection::vec(any_says(), 0..6),
        alive in any_says().prop_filter("alive", |says| says.weight() == Weight::Alive),
        at in any::<prop::sample::Index>(),
        policy in prop::sample::select(POLICIES.to_vec()),
        age in 0u64..100_000,
    ) {
        says.insert(at.index(says.len() + 1), alive);
        let asked = Moment::now();
        let decision = decide(policy, &holder(), &evidence(says, asked), asked.later(Duration::from_millis(age)));
        prop_assert!(matches!(decision, Decision::Refuse(_)));
    }

    #[test]
    fn stronger_evidence_never_refuses_what_weaker_allowed(
        says in prop::collection::vec(any_says(), 1..6),
        at in any::<prop::sample::Index>(),
        instead in any_says(),
        policy in prop::sample::select(POLICIES.to_vec()),
    ) {
        let mut stronger = says.clone();
        let place = at.index(says.len());
        prop_assume!(strength(&instead) >= strength(&says[place]) && instead.weight() != Weight::Alive);
        stronger[place] = instead.clone();
        let mut more = says.clone();
        more.push(instead);
        if taken(policy, says) {
            prop_assert!(taken(policy, stronger) && taken(policy, more));
        }
    }

    #[test]
    fn a_stricter_policy_never_takes_what_a_laxer_one_refuses(says in prop::collection::vec(any_says(), 0..6)) {
        let taken: Vec<bool> = POLICIES.into_iter().map(|policy| taken(policy, says.clone())).collect();
        prop_assert!(taken.is_sorted(), "{taken:?}");
    }

    #[test]
    fn the_order_of_what_is_said_does_not_matter(
        says in prop::collection::vec(any_says(), 0..6).prop_flat_map(|says| (Just(says.clone()), Just(says).prop_shuffle())),
        policy in prop::sample::select(POLICIES.to_vec()),
    ) {
        prop_assert_eq!(taken(policy, says.0), taken(policy, says.1));
    }
}
