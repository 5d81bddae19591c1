//! A CSI volume id and its volume context: what Marathon's `csi`, Mesos' `CSI_VOLUME` and in the end NodeStageVolume bring.
//!
//! Mesos knows static provisioning only: the volume must exist, and `volume_id` is its id. Hawser adds one thing: a context with
//! the key `create` says that `volume_id` is a *name*, to be found or made as with a Docker volume driver. The other keys of such
//! a context are the options of [`super::options`]; those of any other context belong to the CSI driver, but for `takeover`.

use std::collections::BTreeMap;

use hawser_volume::error::shown;
use hawser_volume::{Access, AccessKind, BackendName, Filesystem, VolumeId, parameters};

use super::Reading;
use super::draft::Draft;
use super::nearest::nearest;
use super::options::{Carrier, Entry, VolumeOptions, check_map};
use crate::claim::{ClaimedVolume, ExistingVolume, VolumeClaim};
use crate::declaration::Form;
use crate::finding::{Findings, Place};

/// The key that makes an id a name.
const CREATE: &str = "create";

/// The kernel's limit for one part of a path, in bytes (NAME_MAX): Mesos makes a directory of the encoded id.
const NAME_MAX: usize = 255;

/// The claim of a node request. `volume_id`, `volume_context` and `access` are those of NodeStageVolume or NodePublishVolume.
pub fn claim(volume_id: &str, volume_context: &BTreeMap<String, String>, access: Access, read_only: bool) -> Reading {
    let entries = volume_context.iter().map(|(key, value)| Entry {
        key: key.clone(),
        value: value.clone(),
        place: Place::named("volume_context").member(key),
    });
    let mut draft = Draft::new(Form::NodeRequest, Place::named("volume_id"));
    draft.read_only = Some(read_only);
    let place = draft.place.clone();
    Reading::of(|findings| read(draft, (volume_id, &place), entries.collect(), access, findings))
}

/// Reads id and context of any form.
pub(crate) fn read(
    draft: Draft,
    (id, place): (&str, &Place),
    context: Vec<Entry>,
    access: Access,
    findings: &mut Findings,
) -> Option<VolumeClaim> {
    if draft.form != Form::NodeRequest {
        check_directory(id, place, findings);
    }
    let whole: BTreeMap<String, String> = context.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
    if !check_map("the volume context", &context, &whole, findings) {
        return None;
    }
    if context.iter().any(|entry| entry.key.eq_ignore_ascii_case(CREATE)) {
        let kept = parameters::without_co_keys(&whole);
        let entries: Vec<Entry> = context.into_iter().filter(|entry| kept.contains_key(&entry.key)).collect();
        by_name(draft, (id, place), &entries, access, findings)
    } else {
        by_id(draft, (id, place), context, access, findings)
    }
}

fn by_name(
    draft: Draft,
    name: (&str, &Place),
    entries: &[Entry],
    mut access: Access,
    findings: &mut Findings,
) -> Option<VolumeClaim> {
    let options = VolumeOptions::read(entries, Carrier::VolumeContext, findings);
    if let Some(wanted) = options.filesystem {
        match &mut access.kind {
            AccessKind::Mount(mount) if mount.filesystem.is_none_or(|said| said == wanted) => mount.filesystem = Some(wanted),
            kind => {
                let said = if let AccessKind::Mount(mount) = kind { mount.filesystem.map(Filesystem::as_str) } else { None };
                let entry = entries.iter().find(|entry| entry.value.trim().eq_ignore_ascii_case(wanted.as_str()));
                let place = entry.map_or(name.1, |entry| &entry.place);
                findings.mistake(place, format!("says {wanted}, and the volume's capability says {}", said.unwrap_or("block")));
            }
        }
    }
    draft.named_with(access, name, options, findings)
}

