//! Sequences that are likely to go somewhere: most operations are drawn until one is found that succeeds and changes something by the
//! model, and that goes on with what was begun; the rest are drawn as they come.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::{Reason, TestRunner};

use super::form::Form;
use super::operation::{
    Access, Action, Disturbance, Filter, Node, Object, Operation, Page, Pod, Signal, Size, SnapshotName, Source, VolumeName,
};
use super::shrink::Shrinking;
use super::state::{Answer, Data, State};

/// How many operations in a hundred are meant to succeed.
const SENSIBLE: u32 = 85;

/// How often one that succeeds is looked for before anything is taken.
const DRAWS: usize = 120;

/// How many of these draws look for one that goes on with what was begun.
const DRAWS_IN_MOOD: usize = 80;

/// For how many operations a mood lasts on the average.
const MOOD: u32 = 7;

fn object<N: Clone + std::fmt::Debug + 'static>(names: &'static [N]) -> impl Strategy<Value = Object<N>> {
    let former = prop_oneof![9 => Just(false), 1 => Just(true)];
    (select(names), former).prop_map(|(name, former)| Object { name, former })
}

fn volume() -> impl Strategy<Value = Object<VolumeName>> {
    object(VolumeName::ALL)
}

fn snapshot() -> impl Strategy<Value = Object<SnapshotName>> {
    object(SnapshotName::ALL)
}

fn node() -> impl Strategy<Value = Node> {
    select(Node::ALL)
}

fn pod() -> impl Strategy<Value = Pod> {
    select(Pod::ALL)
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![2 => Just(Size::Small), 1 => Just(Size::Large)]
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![
        4 => Just(Access::Writer),
        2 => Just(Access::Reader),
        3 => Just(Access::Writers),
        3 => Just(Access::Readers),
        1 => Just(Access::Sharers),
        2 => Just(Access::OtherType),
    ]
}

