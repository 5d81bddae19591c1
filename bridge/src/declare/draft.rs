//! From what was read to a claim: the checks that every form has in common.

use hawser_volume::error::shown;
use hawser_volume::{Access, AccessKind, AccessMode, MountAccess};

use super::options::VolumeOptions;
use crate::claim::{ClaimedVolume, NamedVolume, VolumeClaim};
use crate::declaration::{Declaration, Form};
use crate::finding::{Findings, Place};
use crate::policy::{Create, Retain};

/// The kernel's limit for a path, in bytes.
const PATH_MAX: usize = 4095;

/// What is known of a claim before its volume is.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub form: Form,
    pub place: Place,
    pub driver: Option<String>,
    pub container_path: Option<String>,
    /// Whether the task only reads; nothing where the door is not told.
    pub read_only: Option<bool>,
}

impl Draft {
    pub fn new(form: Form, place: Place) -> Self {
        Self { form, place, driver: None, container_path: None, read_only: None }
    }

    /// A claim for the volume `name`, used as the options say, or else by `mode`.
    pub fn named(
        self,
        (name, place): (&str, &Place),
        mut options: VolumeOptions,
        mode: AccessMode,
        findings: &mut Findings,
    ) -> Option<VolumeClaim> {
        let mount = std::mem::take(&mut options.mount);
        let kind = AccessKind::Mount(MountAccess { filesystem: options.filesystem, ..mount });
        let access = Access { kind, mode: options.access_mode.unwrap_or(mode) };
        self.named_with(access, (name, place), options, findings)
    }

    /// A claim for the volume `name`, used by `access`.
    pub fn named_with(
        mut self,
        access: Access,
        (name, place): (&str, &Place),
        options: VolumeOptions,
        findings: &mut Findings,
    ) -> Option<VolumeClaim> {
        let name = findings.check(place, name.parse())?;
        self.check_read_only(&access, findings);
        let named = NamedVolume {
            name,
            create: options.create.unwrap_or_default(),
            size: options.size,
            source: options.source,
            parameters: options.parameters,
            retain: options.retain.unwrap_or_default(),
        };
        let said_to_make = options.create == Some(Create::IfAbsent);
        let claim = self.claim(ClaimedVolume::Named(named), access, options.backend, options.takeover);
        self.check_making(&claim, said_to_make, findings);
        Some(claim)
    }

    pub fn claim(
        &self,
        volume: ClaimedVolume,
        access: Access,
        backend: Option<hawser_volume::BackendName>,
        takeover: Option<crate::policy::Takeover>,
    ) -> VolumeClaim {
        VolumeClaim {
            volume,
            backend,
            access,
            read_only: self.read_only.unwrap_or_default(),
            takeover,
            declared: Declaration {
                form: self.form,
                place: self.place.clone(),
                driver: self.driver.clone(),
                container_path: self.container_path.clone(),
            },
        }
    }

    /// A mode in which nobody writes, and a task that writes. The isolator refuses it (volume/csi/isolator.cpp, prepare), and so
    /// does Marathon (CSIProvider.scala).
    pub fn check_read_only(&mut self, access: &Access, findings: &mut Findings) {
        if !access.mode.is_read_only() {
            return;
        }
        if self.read_only == Some(false) {
            findings.mistake(
                &self.place,
                format!("is RW, and by access mode {} nobody writes; make it RO or change the mode", access.mode),
            );
        }
        self.read_only = Some(true);
    }

    fn check_making(&self, claim: &VolumeClaim, said_to_make: bool, findings: &mut Findings) {
        // A size that could not be read is not a size that is missing.
        let Some(named) = claim.named().filter(|_| findings.is_good()) else { return };
        let place = &self.place;
        if named.size.is_none() && said_to_make {
            findings.mistake(place, "shall be made if it is absent, and has no size; add size");
        } else if named.size.is_none() && named.create == Create::IfAbsent {
            findings.warn(
                place,
                "has no size, so it must exist: Hawser makes no volume of a size that nobody named (REX-Ray made 16 GiB)",
            );
        }
        if named.retain == Retain::DeleteWithTask {
            if claim.is_scratch() {
                findings.warn(place, "is deleted with its data whenever the task ends, also when it is only restarted");
            } else {
                findings.mistake(
                    place,
                    "shall be deleted with its task, and only a volume that Hawser makes is; add size, or remove retain",
                );
            }
        }
        if claim.read_only && claim.can_be_made() && named.source.is_none() {
            findings.warn(place, "is made if it is absent, and only read: a new volume stays empty");
        }
    }
}

/// A path in a container, or a mistake.
pub(crate) fn container_path(text: String, place: &Place, findings: &mut Findings) -> Option<String> {
    if text.is_empty() || text.len() > PATH_MAX || text.chars().any(char::is_control) {
        findings
            .mistake(place, format!("{} is no path: a path has 1 to {PATH_MAX} bytes and no control characters", shown(&text)));
        return None;
    }
    Some(text)
}

/// The name of a driver or plugin, or a mistake.
pub(crate) fn driver_name(text: String, place: &Place, findings: &mut Findings) -> Option<String> {
    if text.is_empty() || text.len() > 255 || text.chars().any(|c| c.is_control() || c == '/') {
        findings.mistake(
            place,
            format!("{} is no name of a driver: it has 1 to 255 bytes, no slash, no control characters", shown(&text)),
        );
        return None;
    }
    Some(text)
}
