//! Plays operations against a plugin, and compares all that is answered and all that there is with the model.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write};
use std::fs;
use std::future::Future;
use std::io;
use std::time::Duration;

use tonic::{Code, Status};

use super::co::{Co, staging, target};
use super::form::Form;
use super::names::{End, Names, Said};
use super::operation::{Action, Disturbance, Node, Operation, Pod, Signal, VolumeName};
use super::sight::{LENGTH, Sight};
use super::state::{Answer, State};
use super::tally::Tally;
use super::view::{Lines, difference};
use crate::client::Client;
use crate::content::{pattern, write, write_out};
use crate::faults::{Fault, Faults};
use crate::plugin::Plugin;

/// How long anything may take that only reads or writes memory. What hangs longer was frozen and forgotten.
const WRITE_MAX: Duration = Duration::from_secs(20);

/// How long one step may take, with all that is looked at after it. On an export, whoever goes on with a copy waits for 60 s to be sure that
/// the one who began it is gone (nfs/src/filling.rs).
const STEP_MAX: Duration = Duration::from_secs(120);

/// How long a call that was left behind stands where it is, in microseconds, so that the next one finds it there.
const HELD_US: u32 = 3_000;

/// How long a call is held for another one to pass it, if it can, in microseconds.
const PASSING_US: u32 = 60_000;

/// A CO with its tasks, and what it believes.
#[derive(Debug)]
pub struct Player<'a> {
    plugin: &'a Plugin,
    tally: &'a Tally,
    clients: BTreeMap<Node, Client>,
    /// Everything that may be so, by the answers so far: more than one thing where they leave it open.
    likely: Vec<Belief>,
}

/// What may be so.
#[derive(Debug, Clone, PartialEq)]
struct Belief {
    state: State,
    names: Names,
}

/// A call that was sent, and its end, unless nobody knows it.
struct Sent {
    node: Node,
    action: Action,
    end: Option<End>,
}

/// All calls of a step.
struct Calls {
    sent: Vec<Sent>,
    at_once: bool,
}

impl Calls {
    /// The orders in which they may have been carried out.
    fn orders(&self) -> Vec<Vec<&Sent>> {
        match self.sent.as_slice() {
            [first, second] if self.at_once => vec![vec![first, second], vec![second, first]],
            // A call of which nothing was heard was carried out or not.
            [first, second] if first.end.is_none() => vec![vec![second], vec![first, second]],
            sent => vec![sent.iter().collect()],
        }
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.sent.iter().map(|sent| sent.end.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string));
        write!(f, "answered {}", words.collect::<Vec<_>>().join(if self.at_once { " and " } else { ", then " }))
    }
}

impl<'a> Player<'a> {
    /// A CO that knows nothing yet.
    pub async fn new(plugin: &'a Plugin, form: Form, tally: &'a Tally) -> Self {
        let clients = [(Node::A, plugin.a()), (Node::B, plugin.b().await)].into();
        for node in Node::ALL {
            for name in VolumeName::ALL {
                fs::create_dir_all(staging(plugin.workspace(), *node, *name)).unwrap();
                for pod in Pod::ALL {
                    fs::create_dir_all(target(plugin.workspace(), *node, *pod, *name).parent().unwrap()).unwrap();
                }
            }
        }
        let belief = Belief { state: State::new(form), names: Names::new(form.backend.kind, plugin) };
        Self { plugin, tally, clients, likely: vec![belief] }
    }

    /// What is believed.
    pub fn state(&self) -> &State {
        &self.likely[0].state
    }

    /// Plays one operation. An error says in what the plugin was not as it should be.
    pub async fn step(&mut self, operation: &Operation) -> Result<(), String> {
        let played = tokio::time::timeout(STEP_MAX, self.play(operation)).await;
        played.unwrap_or_else(|_| Err(format!("takes longer than {} s", STEP_MAX.as_secs())))
    }

    async fn play(&mut self, operation: &Operation) -> Result<(), String> {
        let calls = self.perform(operation.node, &operation.action, operation.disturbance).await?;
        let orders = calls.orders();
        let explained: Vec<Belief> =
            self.likely.iter().flat_map(|belief| orders.iter().flat_map(|order| follow(belief, order))).collect();
        if explained.is_empty() {
            return Err(self.wrong_answer(&calls));
        }
        // The other process is asked: both must know the same.
        let sight = Sight::take(self.co(None), &self.clients[&operation.node.other()], self.plugin.devices()).await;
        let sight = sight.map_err(|status| format!("looking at what there is: {status}"))?;
        let (mut likely, mut differences) = (Vec::new(), Vec::new());
        for belief in explained {
            match difference(&belief.state.lines(), &sight.lines(&belief.names, &belief.state.form)) {
                None if likely.contains(&belief) => {}
                None => likely.push(belief),
                Some(text) => differences.push(text),
            }
        }
        if likely.is_empty() {
            // Most states that are allowed differ from each other in little; what is far off explains nothing.
            let nearest = differences.into_iter().min_by_key(|text| text.lines().count()).unwrap_or_default();
            return Err(format!("{calls}, and then:\n{nearest}"));
        }
        self.count(&calls, &likely[0].state.lines());
        self.likely = likely;
        Ok(())
    }