fn by_id(
    mut draft: Draft,
    (id, place): (&str, &Place),
    context: Vec<Entry>,
    access: Access,
    findings: &mut Findings,
) -> Option<VolumeClaim> {
    let ours: Option<VolumeId> = id.parse().ok();
    let foreign = findings.check(place, id.parse());
    let mut backend = ours.as_ref().map(|id| id.backend().clone());
    let mut takeover = None;
    let mut kept = BTreeMap::new();
    for entry in context {
        match entry.key.to_ascii_lowercase().as_str() {
            "takeover" => takeover = findings.check(&entry.place, entry.value.parse()),
            "backend" if ours.is_some() => check_backend(&entry, &mut backend, findings),
            key => {
                if key == "size" {
                    findings.warn(
                        &entry.place,
                        "has no effect: volume_id names a volume that exists; add create=if-absent to have one of that name made",
                    );
                } else if nearest(key, [CREATE]).is_some() {
                    findings.warn(&entry.place, "has no effect; did you mean create?");
                }
                kept.insert(entry.key, entry.value);
            }
        }
    }
    if ours.is_none() && foreign.is_some() {
        findings.warn(
            place,
            format!(
                "{} is not an id of Hawser, <backend>:<native id>; if it is a name, add create=if-absent to the context",
                shown(id)
            ),
        );
    }
    draft.check_read_only(&access, findings);
    Some(draft.claim(ClaimedVolume::Existing(ExistingVolume { id: foreign?, context: kept }), access, backend, takeover))
}

fn check_backend(entry: &Entry, backend: &mut Option<BackendName>, findings: &mut Findings) {
    let said = findings.check(&entry.place, entry.value.parse::<BackendName>());
    if let (Some(said), Some(owner)) = (said, backend)
        && said != *owner
    {
        findings.mistake(&entry.place, format!("is {said}, and the volume's id says {owner}"));
    }
}

/// Mesos makes a directory of the id: `<work_dir>/csi/<type>/<name>/mounts/<encoded id>` (src/csi/paths.cpp), with libprocess'
/// percent-encoding (3rdparty/libprocess/src/http.cpp, encode), which leaves `.` alone.
fn check_directory(id: &str, place: &Place, findings: &mut Findings) {
    const ENCODED: &[u8] = b"$&+,/:;=?@ \"<>#%{}|\\^~[]`";
    if id == "." || id == ".." {
        findings.mistake(place, format!("{} would be a directory of Mesos' own; choose another id", shown(id)));
        return;
    }
    let encoded: usize = id.bytes().map(|b| if ENCODED.contains(&b) || b <= 0x1f || b >= 0x7f { 3 } else { 1 }).sum();
    if encoded > NAME_MAX {
        findings.mistake(
            place,
            format!("becomes a directory name of {encoded} bytes at the agent, and at most {NAME_MAX} are possible; choose a shorter id, or one with fewer special characters"),
        );
    }
}

