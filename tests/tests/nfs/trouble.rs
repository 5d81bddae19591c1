//! The ways in which a server is silent.

use crate::world::{Machine, World};

/// A way in which a server is silent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It stands still; its machine acknowledges nothing.
    Frozen,
    /// It is not started; its machine refuses connections.
    Refusing,
    /// No packet passes.
    CutOff,
    /// No packet from it passes.
    AnswersLost,
    /// No packet to it passes.
    RequestsLost,
    /// Its machine has no power, and boots again.
    PowerLost,
}

impl Trouble {
    /// Each of them.
    pub const ALL: [Self; 6] =
        [Self::Frozen, Self::Refusing, Self::CutOff, Self::AnswersLost, Self::RequestsLost, Self::PowerLost];

    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Refusing => "connection refused",
            Self::CutOff => "cut off",
            Self::AnswersLost => "answers lost",
            Self::RequestsLost => "requests lost",
            Self::PowerLost => "power lost",
        }
    }

    /// Has it begin for a node.
    pub fn begin(self, world: &World, node: &Machine) {
        let server = world.server.node();
        match self {
            Self::Frozen => server.freeze(),
            Self::Refusing => world.server.stop(),
            Self::CutOff => world.rig.cut(server, &node.node),
            Self::AnswersLost => world.rig.cut_one_way(server, &node.node),
            Self::RequestsLost => world.rig.cut_one_way(&node.node, server),
            Self::PowerLost => world.server.kill(),
        }
    }

    /// Ends it.
    pub fn end(self, world: &World, node: &Machine) {
        let server = world.server.node();
        match self {
            Self::Frozen => server.thaw(),
            Self::Refusing => world.server.serve(),
            Self::CutOff | Self::AnswersLost | Self::RequestsLost => world.rig.heal(server, &node.node),
            Self::PowerLost => world.server.boot(),
        }
    }

    /// Whether the server forgets its clients, and has them reclaim what they hold.
    pub fn restarts(self) -> bool {
        matches!(self, Self::Refusing | Self::PowerLost)
    }
}