    fn count(&self, calls: &Calls, lines: &Lines) {
        let contents = lines.values().filter(|how| how.starts_with("pattern")).count();
        self.tally.step(contents.try_into().unwrap_or(0));
        for sent in &calls.sent {
            let Some(end) = &sent.end else { continue };
            self.tally.done(&sent.action, matches!(end, End::Said(_)));
            match end {
                End::Said(_) if sent.action.is_call() => self.tally.answer(Code::Ok),
                End::Refused(status) => self.tally.answer(status.code()),
                _ => {}
            }
        }
    }

    fn wrong_answer(&self, calls: &Calls) -> String {
        let mut text = format!("{calls}, where these would be right:");
        let likely = self.likely.iter().flat_map(|belief| {
            let outcomes = calls.sent.iter().map(|sent| (sent, belief.state.outcomes(sent.node, &sent.action)));
            outcomes.collect::<Vec<_>>()
        });
        for (sent, outcomes) in likely {
            let answers = outcomes.into_iter().map(|outcome| match outcome.answer {
                Answer::Refused(code) => format!("{code:?}"),
                answer => format!("{answer:?}"),
            });
            write!(text, "\n  {}: {}", sent.action, answers.collect::<Vec<_>>().join(" or ")).unwrap();
        }
        text
    }

