//! Making a failing sequence short.
//!
//! A run takes seconds, so what can be left out is left out in halves, quarters and so on before single steps are tried. Each operation
//! has a meaning in every state, so whatever is left can be played. Then each step is made simpler where the failure allows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::strategy::ValueTree;

use super::operation::{Access, Action, Disturbance, Node, Object, Operation, Signal, Size};

/// A sequence that is being made shorter.
#[derive(Debug)]
pub struct Shrinking {
    /// The shortest that has failed.
    failing: Vec<Operation>,
    /// What is tried.
    tried: Vec<Operation>,
    /// How far the last failing run came.
    reached: Arc<AtomicUsize>,
    next: Attempt,
    /// Whether anything could be made simpler since single steps were last left out.
    simplified: bool,
}

/// What is tried next.
#[derive(Debug, Clone, Copy)]
enum Attempt {
    /// The failing run as it is, without what comes after its failure.
    Whole,
    /// Without so many steps from one on.
    Without { from: usize, count: usize },
    /// With a step in one of its simpler forms.
    Simpler { step: usize, form: usize },
    /// Nothing is left to try.
    Over,
}

impl Shrinking {
    /// The sequence as it was made.
    pub fn new(operations: Vec<Operation>, reached: Arc<AtomicUsize>) -> Self {
        Self { failing: operations.clone(), tried: operations, reached, next: Attempt::Whole, simplified: false }
    }

    /// Proposes the next attempt; whether there was one.
    fn propose(&mut self) -> bool {
        loop {
            match self.next {
                Attempt::Whole => {
                    let count = self.failing.len().div_ceil(2);
                    self.next = if count == 0 { Attempt::Over } else { Attempt::Without { from: 0, count } };
                }
                Attempt::Without { from, count } if from >= self.failing.len() => {
                    self.next = if count > 1 {
                        Attempt::Without { from: 0, count: count / 2 }
                    } else {
                        Attempt::Simpler { step: 0, form: 0 }
                    };
                }
                Attempt::Without { from, count } => {
                    self.tried = self.failing.clone();
                    self.tried.drain(from..(from + count).min(self.failing.len()));
                    self.next = Attempt::Without { from: from + count, count };
                    return true;
                }
                Attempt::Simpler { step, .. } if step >= self.failing.len() => {
                    self.next = if self.simplified { Attempt::Without { from: 0, count: 1 } } else { Attempt::Over };
                    self.simplified = false;
                }
                Attempt::Simpler { step, form } => match simpler(&self.failing[step]).get(form) {
                    None => self.next = Attempt::Simpler { step: step + 1, form: 0 },
                    Some(operation) => {
                        self.tried = self.failing.clone();
                        self.tried[step] = *operation;
                        self.next = Attempt::Simpler { step, form: form + 1 };
                        return true;
                    }
                },
                Attempt::Over => {
                    self.tried = self.failing.clone();
                    return false;
                }
            }
        }
    }
}

impl ValueTree for Shrinking {
    type Value = Vec<Operation>;

    fn current(&self) -> Vec<Operation> {
        self.tried.clone()
    }

    /// What was tried has failed: it is the shortest now.
    fn simplify(&mut self) -> bool {
        let before = self.failing.len();
        self.failing = self.tried.clone();
        self.failing.truncate(self.reached.load(Ordering::SeqCst).saturating_add(1));
        // What was left out or made simpler stays so, and the place behind it has moved up.
        match &mut self.next {
            Attempt::Without { from, count } if before > self.failing.len() => *from = from.saturating_sub(*count),
            Attempt::Simpler { form, .. } => {
                *form = 0;
                self.simplified = true;
            }
            _ => {}
        }
        self.propose()
    }

    /// What was tried has not failed.
    fn complicate(&mut self) -> bool {
        self.propose()
    }
}

/// The simpler forms of a step, the simplest first.
fn simpler(operation: &Operation) -> Vec<Operation> {
    let mut forms = Vec::new();
    for disturbance in [Disturbance::None, Disturbance::Twice] {
        if ![Disturbance::None, disturbance].contains(&operation.disturbance) {
            forms.push(Operation { disturbance, ..*operation });
        }
    }
    if operation.node == Node::B {
        forms.push(Operation { node: Node::A, ..*operation });
    }
    if let Disturbance::Beside(node, action) | Disturbance::BesideAt(_, node, action) = operation.disturbance {
        forms.push(Operation { node, action, disturbance: Disturbance::None });
    }
    if matches!(operation.disturbance, Disturbance::Killed(_) | Disturbance::KilledAt(_)) {
        let action = Action::Restart { signal: Signal::Kill };
        forms.push(Operation { action, disturbance: Disturbance::None, ..*operation });
    }
    let mut action = |action: Action| forms.extend((action != operation.action).then_some(Operation { action, ..*operation }));
    match operation.action {
        Action::Create { name, size, source } => {
            action(Action::Create { name, size, source: None });
            action(Action::Create { name, size: Size::Small, source });
        }
        Action::Attach { volume, node, access } => {
            action(Action::Attach { volume: newest(volume), node, access });
            action(Action::Attach { volume, node: Node::A, access });
            action(Action::Attach { volume, node, access: Access::Writer });
        }
        Action::Stage { volume, access, late } => {
            action(Action::Stage { volume: newest(volume), access, late });
            action(Action::Stage { volume, access, late: false });
            action(Action::Stage { volume, access: Access::Writer, late });
        }
        Action::Publish { volume, pod, access, read_only } => {
            action(Action::Publish { volume: newest(volume), pod, access, read_only });
            action(Action::Publish { volume, pod, access, read_only: false });
            action(Action::Publish { volume, pod, access: Access::Writer, read_only });
        }
        Action::Detach { volume, node } => {
            action(Action::Detach { volume: newest(volume), node });
            action(Action::Detach { volume, node: node.or(Some(Node::A)) });
        }
        Action::Write { name, pod, .. } => action(Action::Write { name, pod, seed: 1 }),
        _ => {}
    }
    forms
}

fn newest<N>(object: Object<N>) -> Object<N> {
    Object { former: false, ..object }
}