fn source() -> impl Strategy<Value = Option<Source>> {
    prop_oneof![
        1 => Just(None),
        2 => volume().prop_map(|volume| Some(Source::Volume(volume))),
        4 => snapshot().prop_map(|snapshot| Some(Source::Snapshot(snapshot))),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![Just(Filter::All), volume().prop_map(Filter::Of), snapshot().prop_map(Filter::Is)]
}

/// Any action. What leads further is likelier than what leads back.
fn action() -> impl Strategy<Value = Action> {
    let seldom = || prop_oneof![6 => Just(false), 1 => Just(true)];
    let way = prop_oneof![
        6 => (select(VolumeName::ALL), size(), source()).prop_map(|(name, size, source)| Action::Create { name, size, source }),
        2 => volume().prop_map(|volume| Action::Delete { volume }),
        7 => (volume(), node(), access()).prop_map(|(volume, node, access)| Action::Attach { volume, node, access }),
        3 => (volume(), prop_oneof![6 => node().prop_map(Some), 1 => Just(None)])
            .prop_map(|(volume, node)| Action::Detach { volume, node }),
        9 => (volume(), access(), seldom()).prop_map(|(volume, access, late)| Action::Stage { volume, access, late }),
        3 => volume().prop_map(|volume| Action::Unstage { volume }),
        10 => (volume(), pod(), access(), seldom())
            .prop_map(|(volume, pod, access, read_only)| Action::Publish { volume, pod, access, read_only }),
        4 => (volume(), pod()).prop_map(|(volume, pod)| Action::Unpublish { volume, pod }),
    ];
    let rest = prop_oneof![
        4 => (volume(), size()).prop_map(|(volume, size)| Action::Expand { volume, size }),
        8 => (volume(), pod(), size()).prop_map(|(volume, pod, size)| Action::ExpandHere { volume, pod, size }),
        4 => (select(SnapshotName::ALL), volume()).prop_map(|(name, volume)| Action::Snapshot { name, volume }),
        1 => snapshot().prop_map(|snapshot| Action::DeleteSnapshot { snapshot }),
        1 => (volume(), access()).prop_map(|(volume, access)| Action::Validate { volume, access }),
        1 => volume().prop_map(|volume| Action::Get { volume }),
        1 => select(Page::ALL).prop_map(|page| Action::List { page }),
        1 => (filter(), select(Page::ALL)).prop_map(|(filter, page)| Action::ListSnapshots { filter, page }),
        10 => (select(VolumeName::ALL), pod(), 1..=u16::MAX).prop_map(|(name, pod, seed)| Action::Write { name, pod, seed }),
        1 => select(Signal::ALL).prop_map(|signal| Action::Restart { signal }),
    ];
    prop_oneof![44 => way, 32 => rest]
}

/// Moments within a quick call, a slow one, and one that makes a filesystem.
fn moment() -> impl Strategy<Value = u32> {
    prop_oneof![0..1_000u32, 0..6_000u32, 0..50_000u32]
}

/// One of the calls that the driver makes for a call: few for most, some dozens for a stage.
fn place() -> impl Strategy<Value = u32> {
    prop_oneof![2 => 1..4u32, 2 => 1..9u32, 1 => 1..30u32]
}

fn disturbance() -> impl Strategy<Value = Disturbance> {
    prop_oneof![
        22 => Just(Disturbance::None),
        3 => Just(Disturbance::Twice),
        3 => Just(Disturbance::TwiceByBoth),
        2 => moment().prop_map(Disturbance::Cancelled),
        2 => moment().prop_map(Disturbance::TimedOut),
        2 => moment().prop_map(Disturbance::Killed),
        3 => place().prop_map(Disturbance::FailedAt),
        3 => place().prop_map(Disturbance::LostAt),
        2 => place().prop_map(Disturbance::CancelledAt),
        2 => place().prop_map(Disturbance::KilledAt),
        12 => beside(),
        12 => (place(), beside()).prop_map(|(nth, beside)| match beside {
            Disturbance::Beside(node, action) => Disturbance::BesideAt(nth, node, action),
            other => other,
        }),
    ]
}

/// Another call of any kind. What the context of a late stage is depends on the other call, so it is not among them.
fn beside() -> impl Strategy<Value = Disturbance> {
    (node(), action()).prop_map(|(node, action)| match action {
        Action::Stage { volume, access, .. } => Disturbance::Beside(node, Action::Stage { volume, access, late: false }),
        action if action.is_call() => Disturbance::Beside(node, action),
        _ => Disturbance::None,
    })
}

/// Any operation, whether or not it makes sense anywhere.
pub fn operation() -> impl Strategy<Value = Operation> {
    (node(), action(), disturbance()).prop_map(|(node, action, disturbance)| {
        let disturbance = if disturbance.suits(&action) { disturbance } else { Disturbance::None };
        Operation { node, action, disturbance }
    })
}

impl State {
    /// The same action as a CO in its senses would do it: with the newest object of a name, and used as it is attached.
    fn in_its_senses(&self, node: Node, action: Action) -> Action {
        let newest = |volume: Object<VolumeName>| self.newest(volume.name);
        let attached = |volume: Object<VolumeName>, access: Access| {
            let volume = self.volumes.get(&self.volume_key(newest(volume)));
            volume.and_then(|volume| volume.attachments.get(&node)).map_or(access, |attachment| attachment.access)
        };
        match action {
            Action::Stage { volume, access, .. } => {
                Action::Stage { volume: newest(volume), access: attached(volume, access), late: false }
            }
            Action::Publish { volume, pod, access, read_only } => {
                Action::Publish { volume: newest(volume), pod, access: attached(volume, access), read_only }
            }
            action => action,
        }
    }

    /// Whether an action succeeds and changes something. Staging what has data is useful also where it is refused: the data must
    /// survive that.
    fn is_useful(&self, node: Node, action: &Action) -> bool {
        if !self.is_in_order(node, action) {
            return false;
        }
        if let Action::Stage { volume, .. } = action
            && let Some(volume) = self.volumes.get(&self.volume_key(*volume))
            && volume.data != Data::Blank
        {
            return volume.attachments.contains_key(&node) && volume.place(node).staged.is_none();
        }
        let likeliest = self.outcomes(node, action).into_iter().next();
        likeliest.is_some_and(|outcome| matches!(outcome.answer, Answer::Done(_)) && outcome.state != *self)
    }
}

/// What a CO is about for a while: bringing one volume to its tasks, or taking it from them. Without it, volumes would be brought half
/// the way and back all the time.
#[derive(Debug, Clone, Copy)]
struct Mood {
    volume: VolumeName,
    down: bool,
}

impl Mood {
    fn any() -> impl Strategy<Value = Self> {
        let down = prop_oneof![3 => Just(false), 2 => Just(true)];
        (select(VolumeName::ALL), down).prop_map(|(volume, down)| Self { volume, down })
    }

    fn suits(self, action: &Action) -> bool {
        action.volume() == Some(self.volume) && action.leads_down() == self.down
    }
}

/// Sequences of operations for a form.
#[derive(Debug)]
pub struct Sequences {
    /// What they are for.
    pub form: Form,
    /// How long they are.
    pub steps: usize,
    /// Where whoever plays them says how far a failing one was played.
    pub reached: Arc<AtomicUsize>,
}

/// What happens to an operation. Of two calls at one time only those about one object can be in each other's way.
fn disturbed(any: &BoxedStrategy<Disturbance>, runner: &mut TestRunner, chosen: &Operation) -> Result<Disturbance, Reason> {
    for _ in 0..DRAWS {
        match any.new_tree(runner)?.current() {
            Disturbance::Beside(_, other) | Disturbance::BesideAt(_, _, other) if other.volume() != chosen.action.volume() => {}
            Disturbance::Beside(..) | Disturbance::BesideAt(..) if matches!(chosen.action, Action::Stage { late: true, .. }) => {}
            disturbance if disturbance.suits(&chosen.action) => return Ok(disturbance),
            _ => {}
        }
    }
    Ok(Disturbance::None)
}

/// The likeliest state after an operation.
fn expected(state: State, operation: &Operation) -> State {
    let other = match operation.disturbance {
        Disturbance::Beside(node, other) | Disturbance::BesideAt(_, node, other) => Some((node, other)),
        _ => None,
    };
    let one = (operation.node, operation.action);
    let other = other.filter(|other| state.are_in_order(one, *other));
    let one = state.is_in_order(one.0, &one.1).then_some(one);
    let mut after = state;
    after.send();
    for (node, action) in one.into_iter().chain(other) {
        after = after.outcomes(node, &action).into_iter().next().map_or(after, |outcome| outcome.state);
    }
    after.settle();
    after
}

impl Strategy for Sequences {
    type Tree = Shrinking;
    type Value = Vec<Operation>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let (any, disturbances, moods) = (operation().boxed(), disturbance().boxed(), Mood::any().boxed());
        let mut mood = moods.new_tree(runner)?.current();
        let mut state = State::new(self.form);
        let mut operations = Vec::with_capacity(self.steps);
        for _ in 0..self.steps {
            if (0..MOOD).new_tree(runner)?.current() == 0 {
                mood = moods.new_tree(runner)?.current();
            }
            let sensible = (0..100u32).new_tree(runner)?.current() < SENSIBLE;
            let mut chosen = any.new_tree(runner)?.current();
            for draw in 0..if sensible { DRAWS } else { 0 } {
                chosen.action = state.in_its_senses(chosen.node, chosen.action);
                let suits = draw >= DRAWS_IN_MOOD || mood.suits(&chosen.action);
                // What changes nothing is as good, but must not be what every search ends with.
                if suits && state.is_useful(chosen.node, &chosen.action) || draw == 0 && chosen.action.is_neutral() {
                    break;
                }
                chosen = any.new_tree(runner)?.current();
            }
            chosen.disturbance = disturbed(&disturbances, runner, &chosen)?;
            state = expected(state, &chosen);
            operations.push(chosen);
        }
        Ok(Shrinking::new(operations, Arc::clone(&self.reached)))
    }
}
