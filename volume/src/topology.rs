//! Where a volume can be reached from (CSI spec, "Topology").

use std::collections::BTreeMap;

use hawser_proto::csi;

/// One place: `{"csi.hawser.dev/local": "5f2c…"}`. A node is in the place when it has every one of the segments.
pub type Segments = BTreeMap<String, String>;

/// What a CO requires and prefers when it creates a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopologyRequirement {
    /// The volume must be reachable from at least one of these; empty means anywhere.
    pub requisite: Vec<Segments>,
    /// The same places, most wanted first.
    pub preferred: Vec<Segments>,
}

impl TopologyRequirement {
    /// Whether a volume that is reachable from `place` alone satisfies the requirement.
    ///
    /// Keys are compared without regard to case, as the spec demands. A requisite place may name segments of other backends
    /// (a node lists one segment for each); what counts is that it has every segment of `place`.
    pub fn allows(&self, place: &Segments) -> bool {
        let wanted = if self.requisite.is_empty() { &self.preferred } else { &self.requisite };
        wanted.is_empty() || wanted.iter().any(|candidate| covers(candidate, place))
    }
}

/// Whether a node with `node`'s segments is within `place`.
pub fn covers(node: &Segments, place: &Segments) -> bool {
    place.iter().all(|(key, value)| node.iter().any(|(k, v)| k.eq_ignore_ascii_case(key) && v == value))
}

impl From<Option<csi::TopologyRequirement>> for TopologyRequirement {
    fn from(requirement: Option<csi::TopologyRequirement>) -> Self {
        let places = |list: Vec<csi::Topology>| list.into_iter().map(|t| t.segments).collect();
        requirement.map_or_else(Self::default, |r| Self { requisite: places(r.requisite), preferred: places(r.preferred) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(pairs: &[(&str, &str)]) -> Segments {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_place_with_more_segments_than_asked_is_enough() {
        let here = segments(&[("csi.hawser.dev/local", "a")]);
        let requirement = |pairs| TopologyRequirement { requisite: vec![segments(pairs)], preferred: vec![] };
        assert!(requirement(&[("CSI.hawser.dev/local", "a"), ("csi.hawser.dev/ebs", "eu-west-1a")]).allows(&here));
        assert!(!requirement(&[("csi.hawser.dev/local", "b")]).allows(&here));
        assert!(!requirement(&[("csi.hawser.dev/ebs", "eu-west-1a")]).allows(&here));
        assert!(TopologyRequirement::default().allows(&here));
    }
}
