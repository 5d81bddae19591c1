//! Mount options as people write them (fstab, `mountOptions`, `mount_flags`), sorted by who acts on them.
//!
//! Some belong to the one mount, some to the filesystem, some to programs that are not involved here; and some would make the
//! mount something else than what was asked for and are refused. A value may be a secret, so messages name keys alone.

use std::fmt;

use hawser_volume::{Error, Result};
use rustix::mount::MountAttrFlags;

/// Options for one mount.
#[derive(Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Whether nothing may be written through this mount; for [`Host::mount`](crate::Host::mount), to the filesystem at all.
    pub read_only: bool,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    superblock: Vec<(String, Option<String>)>,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { read_only: false, set: MountAttrFlags::empty(), clear: MountAttrFlags::empty(), superblock: Vec::new() }
    }
}

impl MountOptions {
    /// Sorts `flags`, each `key` or `key=value`. `Invalid` names the key that is not understood or not allowed.
    pub fn parse(flags: &[String]) -> Result<Self> {
        let mut options = Self::default();
        for flag in flags {
            options.add(flag.trim())?;
        }
        Ok(options)
    }

    /// The same options with `read_only` as given.
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The attributes that this mount is to have.
    pub(crate) fn attributes(&self) -> MountAttrFlags {
        let read_only = if self.read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
        self.set | read_only
    }

    /// The attributes that a copy of another mount is to lose before it gets [`Self::attributes`].
    pub(crate) fn cleared(&self) -> MountAttrFlags {
        self.clear
    }

    /// What the filesystem itself is told.
    pub fn superblock(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.superblock.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// Whether the filesystem is told `key` already.
    pub fn has(&self, key: &str) -> bool {
        self.superblock.iter().any(|(known, _)| known == key)
    }

    fn add(&mut self, flag: &str) -> Result<()> {
        let (key, value) = flag.split_once('=').map_or((flag, None), |(key, value)| (key, Some(value)));
        if key.is_empty() || key.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b',') {
            return Err(Error::invalid("a mount option has no valid name; write key or key=value"));
        }
        if value.is_some_and(|value| value.contains('\0')) {
            return Err(Error::invalid(format!("the value of mount option {key} contains a NUL byte")));
        }
        match (attribute(key), value) {
            (Some(change), None) => self.change(change),
            (Some(_), Some(_)) => return Err(Error::invalid(format!("mount option {key} takes no value"))),
            (None, _) if is_for_programs(key) => {}
            (None, _) => {
                if let Some(why) = refusal(key) {
                    return Err(Error::invalid(format!("mount option {key} is not allowed: {why}")));
                }
                // As with mount(8), the later of two wins; the kernel refuses some options that come twice.
                self.superblock.retain(|(known, _)| known != key);
                self.superblock.push((key.to_owned(), value.map(str::to_owned)));
            }
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::ReadOnly => self.read_only = true,
            Change::Set(attribute) => {
                self.set |= attribute;
                self.clear.remove(attribute);
            }
            Change::Clear(attribute) => {
                self.set.remove(attribute);
                self.clear |= attribute;
            }
            Change::AccessTime(attribute) => {
                // The three ways to keep access times are one field, not flags.
                self.set.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
                self.set |= attribute;
                self.clear |= MountAttrFlags::MOUNT_ATTR__ATIME;
            }
        }
    }
}

impl fmt::Debug for MountOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.superblock.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("MountOptions")
            .field("read_only", &self.read_only)
            .field("set", &self.set)
            .field("clear", &self.clear)
            .field("superblock", &keys)
            .finish()
    }
}

/// What a generic option does to the attributes of the mount.
enum Change {
    ReadOnly,
    Set(MountAttrFlags),
    Clear(MountAttrFlags),
    AccessTime(MountAttrFlags),
}