#[cfg(test)]
mod tests {
    use hawser_volume::{AccessMode, Bytes, MountAccess};
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Create, Takeover};

    fn access(filesystem: Option<Filesystem>) -> Access {
        Access {
            kind: AccessKind::Mount(MountAccess { filesystem, ..MountAccess::default() }),
            mode: AccessMode::SingleNodeWriter,
        }
    }

    fn read(id: &str, context: &[(&str, &str)]) -> Reading {
        let context = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        claim(id, &context, access(None), false)
    }

    #[test]
    fn an_id_stays_an_id_and_its_context_as_it_is() {
        let reading = read("ebs:vol-0abc", &[("backend", "ebs"), ("lease.epoch", "7"), ("Takeover", "agent-gone")]);
        assert_eq!(reading.findings, Findings::default());
        let claim = &reading.claims[0];
        let ClaimedVolume::Existing(existing) = &claim.volume else { panic!("{claim:?}") };
        assert_eq!(existing.id.as_str(), "ebs:vol-0abc");
        assert_eq!(existing.context, BTreeMap::from([("lease.epoch".to_owned(), "7".to_owned())]));
        assert_eq!((claim.backend.as_ref().unwrap().as_str(), claim.takeover), ("ebs", Some(Takeover::AgentGone)));
        assert!(!claim.can_be_made());
        // Another driver's context is passed on whole.
        let reading = read("vol-0abc", &[("backend", "x/y"), ("size", "4")]);
        assert_eq!((reading.findings.mistakes.len(), reading.findings.warnings.len()), (0, 2));
        let ClaimedVolume::Existing(existing) = &reading.claims[0].volume else { panic!() };
        assert_eq!(existing.context.len(), 2);
    }

    #[test]
    fn create_makes_a_name_of_the_id() {
        let reading = read(
            "pgdata",
            &[("create", "if-absent"), ("size", "10"), ("type", "gp3"), ("fsType", "xfs"), ("csi.storage.k8s.io/pod.name", "p")],
        );
        assert_eq!(reading.findings, Findings::default());
        let claim = &reading.claims[0];
        let named = claim.named().unwrap();
        assert_eq!((named.name.as_str(), named.create, named.size), ("pgdata", Create::IfAbsent, Some(Bytes::gib(10))));
        assert_eq!(claim.access.mount().unwrap().filesystem, Some(Filesystem::Xfs));
        let found = read("pgdata", &[("CREATE", "never")]);
        assert_eq!(found.findings, Findings::default());
        assert_eq!(found.claims[0].named().unwrap().create, Create::Never);
    }

    #[test]
    fn contradictions_are_told() {
        for (id, context, said) in [
            ("ebs:v", vec![("backend", "nfs")], "the volume's id says ebs"),
            ("ebs:v", vec![("takeover", "always")], "agent-gone"),
            ("", vec![], "is no id"),
            ("a\0b", vec![], "is no id"),
            ("pg", vec![("create", "if-absent")], "add size"),
            ("pg", vec![("create", "if-absent"), ("size", "1"), ("mountFlags", "ro")], "volume's capability"),
            ("pg", vec![("create", "if-absent"), ("sise", "1")], "did you mean size"),
            ("{node}", vec![("create", "never")], "{framework} and {slot}"),
        ] {
            let reading = read(id, &context);
            assert!(reading.claims.is_empty(), "{id} {context:?}");
            assert!(reading.findings.mistakes.iter().any(|mistake| mistake.text.contains(said)), "{id}: {:?}", reading.findings);
        }
        let context = [("create".to_owned(), "never".to_owned()), ("fsType".to_owned(), "xfs".to_owned())].into();
        let reading = claim("pg", &context, access(Some(Filesystem::Ext4)), false);
        assert_eq!(
            reading.findings.mistakes[0].to_string(),
            "volume_context.fsType: says xfs, and the volume's capability says ext4"
        );
        let block = Access { kind: AccessKind::Block, mode: AccessMode::SingleNodeWriter };
        assert!(claim("pg", &context, block, false).findings.mistakes[0].text.contains("says block"));
    }

    #[test]
    fn an_id_that_mesos_cannot_make_a_directory_of_is_refused() {
        let check = |id: &str| {
            let mut findings = Findings::default();
            check_directory(id, &Place::named("id"), &mut findings);
            findings.mistakes.len()
        };
        assert_eq!([".", "..", &"ä".repeat(43), &":".repeat(86)].map(check), [1; 4]);
        assert_eq!(["...", "ebs:vol-1", &"x".repeat(128), &":".repeat(85)].map(check), [0; 4]);
    }

    proptest! {
        #[test]
        fn any_context_is_read_or_told(
            id in any::<String>(),
            context in prop::collection::btree_map(prop_oneof![Just("create".to_owned()), Just("size".to_owned()), Just("takeover".to_owned()), any::<String>()], prop_oneof![Just("if-absent".to_owned()), any::<String>()], 0..5)
        ) {
            let reading = claim(&id, &context, access(None), true);
            prop_assert_eq!(reading.claims.is_empty(), !reading.findings.mistakes.is_empty());
            for claim in reading.claims {
                match claim.volume {
                    ClaimedVolume::Named(named) => prop_assert_eq!(named.name.as_str(), &id),
                    ClaimedVolume::Existing(existing) => {
                        prop_assert_eq!(existing.id.as_str(), &id);
                        prop_assert!(existing.context.iter().all(|(key, value)| context.get(key) == Some(value)));
                    }
                }
            }
        }
    }
}
