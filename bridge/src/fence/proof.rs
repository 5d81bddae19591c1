//! What a detach may be done on. It expires within seconds.

use std::time::Duration;

use hawser_volume::{Error, NodeId, Result};

use super::decide::FRESH;
use super::evidence::{Evidence, Grade, spoken};
use super::holder::Holder;
use super::moment::Moment;
use crate::policy::Takeover;

/// Proof that a holder is dead, as far as its policy asks. Only [`super::decide()`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    policy: Takeover,
    grade: Grade,
    evidence: Evidence,
    /// When the question went out whose answer is the proof.
    asked: Moment,
}

impl Proof {
    pub(super) fn new(policy: Takeover, grade: Grade, evidence: Evidence, asked: Moment) -> Self {
        Self { policy, grade, evidence, asked }
    }

    /// Who is dead.
    pub fn holder(&self) -> &Holder {
        &self.evidence.holder
    }

    /// The policy that was satisfied.
    pub fn policy(&self) -> Takeover {
        self.policy
    }

    /// How certain it is.
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Everything that was said.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The time that is left at `now`; nothing when it has expired.
    pub fn left(&self, now: Moment) -> Option<Duration> {
        FRESH.checked_sub(self.asked.age(now))
    }
}

/// The permission to detach one volume from one node, once.
#[derive(Debug)]
pub struct Warrant {
    volume: String,
    proof: Proof,
}

impl Warrant {
    pub(super) fn new(volume: String, proof: Proof) -> Self {
        Self { volume, proof }
    }

    /// The volume to detach.
    pub fn volume(&self) -> &str {
        &self.volume
    }

    /// The node to detach it from, and no other. To be asked for immediately before the call goes out: `Precondition` when the proof
    /// has expired meanwhile.
    pub fn node(&self) -> Result<&NodeId> {
        self.node_at(Moment::now())
    }

    fn node_at(&self, now: Moment) -> Result<&NodeId> {
        if self.proof.left(now).is_none() {
            return Err(Error::precondition(format!(
                "what is known about {} is older than {} and must be asked again; nothing was detached",
                self.proof.holder(),
                spoken(FRESH)
            )));
        }
        Ok(&self.proof.holder().node)
    }

    /// What it rests on.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warrant_names_its_node_until_it_expires() {
        let holder = Holder::on("n1".parse().unwrap());
        let evidence = Evidence { holder, statements: Vec::new() };
        let asked = Moment::now();
        let warrant = Warrant::new("v".into(), Proof::new(Takeover::AgentGone, Grade::AgentGone, evidence, asked));
        assert_eq!(warrant.node_at(asked.later(FRESH)).unwrap().as_str(), "n1");
        let late = asked.later(FRESH + Duration::from_millis(1));
        assert_eq!(warrant.node_at(late).unwrap_err().kind(), hawser_volume::Kind::Precondition);
        assert_eq!(warrant.proof().left(late), None);
    }
}
