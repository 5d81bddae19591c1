//! What was found of a volume, and how it is told.

use std::path::PathBuf;

use hawser_bridge::door::operator::Held;
use hawser_bridge::driver::Abilities;
use hawser_bridge::ledger::Door;
use serde::Serialize;

use super::advice::Next;
use super::work::Work;
use crate::client::record::{Attachment, Record};
use crate::client::table::plain;
use crate::client::trace::Mounted;
use crate::client::volume::Volume;

/// What the bridge of this machine said: what it holds, or why it said nothing; an empty reason when there is none.
pub(super) type OfBridge = Result<Held, String>;

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Report {
    /// This node; empty when no Node service answers.
    pub(super) node: String,
    pub(super) driver: String,
    pub(super) can: Abilities,
    pub(super) volume: Volume,
    /// Whether the driver knows the volume; otherwise it is known from failures to make it.
    pub(super) exists: bool,
    /// What processes of Hawser do with it, wait for, and failed at.
    pub(super) work: Work,
    /// Where it is mounted here.
    pub(super) mounts: Vec<Mounted>,
    /// What `hawser volume mount` made of it.
    pub(super) record: Option<Record>,
    /// Why that could not be read.
    pub(super) unread: Option<String>,
    pub(super) bridge: OfBridge,
}

/// The same for programs.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    volume: &'a Volume,
    exists: bool,
    node: &'a str,
    driver: &'a str,
    mounts: &'a [Mounted],
    mount: Option<ToldMount<'a>>,
    bridge: Option<ToldBridge>,
    work: &'a Work,
    wrong: bool,
    next: &'a [String],
}

#[derive(Debug, Serialize)]
struct ToldMount<'a> {
    paths: Vec<&'a PathBuf>,
    staging: &'a PathBuf,
    attachment: Attachment,
}

#[derive(Debug, Serialize)]
struct ToldBridge {
    /// Whether it holds the volume.
    holds: bool,
    /// Why it could not say.
    error: Option<String>,
    /// The boot of the machine in which it was taken.
    boot: Option<String>,
    /// Since when nobody uses it, in seconds since 1970.
    idle_since: Option<u64>,
    uses: Vec<ToldUse>,
    /// The names that tasks declared for it.
    declared: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ToldUse {
    name: String,
    door: Door,
    agent: Option<String>,
    users: Vec<String>,
    targets: Vec<PathBuf>,
}

impl Report {
    /// The bridge's record of the volume.
    pub(super) fn holding(&self) -> Option<&hawser_bridge::ledger::Holding> {
        self.bridge.as_ref().ok().and_then(|held| held.holdings.get(&self.volume.id))
    }

    fn declared(&self) -> Vec<String> {
        let held = self.bridge.as_ref().ok();
        let names = held.into_iter().flat_map(|held| &held.declared);
        names.filter(|(_, id)| id.as_deref() == Some(&self.volume.id)).map(|(name, _)| name.clone()).collect()
    }

    /// For people.
    pub(super) fn text(&self, next: &Next) -> String {
        let mut lines: Vec<(&str, String)> = vec![("volume", self.volume.words())];
        if self.exists {
            lines.extend(self.place());
        } else {
            lines.push(("where", format!("driver {} knows no such volume", self.driver)));
        }
        if let Some(condition) =
            self.volume.condition.as_ref().filter(|condition| condition.abnormal || !condition.message.is_empty())
        {
            lines.push(("condition", format!("{}{}", if condition.abnormal { "WRONG: " } else { "" }, condition.message)));
        }
        lines.extend(self.of_bridge().into_iter().map(|line| ("bridge", line)));
        lines.extend(self.work.lines(&self.driver));
        if let Some(unread) = &self.unread {
            lines.push(("by hand", unread.clone()));
        }
        let mut text: String = lines.iter().map(|(key, line)| format!("{key:<10} {}\n", plain(line))).collect();
        text += "\nWhat to do next\n";
        for sentence in &next.sentences {
            text += &format!("  {}\n", plain(sentence));
        }
        text
    }

    /// Who has it, and where it is mounted here.
    fn place(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![(
            "where",
            match self.volume.nodes.as_deref() {
                None => format!("driver {} does not say which nodes have a volume", self.driver),
                Some([]) => "attached to no node".to_owned(),
                Some(nodes) => {
                    format!("attached to {}", nodes.iter().map(|node| self.node_words(node)).collect::<Vec<_>>().join(", "))
                }
            },
        )];
        lines.extend(self.mounts.iter().map(|mount| {
            let mode = if mount.read_only { ", read-only" } else { "" };
            ("mounted", format!("{} ({}{mode}, by {})", mount.path.display(), mount.filesystem, mount.by.words()))
        }));
        if self.mounts.is_empty() && self.can.node {
            lines.push(("mounted", "not on this machine, as far as its table of mounts tells".to_owned()));
        }
        lines
    }

    fn node_words(&self, node: &str) -> String {
        if node == self.node { format!("{node} (this node)") } else { node.to_owned() }
    }

    fn of_bridge(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.bridge {
            Err(reason) if reason.is_empty() => {}
            Err(reason) => lines.push(format!("not known: {reason}")),
            Ok(_) => match self.holding() {
                None => lines.push("holds nothing of it".to_owned()),
                Some(holding) if holding.uses.is_empty() => lines.push("holds it, and nobody uses it".to_owned()),
                Some(holding) => {
                    for usage in holding.uses.values() {
                        let door = match usage.door {
                            Door::Docker => "a container with a Docker volume",
                            Door::Isolator => "a task of Mesos",
                            Door::Provider => "a framework that has it as a disk",
                        };
                        let agent = usage.agent.as_ref().map(|agent| format!(", agent {agent}")).unwrap_or_default();
                        lines.push(format!("holds it for {door}, as {:?}{agent}", usage.name));
                    }
                }
            },
        }
        let declared = self.declared();
        if !declared.is_empty() {
            lines.push(format!("declared here as {}", declared.join(", ")));
        }
        lines
    }

    /// For programs.
    pub(super) fn told<'a>(&'a self, next: &'a Next) -> Told<'a> {
        let bridge = match &self.bridge {
            Err(reason) if reason.is_empty() => None,
            told => {
                let holding = self.holding();
                let uses = holding.into_iter().flat_map(|holding| holding.uses.values()).map(|usage| ToldUse {
                    name: usage.name.clone(),
                    door: usage.door,
                    agent: usage.agent.as_ref().map(ToString::to_string),
                    users: usage.users.iter().cloned().collect(),
                    targets: usage.targets.iter().cloned().collect(),
                });
                Some(ToldBridge {
                    holds: holding.is_some(),
                    error: told.as_ref().err().cloned(),
                    boot: holding.map(|holding| holding.boot.clone()),
                    idle_since: holding.and_then(|holding| holding.idle_since),
                    uses: uses.collect(),
                    declared: self.declared(),
                })
            }
        };
        Told {
            volume: &self.volume,
            exists: self.exists,
            node: &self.node,
            driver: &self.driver,
            mounts: &self.mounts,
            mount: self.record.as_ref().map(|record| ToldMount {
                paths: record.paths.keys().collect(),
                staging: &record.staging,
                attachment: record.attachment,
            }),
            bridge,
            work: &self.work,
            wrong: next.is_wrong,
            next: &next.sentences,
        }
    }
}
