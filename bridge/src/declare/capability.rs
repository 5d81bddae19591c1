//! What Marathon and Mesos say alike of a volume's capability.

use hawser_volume::error::shown;
use hawser_volume::{AccessKind, AccessMode, Filesystem, MountAccess};

use super::json::Node;
use crate::finding::Findings;

/// The modes that Marathon and Mesos know: those of CSI 1.3. The two of CSI 1.5 do not exist in `mesos.proto`.
const MODES: [AccessMode; 5] = [
    AccessMode::SingleNodeWriter,
    AccessMode::SingleNodeReaderOnly,
    AccessMode::MultiNodeReaderOnly,
    AccessMode::MultiNodeSingleWriter,
    AccessMode::MultiNodeMultiWriter,
];

/// A mode by its name, which Marathon and Mesos compare with regard to case.
pub(super) fn mode(node: &Node<'_>, findings: &mut Findings) -> Option<AccessMode> {
    let text = node.text(findings)?;
    let found = MODES.into_iter().find(|mode| mode.to_string() == text);
    if found.is_none() {
        let names = MODES.map(|mode| mode.to_string());
        findings
            .mistake(&node.place(), format!("{} is no access mode of Mesos; it is one of {}", shown(&text), names.join(", ")));
    }
    found
}

/// A filesystem; an empty text is none.
pub(super) fn filesystem(node: &Node<'_>, findings: &mut Findings) -> Option<Option<Filesystem>> {
    let text = node.text(findings)?;
    if text.is_empty() {
        return Some(None);
    }
    findings.check(&node.place(), text.parse()).map(Some)
}

/// A filesystem with the flags of its mount.
pub(super) fn mount(filesystem: Option<Filesystem>, flags: Option<&Node<'_>>, findings: &mut Findings) -> Option<AccessKind> {
    let Some(node) = flags else { return Some(AccessKind::Mount(MountAccess { filesystem, ..MountAccess::default() })) };
    let texts: Option<Vec<String>> = node.array(findings)?.iter().map(|node| node.text(findings)).collect();
    let texts = texts?;
    findings.check(&node.place(), MountAccess::new(filesystem, texts.iter().map(String::as_str), None)).map(AccessKind::Mount)
}
