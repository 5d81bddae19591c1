//! Mount options of NFS: which there are, what they take, and which are refused and why.
//!
//! The kernel checks options only when it mounts, on some node, long after somebody wrote them. So they are checked where they are
//! written: in the configuration, in the parameters of a volume, in the capability of a call.

use hawser_host::MountOptions;
use hawser_volume::{Error, Result};

/// What an option takes.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// No value.
    Nothing,
    /// A whole number from .. to.
    Number(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, separated by colons.
    Words(&'static [&'static str]),
}

use Takes::{Nothing, Number, Word, Words};

/// Versions that can be asked for. Version 2 is gone from Linux.
const VERSIONS: &[&str] = &["3", "4", "4.0", "4.1", "4.2"];

/// The kernel's options (fs/nfs/fs_context.c) that a person may set.
const KNOWN: &[(&str, Takes)] = &[
    ("vers", Word(VERSIONS)),
    ("nfsvers", Word(VERSIONS)),
    ("sec", Words(&["none", "sys", "krb5", "krb5i", "krb5p"])),
    ("xprtsec", Word(&["none", "tls", "mtls"])),
    ("proto", Word(&["tcp", "tcp6", "rdma", "rdma6"])),
    ("tcp", Nothing),
    ("rdma", Nothing),
    ("port", Number(0, 65535)),
    ("nconnect", Number(1, 16)),
    ("max_connect", Number(1, 16)),
    ("trunkdiscovery", Nothing),
    ("notrunkdiscovery", Nothing),
    ("hard", Nothing),
    ("soft", Nothing),
    ("softerr", Nothing),
    ("softreval", Nothing),
    ("nosoftreval", Nothing),
    ("timeo", Number(1, 6000)),
    ("retrans", Number(0, 100)),
    ("rsize", Number(1024, 1 << 20)),
    ("wsize", Number(1024, 1 << 20)),
    ("bsize", Number(1024, 1 << 20)),
    ("namlen", Number(1, 255)),
    ("ac", Nothing),
    ("noac", Nothing),
    ("cto", Nothing),
    ("nocto", Nothing),
    ("acregmin", Number(0, 86400)),
    ("acregmax", Number(0, 86400)),
    ("acdirmin", Number(0, 86400)),
    ("acdirmax", Number(0, 86400)),
    ("actimeo", Number(0, 86400)),
    ("lookupcache", Word(&["all", "none", "pos", "positive"])),
    ("local_lock", Word(&["none", "all", "flock", "posix"])),
    ("lock", Nothing),
    ("nolock", Nothing),
    ("acl", Nothing),
    ("noacl", Nothing),
    ("rdirplus", Nothing),
    ("nordirplus", Nothing),
    ("resvport", Nothing),
    ("noresvport", Nothing),
    ("migration", Nothing),
    ("nomigration", Nothing),
    ("fsc", Nothing),
    ("nofsc", Nothing),
    ("mountport", Number(0, 65535)),
    ("mountvers", Word(&["3"])),
    ("mountproto", Word(&["tcp", "tcp6", "udp", "udp6"])),
    ("sync", Nothing),
    ("dirsync", Nothing),
];

/// Options of nfs(5) that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("addr", "the address is that of `server`"),
    ("mountaddr", "the address is that of `server`"),
    ("mounthost", "the address is that of `server`"),
    ("clientaddr", "the kernel finds its own address"),
    ("sharecache", "each volume is mounted apart, so that one that hangs can be dealt with alone"),
    ("nosharecache", "each volume is mounted apart already"),
    ("udp", "NFS over UDP corrupts data on fast networks (nfs(5)); use tcp"),
    ("bg", "the mount is made when it is asked for, not later"),
    ("fg", "the mount is made when it is asked for anyway"),
    ("retry", "whoever asked repeats the call"),
    ("intr", "the kernel has ignored it since Linux 2.6.25"),
    ("nointr", "the kernel has ignored it since Linux 2.6.25"),
    ("remount", "it makes another kind of mount"),
];

