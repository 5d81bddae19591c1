//! Operations as text, one a line: what a failing run is printed as, and what is read to play it again.
//!
//! ```text
//! form image-xfs/ext4
//! node-a create v1 small
//! node-b attach v1 to node-a as writer | twice by both
//! node-a stage v1 as writer | killed after 3000 us
//! node-a publish v1 at p1 as writer
//! node-a write 17 to v1 at p1
//! ```
//!
//! The first word of a step is the process that is called. `at call 3` is when the driver makes the third of its own calls for it (to a
//! backend or to the kernel, see `host/src/fault.rs`). What follows `#` is a remark.

use std::fmt;
use std::str::FromStr;

use super::form::Form;
use super::operation::{Action, Disturbance, Filter, Object, Operation, Source};

/// The word before the name of the form.
const FORM: &str = "form";

/// What comes between a call and what happens to it.
const BESIDE: &str = " | ";

/// A run.
#[derive(Debug, Clone)]
pub struct Script {
    /// What it is run on.
    pub form: Form,
    /// Its steps.
    pub operations: Vec<Operation>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORM} {}", self.form.name())?;
        self.operations.iter().try_for_each(|operation| writeln!(f, "{operation}"))
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut form, mut operations) = (None, Vec::new());
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default().trim();
            let place = |error: String| format!("line {number}: {error}");
            match line.strip_prefix(FORM) {
                Some(name) => form = Some(Form::named(name.trim()).map_err(place)?),
                None if line.is_empty() => {}
                None => operations.push(line.parse().map_err(place)?),
            }
        }
        Ok(Self { form: form.ok_or_else(|| format!("there is no line \"{FORM} NAME\""))?, operations })
    }
}

impl<N: fmt::Display> fmt::Display for Object<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.former { "former " } else { "" }, self.name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Volume(volume) => volume.fmt(f),
            Source::Snapshot(snapshot) => snapshot.fmt(f),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Create { name, size, source: None } => write!(f, "create {name} {size}"),
            Action::Create { name, size, source: Some(source) } => write!(f, "create {name} {size} from {source}"),
            Action::Delete { volume } => write!(f, "delete {volume}"),
            Action::Attach { volume, node, access } => write!(f, "attach {volume} to {node} as {access}"),
            Action::Detach { volume, node: Some(node) } => write!(f, "detach {volume} from {node}"),
            Action::Detach { volume, node: None } => write!(f, "detach {volume} from everywhere"),
            Action::Stage { volume, access, late } => write!(f, "stage {volume} as {access}{}", option(*late, "late")),
            Action::Unstage { volume } => write!(f, "unstage {volume}"),
            Action::Publish { volume, pod, access, read_only } => {
                write!(f, "publish {volume} at {pod} as {access}{}", option(*read_only, "read-only"))
            }
            Action::Unpublish { volume, pod } => write!(f, "unpublish {volume} at {pod}"),
            Action::Expand { volume, size } => write!(f, "expand {volume} to {size}"),
            Action::ExpandHere { volume, pod, size } => write!(f, "expand-here {volume} at {pod} to {size}"),
            Action::Snapshot { name, volume } => write!(f, "snapshot {name} of {volume}"),
            Action::DeleteSnapshot { snapshot } => write!(f, "delete-snapshot {snapshot}"),
            Action::Validate { volume, access } => write!(f, "validate {volume} as {access}"),
            Action::Get { volume } => write!(f, "get {volume}"),
            Action::List { page } => write!(f, "list by {page}"),
            Action::ListSnapshots { filter: Filter::All, page } => write!(f, "list-snapshots by {page}"),
            Action::ListSnapshots { filter: Filter::Of(volume), page } => write!(f, "list-snapshots of {volume} by {page}"),
            Action::ListSnapshots { filter: Filter::Is(snapshot), page } => write!(f, "list-snapshots is {snapshot} by {page}"),
            Action::Write { name, pod, seed } => write!(f, "write {seed} to {name} at {pod}"),
            Action::Restart { signal } => write!(f, "restart by {signal}"),
        }
    }
}

fn option(set: bool, word: &str) -> String {
    if set { format!(" {word}") } else { String::new() }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disturbance::None | Disturbance::Twice | Disturbance::TwiceByBoth => f.write_str(self.name()),
            Disturbance::Cancelled(us) | Disturbance::TimedOut(us) | Disturbance::Killed(us) => {
                write!(f, "{} after {us} us", self.name())
            }
            Disturbance::FailedAt(nth)
            | Disturbance::LostAt(nth)
            | Disturbance::CancelledAt(nth)
            | Disturbance::KilledAt(nth) => write!(f, "{} call {nth}", self.name()),
            Disturbance::Beside(node, action) => write!(f, "{} {node} {action}", self.name()),
            Disturbance::BesideAt(nth, node, action) => write!(f, "{} call {nth} beside {node} {action}", self.name()),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.node, self.action)?;
        if self.disturbance == Disturbance::None { Ok(()) } else { write!(f, "{BESIDE}{}", self.disturbance) }
    }
}

