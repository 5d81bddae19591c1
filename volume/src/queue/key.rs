//! What calls change.

use std::fmt;

/// An object that calls change: a volume by id, a name that is about to become a volume, a snapshot.
///
/// Two keys are the same object when all three parts are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    space: &'static str,
    scope: String,
    name: String,
}

impl Key {
    /// The object `name` of the kind `space` (`volume`, `snapshot`).
    pub fn new(space: &'static str, name: impl Into<String>) -> Self {
        Self::within(space, "", name)
    }

    /// The object `name` of the kind `space`, as one that the `scope` has to itself: a name of a backend, a volume on a node.
    pub fn within(space: &'static str, scope: impl Into<String>, name: impl Into<String>) -> Self {
        Self { space, scope: scope.into(), name: name.into() }
    }

    /// Its kind.
    pub fn space(&self) -> &'static str {
        self.space
    }

    /// Where its name holds; empty means everywhere.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both may be one object: a scope that is not known may be any.
    pub(super) fn may_be(&self, other: &Key) -> bool {
        let scopes = self.scope == other.scope || self.scope.is_empty() || other.scope.is_empty();
        scopes && self.space == other.space && self.name == other.name
    }
}

/// As in `volume/local:v1`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope.as_str() {
            "" => write!(f, "{}/{}", self.space, self.name),
            scope => write!(f, "{}/{scope}/{}", self.space, self.name),
        }
    }
}