fn attribute(key: &str) -> Option<Change> {
    use Change::{AccessTime, Clear, ReadOnly, Set};
    use MountAttrFlags as Attr;
    Some(match key {
        "ro" => ReadOnly,
        "nosuid" => Set(Attr::MOUNT_ATTR_NOSUID),
        "suid" => Clear(Attr::MOUNT_ATTR_NOSUID),
        "nodev" => Set(Attr::MOUNT_ATTR_NODEV),
        "dev" => Clear(Attr::MOUNT_ATTR_NODEV),
        "noexec" => Set(Attr::MOUNT_ATTR_NOEXEC),
        "exec" => Clear(Attr::MOUNT_ATTR_NOEXEC),
        "nodiratime" => Set(Attr::MOUNT_ATTR_NODIRATIME),
        "diratime" => Clear(Attr::MOUNT_ATTR_NODIRATIME),
        "nosymfollow" => Set(Attr::MOUNT_ATTR_NOSYMFOLLOW),
        "symfollow" => Clear(Attr::MOUNT_ATTR_NOSYMFOLLOW),
        "noatime" => AccessTime(Attr::MOUNT_ATTR_NOATIME),
        "strictatime" => AccessTime(Attr::MOUNT_ATTR_STRICTATIME),
        "relatime" | "atime" | "nostrictatime" => AccessTime(Attr::MOUNT_ATTR_RELATIME),
        _ => return None,
    })
}

/// Options that mount(8), systemd or fstab act on; they mean nothing to the kernel. `rw` is the default of everything, and a
/// volume that is to be read-only says so by other means.
fn is_for_programs(key: &str) -> bool {
    matches!(key, "defaults" | "rw" | "_netdev" | "nofail" | "auto" | "noauto" | "nouser" | "comment")
        || key.starts_with("x-")
        || key.starts_with("X-")
}

fn refusal(key: &str) -> Option<&'static str> {
    Some(match key {
        "bind" | "rbind" | "move" | "remount" | "loop" | "offset" | "sizelimit" => "it makes another kind of mount",
        "shared" | "rshared" | "private" | "rprivate" | "slave" | "rslave" | "unbindable" | "runbindable" => {
            "propagation is set by whoever calls"
        }
        "source" | "device" | "journal_dev" | "journal_path" | "logdev" | "rtdev" => "it names another device",
        "sb" => "it mounts by another superblock than the one that was checked",
        "user" | "users" | "owner" | "group" => "it is for users who mount",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use hawser_volume::Kind;
    use proptest::prelude::*;

    use super::*;

    fn parse(flags: &[&str]) -> Result<MountOptions> {
        MountOptions::parse(&flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_go_to_who_acts_on_them() {
        let options =
            parse(&["defaults", "rw", "_netdev", "x-systemd.x=1", "noatime", "noexec", "errors=remount-ro", "discard"]).unwrap();
        assert!(!options.read_only);
        assert_eq!(options.attributes(), MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_NOEXEC);
        let told: Vec<_> = options.superblock().collect();
        assert_eq!(told, [("errors", Some("remount-ro")), ("discard", None)]);
        let options = parse(&["ro", "noatime", "strictatime", "noexec", "exec"]).unwrap();
        assert!(options.read_only);
        assert_eq!(options.attributes(), MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_STRICTATIME);
        assert!(!options.with_read_only(false).attributes().contains(MountAttrFlags::MOUNT_ATTR_RDONLY));
    }

    #[test]
    fn what_would_make_another_mount_is_refused() {
        for flag in [
            "bind",
            "rbind",
            "move",
            "remount",
            "loop",
            "loop=/dev/loop1",
            "rshared",
            "private",
            "source=/dev/sda",
            "",
            "=x",
            "a b=c",
            "noexec=1",
            "device=/dev/sdb",
            "a\nb",
            "comma,ro",
        ] {
            assert_eq!(parse(&[flag]).unwrap_err().kind(), Kind::Invalid, "{flag:?}");
        }
    }

    #[test]
    fn the_later_of_two_wins() {
        let options = parse(&["commit=5", "commit=60"]).unwrap();
        assert_eq!(options.superblock().collect::<Vec<_>>(), [("commit", Some("60"))]);
    }

    proptest! {
        #[test]
        fn a_value_is_never_shown(key in "[a-z]{1,8}", value in "[A-Z0-9]{12,20}") {
            for flags in [vec![format!("{key}={value}")], vec![format!("{key}={value}"), format!("no {key}={value}")]] {
                let shown = MountOptions::parse(&flags).map_or_else(|error| format!("{error:?}"), |options| format!("{options:?}"));
                prop_assert!(!shown.contains(&value), "{}", shown);
            }
        }

        #[test]
        fn any_flag_is_sorted_or_refused(flag in any::<String>()) {
            let _ = parse(&[&flag]);
        }
    }
}