/// The words of a step that are still to be understood.
struct Words<'a> {
    rest: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text.split_whitespace().peekable() }
    }

    fn word(&mut self) -> Result<&'a str, String> {
        self.rest.next().ok_or_else(|| "the step is not complete".to_owned())
    }

    fn read<T: FromStr<Err: fmt::Display>>(&mut self) -> Result<T, String> {
        let word = self.word()?;
        word.parse().map_err(|error| format!("{word:?}: {error}"))
    }

    /// Whether the next word is `word`, which is then taken.
    fn is(&mut self, word: &str) -> bool {
        self.rest.next_if(|next| *next == word).is_some()
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.is(word) {
            Ok(())
        } else {
            Err(format!("{word:?} is missing before {:?}", self.rest.peek().unwrap_or(&"the end")))
        }
    }

    fn after<T: FromStr<Err: fmt::Display>>(&mut self, word: &str) -> Result<T, String> {
        self.expect(word)?;
        self.read()
    }

    fn object<N: FromStr<Err: fmt::Display>>(&mut self) -> Result<Object<N>, String> {
        let former = self.is("former");
        Ok(Object { former, name: self.read()? })
    }

    fn source(&mut self) -> Result<Source, String> {
        let former = self.is("former");
        let word = self.word()?;
        match (word.parse(), word.parse()) {
            (Ok(name), _) => Ok(Source::Volume(Object { name, former })),
            (_, Ok(name)) => Ok(Source::Snapshot(Object { name, former })),
            (Err(error), _) => Err(error),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.rest.next().map_or(Ok(()), |word| Err(format!("{word:?} is too much")))
    }

    fn action(&mut self) -> Result<Action, String> {
        Ok(match self.word()? {
            "create" => {
                let (name, size) = (self.read()?, self.read()?);
                let source = if self.is("from") { Some(self.source()?) } else { None };
                Action::Create { name, size, source }
            }
            "delete" => Action::Delete { volume: self.object()? },
            "attach" => Action::Attach { volume: self.object()?, node: self.after("to")?, access: self.after("as")? },
            "detach" => {
                let volume = self.object()?;
                self.expect("from")?;
                let node = if self.is("everywhere") { None } else { Some(self.read()?) };
                Action::Detach { volume, node }
            }
            "stage" => Action::Stage { volume: self.object()?, access: self.after("as")?, late: self.is("late") },
            "unstage" => Action::Unstage { volume: self.object()? },
            "publish" => Action::Publish {
                volume: self.object()?,
                pod: self.after("at")?,
                access: self.after("as")?,
                read_only: self.is("read-only"),
            },
            "unpublish" => Action::Unpublish { volume: self.object()?, pod: self.after("at")? },
            "expand" => Action::Expand { volume: self.object()?, size: self.after("to")? },
            "expand-here" => Action::ExpandHere { volume: self.object()?, pod: self.after("at")?, size: self.after("to")? },
            "snapshot" => {
                let name = self.read()?;
                self.expect("of")?;
                Action::Snapshot { name, volume: self.object()? }
            }
            "delete-snapshot" => Action::DeleteSnapshot { snapshot: self.object()? },
            "validate" => Action::Validate { volume: self.object()?, access: self.after("as")? },
            "get" => Action::Get { volume: self.object()? },
            "list" => Action::List { page: self.after("by")? },
            "list-snapshots" => {
                let filter = if self.is("of") {
                    Filter::Of(self.object()?)
                } else if self.is("is") {
                    Filter::Is(self.object()?)
                } else {
                    Filter::All
                };
                Action::ListSnapshots { filter, page: self.after("by")? }
            }
            "write" => Action::Write { seed: self.read()?, name: self.after("to")?, pod: self.after("at")? },
            "restart" => Action::Restart { signal: self.after("by")? },
            other => return Err(format!("{other:?} is not something that can be done")),
        })
    }

    fn disturbance(&mut self) -> Result<Disturbance, String> {
        type OfNumber = fn(u32) -> Disturbance;
        let (after, at): (Option<OfNumber>, Option<OfNumber>) = match self.word()? {
            "twice" if self.is("by") => {
                self.expect("both")?;
                return Ok(Disturbance::TwiceByBoth);
            }
            "twice" => return Ok(Disturbance::Twice),
            "held" => {
                self.expect("at")?;
                return Ok(Disturbance::BesideAt(self.after("call")?, self.after("beside")?, self.action()?));
            }
            "beside" => return Ok(Disturbance::Beside(self.read()?, self.action()?)),
            "timed" => {
                self.expect("out")?;
                (Some(Disturbance::TimedOut), None)
            }
            "cancelled" => (Some(Disturbance::Cancelled), Some(Disturbance::CancelledAt)),
            "killed" => (Some(Disturbance::Killed), Some(Disturbance::KilledAt)),
            "failed" => (None, Some(Disturbance::FailedAt)),
            "lost" => (None, Some(Disturbance::LostAt)),
            other => return Err(format!("{other:?} is not something that can happen to a call")),
        };
        if let Some(at) = at
            && self.is("at")
        {
            return Ok(at(self.after("call")?));
        }
        let after = after.ok_or("\"at call\" is missing")?;
        let moment = self.after("after")?;
        self.expect("us")?;
        Ok(after(moment))
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (step, beside) = text.split_once(BESIDE).map_or((text, None), |(step, beside)| (step, Some(beside)));
        let mut words = Words::of(step);
        let (node, action) = (words.read()?, words.action()?);
        words.end()?;
        let disturbance = match beside.map(Words::of) {
            None => Disturbance::None,
            Some(mut words) => {
                let disturbance = words.disturbance()?;
                words.end()?;
                disturbance
            }
        };
        if !disturbance.suits(&action) {
            return Err(format!("{:?} cannot be {disturbance}", action.verb()));
        }
        Ok(Self { node, action, disturbance })
    }
}