    fn co(&self, patience: Option<Duration>) -> Co<'_> {
        let Belief { state, names } = &self.likely[0];
        Co { workspace: self.plugin.workspace(), state, names, patience }
    }

    /// What becomes of an operation in the hands of a CO that keeps the order where it has to: nothing, if it cannot be sure of it.
    fn in_order(&self, node: Node, action: &Action, disturbance: Disturbance) -> Option<Disturbance> {
        let beside = match disturbance {
            Disturbance::Beside(beside, other) | Disturbance::BesideAt(_, beside, other) => Some((beside, other)),
            Disturbance::Twice => Some((node, *action)),
            Disturbance::TwiceByBoth => Some((node.other(), *action)),
            _ => None,
        };
        let all = |is: &dyn Fn(&State) -> bool| self.likely.iter().all(|belief| is(&belief.state));
        let is_alone = beside.is_some_and(|beside| !all(&|state| state.are_in_order((node, *action), beside)));
        all(&|state| state.is_in_order(node, action)).then_some(if is_alone { Disturbance::None } else { disturbance })
    }

    /// Has what tasks have written to volumes that are about to be cut written out, where nobody else does.
    async fn write_out(&self, actions: &[Option<Action>]) -> Result<(), String> {
        let workspace = self.plugin.workspace();
        let state = self.state();
        for key in actions.iter().flatten().filter_map(|action| state.cut_by(action)) {
            let places = state.volumes.get(&key).into_iter().flat_map(|volume| &volume.places);
            let pods = places.flat_map(|(node, place)| place.pods.keys().map(|pod| target(workspace, *node, *pod, key.name)));
            let paths: Vec<_> = pods.collect();
            let written = tokio::task::spawn_blocking(move || paths.iter().try_for_each(|path| write_out(path)));
            written.await.unwrap().map_err(|error| format!("cannot write out {key}: {error}"))?;
        }
        Ok(())
    }

    async fn perform(&mut self, node: Node, action: &Action, disturbance: Disturbance) -> Result<Calls, String> {
        let Some(disturbance) = self.in_order(node, action, disturbance) else {
            return Ok(Calls { sent: Vec::new(), at_once: false });
        };
        let other = match disturbance {
            Disturbance::Beside(_, other) | Disturbance::BesideAt(_, _, other) => Some(other),
            _ => None,
        };
        self.write_out(&[Some(*action), other]).await?;
        let one = |end| vec![Sent { node, action: *action, end: Some(end) }];
        let client = self.clients[&node].clone();
        let sent = match (action, disturbance) {
            (Action::Write { name, pod, seed }, _) => one(self.write(node, *name, *pod, *seed).await?),
            (Action::Restart { signal }, _) => {
                self.restart(node, *signal).await;
                one(End::Said(Said::Nothing))
            }
            (_, Disturbance::None) => {
                self.tally.disturbance(disturbance, true);
                one(end(self.co(None).call(&client, node, action).await))
            }
            (_, Disturbance::Twice) => return Ok(self.at_once(disturbance, (node, *action), (node, *action)).await),
            (_, Disturbance::TwiceByBoth) => {
                return Ok(self.at_once(disturbance, (node, *action), (node.other(), *action)).await);
            }
            (_, Disturbance::Beside(beside, other)) => {
                return Ok(self.at_once(disturbance, (node, *action), (beside, other)).await);
            }
            (_, Disturbance::BesideAt(nth, beside, other)) => {
                return Ok(self.held(disturbance, nth, (node, *action), (beside, other)).await);
            }
            (_, Disturbance::Cancelled(us)) => {
                let first = {
                    let co = self.co(None);
                    tokio::select! {
                        biased;
                        () = pause(us) => None,
                        answer = co.call(&client, node, action) => Some(end(answer)),
                    }
                };
                self.again(disturbance, first, node, action).await
            }
            (_, Disturbance::TimedOut(us)) => {
                let answer = self.co(Some(Duration::from_micros(us.into()))).call(&client, node, action).await;
                let is_late = |status: &Status| matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled);
                let first = (!answer.as_ref().is_err_and(is_late)).then(|| end(answer));
                self.again(disturbance, first, node, action).await
            }
            (_, Disturbance::Killed(us)) => {
                let first = self.killed(node, action, &client, pause(us)).await;
                self.again(disturbance, first, node, action).await
            }
            (_, Disturbance::FailedAt(nth)) => self.struck(node, action, disturbance, (nth, Fault::Fail)).await,
            (_, Disturbance::LostAt(nth)) => self.struck(node, action, disturbance, (nth, Fault::Lose)).await,
            (_, Disturbance::CancelledAt(nth)) => {
                let mut faults = self.plugin.faults(node.word());
                faults.arm(nth, Fault::Hold);
                let first = {
                    let co = self.co(None);
                    tokio::select! {
                        biased;
                        answer = co.call(&client, node, action) => Some(end(answer)),
                        () = until_struck(&faults) => None,
                    }
                };
                // The call comes again while the one that was left behind still stands there.
                let release = async {
                    pause(HELD_US).await;
                    faults.disarm();
                };
                tokio::join!(self.again(disturbance, first, node, action), release).0
            }
            (_, Disturbance::KilledAt(nth)) => {
                let mut faults = self.plugin.faults(node.word());
                faults.arm(nth, Fault::Hold);
                let first = self.killed(node, action, &client, until_struck(&faults)).await;
                self.again(disturbance, first, node, action).await
            }
        };
        Ok(Calls { sent, at_once: false })
    }

    /// Two calls at the same time, on connections of their own.
    async fn at_once(&self, how: Disturbance, first: (Node, Action), second: (Node, Action)) -> Calls {
        let (client, other) = (&self.clients[&first.0], self.plugin.client(second.0.word()));
        let co = self.co(None);
        let answers = tokio::join!(co.call(client, first.0, &first.1), co.call(&other, second.0, &second.1));
        self.tally.disturbance(how, true);
        let sent = |(node, action), answer| Sent { node, action, end: Some(end(answer)) };
        Calls { sent: vec![sent(first, answers.0), sent(second, answers.1)], at_once: true }
    }

    /// The second call comes while the first stands at one of the calls that the driver makes for it.
    async fn held(&self, how: Disturbance, nth: u32, first: (Node, Action), second: (Node, Action)) -> Calls {
        let (client, other) = (&self.clients[&first.0], self.plugin.client(second.0.word()));
        let mut faults = self.plugin.faults(first.0.word());
        faults.arm(nth, Fault::Hold);
        let co = self.co(None);
        let call = co.call(client, first.0, &first.1);
        tokio::pin!(call);
        let early = tokio::select! {
            biased;
            answer = &mut call => Some(answer),
            () = until_struck(&faults) => None,
        };
        self.tally.disturbance(how, early.is_none());
        let beside = co.call(&other, second.0, &second.1);
        tokio::pin!(beside);
        // What must wait for the first call waits for ever, unless it is let go.
        let passed = tokio::select! {
            biased;
            answer = &mut beside => Some(answer),
            () = pause(PASSING_US) => None,
        };
        faults.disarm();
        let late = async {
            match passed {
                Some(answer) => answer,
                None => beside.await,
            }
        };
        let held = async {
            match early {
                Some(answer) => answer,
                None => call.await,
            }
        };
        let answers = tokio::join!(held, late);
        let sent = |(node, action), answer| Sent { node, action, end: Some(end(answer)) };
        Calls { sent: vec![sent(first, answers.0), sent(second, answers.1)], at_once: true }
    }

    /// One of the calls that the driver makes is struck.
    async fn struck(&self, node: Node, action: &Action, how: Disturbance, (nth, fault): (u32, Fault)) -> Vec<Sent> {
        let mut faults = self.plugin.faults(node.word());
        faults.arm(nth, fault);
        let answer = self.co(None).call(&self.clients[&node], node, action).await;
        let struck = faults.disarm();
        match &answer {
            // What was struck is unavailable, and nobody knows how much is done.
            Err(status) if struck.is_some() && status.code() == Code::Unavailable => self.again(how, None, node, action).await,
            // It has ended well without what was struck, or before it.
            _ => {
                self.tally.disturbance(how, struck.is_some());
                vec![Sent { node, action: *action, end: Some(end(answer)) }]
            }
        }
    }

    /// The same call once more, as a CO does that has not heard the end of the first.
    async fn again(&self, disturbance: Disturbance, first: Option<End>, node: Node, action: &Action) -> Vec<Sent> {
        self.tally.disturbance(disturbance, first.is_none());
        let second = self.co(None).call(&self.clients[&node], node, action).await;
        [first, Some(end(second))].into_iter().map(|end| Sent { node, action: *action, end }).collect()
    }

    /// Kills the process when `moment` has come, or when the call has ended, and starts it again.
    async fn killed(&mut self, node: Node, action: &Action, client: &Client, moment: impl Future<Output = ()>) -> Option<End> {
        let answer = {
            let co = self.co(None);
            let call = co.call(client, node, action);
            tokio::pin!(call);
            let early = tokio::select! {
                biased;
                () = moment => None,
                answer = &mut call => Some(answer),
            };
            self.plugin.kill(node.word()).await;
            match early {
                Some(answer) => answer,
                None => call.await,
            }
        };
        // The process that is started makes calls, too.
        self.plugin.faults(node.word()).disarm();
        self.plugin.start_node(node.word()).await;
        self.clients.insert(node, self.plugin.client(node.word()));
        // What the connection says of its own end is no answer.
        let is_connections = |status: &Status| status.source().is_some();
        (!answer.as_ref().is_err_and(is_connections)).then(|| end(answer))
    }

    /// Ends the process of a node and starts it again.
    pub async fn restart(&mut self, node: Node, signal: Signal) {
        match signal {
            Signal::Kill => self.plugin.kill(node.word()).await,
            Signal::Term => self.plugin.stop(node.word()).await,
        }
        self.plugin.start_node(node.word()).await;
        self.clients.insert(node, self.plugin.client(node.word()));
    }

    async fn write(&self, node: Node, name: VolumeName, pod: Pod, seed: u16) -> Result<End, String> {
        let action = Action::Write { name, pod, seed };
        if self.state().outcomes(node, &action).iter().all(|outcome| outcome.answer == Answer::Nowhere) {
            return Ok(End::Nowhere);
        }
        let path = target(self.plugin.workspace(), node, pod, name);
        let written = tokio::task::spawn_blocking(move || write(&path, &pattern(seed.into(), LENGTH)));
        match tokio::time::timeout(WRITE_MAX, written).await {
            Err(_) => Err(format!("a task has been writing for {} s", WRITE_MAX.as_secs())),
            Ok(Err(panic)) => Err(format!("a task ended: {panic}")),
            Ok(Ok(Ok(()))) => Ok(End::Said(Said::Nothing)),
            Ok(Ok(Err(error))) => match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Ok(End::ReadOnly),
                _ => Err(format!("a task cannot write: {error}")),
            },
        }
    }
}

fn end(answer: Result<Said, Status>) -> End {
    match answer {
        Ok(said) => End::Said(said),
        Err(status) => End::Refused(status),
    }
}

/// What may be so after calls were carried out in this order with these answers.
fn follow(belief: &Belief, order: &[&Sent]) -> Vec<Belief> {
    let mut start = belief.clone();
    start.state.send();
    let mut likely = vec![start];
    for sent in order {
        let mut next = Vec::new();
        for Belief { state, names } in &likely {
            for outcome in state.outcomes(sent.node, &sent.action) {
                let mut names = names.clone();
                if sent.end.as_ref().is_none_or(|end| names.agree(&state.form, &outcome.answer, end)) {
                    next.push(Belief { state: outcome.state, names });
                }
            }
        }
        likely = next;
    }
    likely.iter_mut().for_each(|belief| belief.state.settle());
    likely
}

/// Waits until an order has struck.
async fn until_struck(faults: &Faults) {
    while faults.struck().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A pause that is exact, which the runtime's own clock is not below a millisecond.
async fn pause(us: u32) {
    let slept = tokio::task::spawn_blocking(move || std::thread::sleep(Duration::from_micros(us.into())));
    slept.await.unwrap();
}