/// Checks `flags` and sorts them by who acts on them. `field` is where they were written, for the message.
pub fn parse(field: &str, flags: &[String]) -> Result<MountOptions> {
    let wrong = |error: Error| error.while_doing(field);
    let options = MountOptions::parse(flags).map_err(wrong)?;
    for (key, value) in options.superblock() {
        check(key, value).map_err(wrong)?;
    }
    let has = |key| options.has(key);
    let is_v3 = options.superblock().any(|(key, value)| matches!(key, "vers" | "nfsvers") && value == Some("3"));
    for (one, other) in [("hard", "soft"), ("hard", "softerr"), ("soft", "softerr"), ("lock", "nolock"), ("vers", "nfsvers")] {
        if has(one) && has(other) {
            return Err(wrong(Error::invalid(format!("mount options {one} and {other} contradict each other; give one"))));
        }
    }
    for v3_only in ["lock", "nolock", "acl", "noacl", "mountport", "mountvers", "mountproto"] {
        if has(v3_only) && !is_v3 {
            return Err(wrong(Error::invalid(format!("mount option {v3_only} is for vers=3 alone"))));
        }
    }
    Ok(options)
}

fn check(key: &str, value: Option<&str>) -> Result<()> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
        return Err(Error::invalid(format!("mount option {key} is not allowed: {why}")));
    }
    let Some((_, takes)) = KNOWN.iter().find(|(known, _)| *known == key) else {
        return Err(Error::invalid(format!("mount option {key} is not one of NFS; see nfs(5)")));
    };
    let need = |what: String| Err(Error::invalid(format!("mount option {key} takes {what}")));
    match (takes, value) {
        (Nothing, None) => Ok(()),
        (Nothing, Some(_)) => need("no value".to_owned()),
        (Number(from, to), value) => match value.and_then(|value| value.parse::<u64>().ok()) {
            Some(number) if (*from..=*to).contains(&number) => Ok(()),
            _ => need(format!("a number from {from} to {to}")),
        },
        (Word(words), Some(value)) if words.contains(&value) => Ok(()),
        (Words(words), Some(value)) if value.split(':').all(|part| words.contains(&part)) => Ok(()),
        (Word(words), _) => need(format!("one of {}", words.join(", "))),
        (Words(words), _) => need(format!("one or more of {}, separated by colons", words.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(flags: &[&str]) -> Result<MountOptions> {
        parse("mountOptions", &flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_nfs_has_is_taken() {
        for flags in [
            &["vers=4.2", "hard", "nconnect=8", "sec=krb5p:krb5i", "xprtsec=mtls", "noatime", "ro"][..],
            &["nfsvers=3", "nolock", "proto=tcp", "mountport=635", "_netdev"],
            &["soft", "timeo=30", "retrans=2", "actimeo=0", "lookupcache=none"],
            &[],
        ] {
            parsed(flags).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
        }
        assert!(parsed(&["ro"]).unwrap().read_only);
    }

    #[test]
    fn what_it_has_not_is_refused_with_the_reason() {
        for (flags, reason) in [
            (&["vers=2"][..], "one of 3, 4"),
            (&["vers"], "one of 3, 4"),
            (&["nconnect=17"], "1 to 16"),
            (&["nconnect=-1"], "1 to 16"),
            (&["timeo=x"], "number"),
            (&["hard=1"], "no value"),
            (&["sec=krb5x"], "krb5i"),
            (&["addr=1.2.3.4"], "`server`"),
            (&["proto=udp"], "tcp"),
            (&["udp"], "corrupts"),
            (&["sharecache"], "apart"),
            (&["hard", "soft"], "contradict"),
            (&["nolock"], "vers=3"),
            (&["errors=remount-ro"], "nfs(5)"),
            (&["source=other:/x"], "another"),
        ] {
            let error = parsed(flags).unwrap_err();
            assert!(error.to_string().contains(reason), "{flags:?}: {error}");
            assert!(error.to_string().starts_with("mountOptions"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_flags_are_options_or_a_mistake(flags in prop::collection::vec("[a-z_]{1,10}(=[ -~]{0,10})?", 0..6)) {
            let _ = parse("f", &flags);
        }

        #[test]
        fn a_value_is_never_shown(value in "[A-Z]{12}") {
            let error = parse("f", &[format!("vers={value}")]).unwrap_err();
            prop_assert!(!error.chain().contains(&value));
        }
    }
}
