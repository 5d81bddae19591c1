//! What Marathon demands of an app, or of several apps, because of their external volumes; and what it allows to its users' harm.

use std::collections::{BTreeMap, BTreeSet};

use hawser_volume::AccessMode;
use hawser_volume::error::shown;

use crate::claim::VolumeClaim;
use crate::declare::json::Object;
use crate::finding::{Findings, Place};

/// The external volumes of one app.
#[derive(Debug)]
pub(super) struct AppVolumes {
    /// The app's id, absolute.
    pub id: String,
    pub volumes: Vec<Volume>,
    /// Whether it has persistent local volumes, too; then Marathon never starts an instance too many (RunSpec.isResident).
    pub resident: bool,
}

/// An external volume, as far as rules about several are concerned.
#[derive(Debug)]
pub(super) struct Volume {
    pub provider: Provider,
    pub name: String,
    pub place: Place,
    /// `shared` of a dvdi volume.
    pub shared: bool,
    /// Nothing when it could not be read.
    pub mode: Option<AccessMode>,
    pub read_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Provider {
    Dvdi,
    Csi,
}

impl Volume {
    /// CSIExternalVolumeInfo.AccessMode.shareable.
    fn is_shareable(&self) -> bool {
        self.mode.is_none_or(|mode| !mode.is_single_node())
    }

    /// One node of many may write, and this app does.
    fn is_single_writer(&self) -> bool {
        !self.read_only && self.mode == Some(AccessMode::MultiNodeSingleWriter)
    }

    /// Whether its name may be used by one app only (ProviderValidationHelpers.isForUniquenessCheck).
    fn is_unique(&self) -> bool {
        match self.provider {
            Provider::Dvdi => !self.shared,
            Provider::Csi => !self.is_shareable() || self.is_single_writer(),
        }
    }

    /// Whether it may stand beside a unique one of its name all the same (readOnlyMultiReader).
    fn is_reader(&self) -> bool {
        self.read_only && self.provider == Provider::Csi && self.mode == Some(AccessMode::MultiNodeSingleWriter)
    }

