//! Named moments of mutating calls, at which a test may end the process.
//!
//! A call that changes something does so in steps, and between any two of them the process may be killed. Each such moment has a
//! name here and a [`reached`] where it happens. In an ordinary build that is nothing at all. In a build with the feature
//! `faults`, the environment variable `HAWSER_KILL_AT=NAME` (or `NAME:COUNT` for the COUNTth time) makes the process kill
//! itself there, and the crash suite goes through [`Step::ALL`]: a new step is tested because it is in the list, and the suite
//! fails for a step that no call reaches.

/// Declares the steps with their names.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal,)*) => {
        /// A moment between two effects of a call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// Every step.
            pub const ALL: &[Step] = &[$(Step::$step),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Step::$step => $name),*
                }
            }
        }
    };
}

steps! {
    /// An object's draft has its directory.
    DraftMade = "draft-made",
    /// A new volume's content is complete and flushed.
    VolumeFilled = "volume-filled",
    /// A new volume's record is written, in the draft.
    VolumeRecorded = "volume-recorded",
    /// A new object has its name.
    ObjectPlaced = "object-placed",
    /// An object that is being removed is in the trash.
    ObjectTrashed = "object-trashed",
    /// An attachment is recorded.
    AttachmentRecorded = "attachment-recorded",
    /// An attachment's end is recorded.
    DetachmentRecorded = "detachment-recorded",
    /// The node has taken what was granted to it.
    VolumeTaken = "volume-taken",
    /// The device is gone, the node still has the volume by record.
    DeviceFreed = "device-freed",
    /// The node has given the volume back.
    VolumeGivenBack = "volume-given-back",
    /// The image is larger, the record is not yet.
    ImageGrown = "image-grown",
    /// A changed property is in force, the record does not say so yet.
    PropertyChanged = "property-changed",
    /// A snapshot's content is taken, or is to be copied later.
    SnapshotCut = "snapshot-cut",
    /// The volumes of a group stand still.
    GroupStill = "group-still",
    /// All members of a group have their names, the group has none.
    MembersPlaced = "members-placed",
    /// The members of a group are removed, the group is not.
    MembersRemoved = "members-removed",
    /// The device is attached, nothing is mounted.
    DeviceAttached = "device-attached",
    /// A new filesystem is complete in its scratch image; the device is as it was.
    FilesystemMade = "filesystem-made",
    /// The device is marked as unfinished.
    DeviceMarked = "device-marked",
    /// The first piece of the filesystem is on the device.
    DevicePartlyFilled = "device-partly-filled",
    /// All of the filesystem but its first sector is on the device.
    DeviceFilled = "device-filled",
    /// The filesystem is on the device.
    FilesystemFinished = "filesystem-finished",
    /// The staging path has its mount.
    StagingMounted = "staging-mounted",
    /// The target path exists, nothing is mounted there.
    TargetMade = "target-made",
    /// The target path has its mount.
    TargetMounted = "target-mounted",
    /// The target path has no mount any more, but still exists.
    TargetUnmounted = "target-unmounted",
    /// The staging path has no mount any more, the device is still attached.
    StagingUnmounted = "staging-unmounted",
    /// The device has its new size, its filesystem has not.
    DeviceGrown = "device-grown",
    /// A directory of an export is claimed for a volume, its content is not there yet.
    PathClaimed = "path-claimed",
    /// The content of a volume of an export has its place, or has left it.
    ContentMoved = "content-moved",
    /// A volume of an export is recorded as leaving, and is in its place.
    LeavingRecorded = "leaving-recorded",
    /// The directory of a volume that leaves is nobody's any more.
    ClaimReleased = "claim-released",
}

/// Says that a call has come to `step`.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn reached(_step: Step) {}

/// Says that a call has come to `step`, and kills the process if it is asked to do so here.
#[cfg(feature = "faults")]
pub fn reached(step: Step) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static REACHED: AtomicU32 = AtomicU32::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("HAWSER_KILL_AT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().unwrap_or(1)))
    });
    if let Some((name, count)) = wanted
        && name == step.name()
        && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        // As sudden as the kernel can make it: no destructor, no flush, no handler.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