    /// Whether two tasks cannot have it at one time on two nodes.
    fn is_exclusive(&self) -> bool {
        self.mode.is_some_and(|mode| mode.is_single_node()) || self.is_single_writer()
    }
}

/// How Marathon replaces the instances of an app.
#[derive(Debug, Clone, Copy, PartialEq)]
struct UpgradeStrategy {
    minimum_health_capacity: f64,
    maximum_over_capacity: f64,
}

/// What an app with external volumes gets when it says nothing (UpgradeStrategyConverter, UpgradeStrategy.forResidentTasks).
const DEFAULT_STRATEGY: UpgradeStrategy = UpgradeStrategy { minimum_health_capacity: 0.5, maximum_over_capacity: 0.0 };

impl UpgradeStrategy {
    /// Whether a new instance may start while all old ones still run (TaskReplaceActor.computeRestartStrategy). With one instance
    /// even the default does that: half an instance is rounded up to one that must stay healthy, so Marathon starts one too many.
    fn overlaps(self, instances: u32, resident: bool) -> bool {
        let wanted = f64::from(instances);
        let healthy = (wanted * self.minimum_health_capacity).ceil();
        let most = (wanted * (1.0 + self.maximum_over_capacity)).floor();
        instances > 0 && (most > wanted || (healthy == most && !resident))
    }
}

/// Checks one app. `claims` are those that were read from it.
pub(super) fn one_app(root: &Object<'_>, app: &AppVolumes, claims: &[VolumeClaim], findings: &mut Findings) {
    if app.volumes.is_empty() {
        return;
    }
    names_within(app, findings);
    let instances = root.get("instances").map_or(Some(1), |node| node.count(findings));
    let place = root.get("instances").map_or_else(|| root.node.place().member("instances"), |node| node.place());
    if let Some(instances) = instances {
        if instances > 1 {
            several_instances(app, instances, &place, findings);
            slots_need_a_host_each(root, claims, findings);
        }
        upgrade(root, app, instances, findings);
    }
}

/// AppValidation.scala, volumesValidator: whatever the provider, shared or not.
fn names_within(app: &AppVolumes, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for volume in &app.volumes {
        if !seen.insert(&volume.name) {
            let text =
                format!("has the name {}, as another volume of this app has; Marathon takes each name once", shown(&volume.name));
            findings.mistake(&volume.place, text);
        }
    }
}

/// DVDIProvider.scala, haveOnlyOneInstance; CSIProvider.scala, app. The rule about single writers holds there only when *every* CSI
/// volume of the app is one.
fn several_instances(app: &AppVolumes, instances: u32, place: &Place, findings: &mut Findings) {
    if app.volumes.iter().any(|volume| volume.provider == Provider::Dvdi) {
        findings.mistake(place, format!("is {instances}; Marathon allows one instance with dvdi volumes"));
    }
    let csi: Vec<&Volume> = app.volumes.iter().filter(|volume| volume.provider == Provider::Csi).collect();
    if csi.is_empty() {
        return;
    }
    if !csi.iter().all(|volume| volume.is_shareable()) {
        findings.mistake(
            place,
            format!("is {instances}; Marathon allows one instance with a csi volume that only one node can have"),
        );
    } else if csi.iter().all(|volume| volume.is_single_writer()) {
        findings.mistake(
            place,
            format!("is {instances}; Marathon allows one instance with a csi volume that only one node can write"),
        );
    } else if let Some(volume) = csi.iter().find(|volume| volume.is_single_writer()) {
        findings.warn(&volume.place, format!("can be written on one node only, and {instances} instances want to write it; Marathon does not see that, Hawser will refuse"));
    }
}

/// Mesos knows the volumes of an agent by name. Two tasks on one agent whose volumes have one pattern of a name would have one
/// volume; mesos/elasticsearch ran one node a host for that reason.
fn slots_need_a_host_each(root: &Object<'_>, claims: &[VolumeClaim], findings: &mut Findings) {
    let Some(claim) = claims.iter().find(|claim| claim.named().is_some_and(|named| named.name.has_slot())) else { return };
    let constraints = root.get("constraints").and_then(|node| node.array(findings));
    let one_each = constraints.iter().flat_map(|list| list.iter()).any(|node| {
        // Constraints have other rules, which are not checked here.
        let mut unread = Findings::default();
        let words = node.array(&mut unread).map(|list| list.iter().filter_map(|node| node.text(&mut unread)).collect::<Vec<_>>());
        let words = words.unwrap_or_default();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        matches!(words.as_slice(), ["hostname" | "@hostname", "UNIQUE"] | ["hostname" | "@hostname", "MAX_PER", "1"])
    });
    if !one_each {
        findings.warn(&claim.declared.place, "has a slot in its name, and Mesos gives two tasks on one agent the same volume; add the constraint [\"hostname\", \"UNIQUE\"]");
    }
}

fn upgrade(root: &Object<'_>, app: &AppVolumes, instances: u32, findings: &mut Findings) {
    let given = root.get("upgradeStrategy");
    let place = given.map_or_else(|| root.node.place().member("upgradeStrategy"), |node| node.place());
    let strategy = match given {
        None => DEFAULT_STRATEGY,
        Some(node) => {
            let Some(object) = node.object(findings) else { return };
            let mut share = |key| object.required(key, findings).and_then(|node| node.share(findings));
            let (Some(minimum_health_capacity), Some(maximum_over_capacity)) =
                (share("minimumHealthCapacity"), share("maximumOverCapacity"))
            else {
                return;
            };
            UpgradeStrategy { minimum_health_capacity, maximum_over_capacity }
        }
    };
    // DVDIProvider.scala, by SchedulingValidation.validForResidentTasks. There is no such rule for csi.
    if strategy.maximum_over_capacity != 0.0 && app.volumes.iter().any(|volume| volume.provider == Provider::Dvdi) {
        findings.mistake(&place.member("maximumOverCapacity"), "must be 0 with dvdi volumes; Marathon refuses anything else");
    }
    let exclusive = app.volumes.iter().find(|volume| volume.is_exclusive());
    if let (Some(volume), true) = (exclusive, strategy.overlaps(instances, app.resident)) {
        let which = if given.is_some() { "by this strategy" } else { "by the default strategy (0.5 and 0)" };
        let text = format!(
            "{which} a deployment starts the new instance while the old one runs and has the volume {}, so the new one is refused; \
             set minimumHealthCapacity and maximumOverCapacity to 0",
            shown(&volume.name)
        );
        findings.warn(&place, text);
    }
}

/// ProviderValidationHelpers.validateUniqueVolumes: a name that is unique in one app must not be in another app of the file.
pub(super) fn names_across_apps(apps: &[AppVolumes], findings: &mut Findings) {
    let mut unique: BTreeMap<(Provider, &str), BTreeSet<&str>> = BTreeMap::new();
    for app in apps {
        for volume in app.volumes.iter().filter(|volume| volume.is_unique()) {
            unique.entry((volume.provider, &volume.name)).or_default().insert(&app.id);
        }
    }
    for app in apps {
        for volume in app.volumes.iter().filter(|volume| !volume.is_reader()) {
            let others = unique.get(&(volume.provider, volume.name.as_str()));
            if let Some(other) = others.and_then(|ids| ids.iter().find(|id| **id != app.id)) {
                let text = format!(
                    "has the name {}, which app {} uses, too; Marathon takes it in one app only",
                    shown(&volume.name),
                    shown(other)
                );
                findings.mistake(&volume.place, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by hand from TaskReplaceActor.computeRestartStrategy, with every old instance healthy.
    #[test]
    fn only_a_strategy_that_may_stop_the_old_instance_first_does_not_overlap() {
        for (minimum, over, instances, resident, overlaps) in [
            (0.5, 0.0, 1, false, true),
            (0.0, 0.0, 1, false, false),
            (1.0, 1.0, 1, false, true),
            (1.0, 0.0, 1, false, true),
            (1.0, 0.0, 1, true, false),
            (0.0, 0.5, 1, false, false),
            (0.0, 1.0, 1, false, true),
            (0.5, 0.0, 2, false, false),
            (0.0, 0.5, 2, false, true),
            (1.0, 1.0, 0, false, false),
        ] {
            let strategy = UpgradeStrategy { minimum_health_capacity: minimum, maximum_over_capacity: over };
            assert_eq!(strategy.overlaps(instances, resident), overlaps, "{strategy:?} {instances} {resident}");
        }
    }
}
