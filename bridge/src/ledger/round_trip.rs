//! Whatever is declared comes back from the ledger as it was, also to the process that comes after this one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hawser_volume::{Access, AccessKind, AccessMode};
use proptest::prelude::*;

use super::*;
use crate::claim::VolumeClaim;
use crate::declare::{context, docker};

/// Options that say something, and their values.
fn options() -> impl Strategy<Value = BTreeMap<String, String>> {
    let one = prop_oneof![
        (1u64..1 << 40).prop_map(|size| ("size".to_owned(), format!("{size}"))),
        (1u64..1 << 20).prop_map(|size| ("size".to_owned(), format!("{size}MiB"))),
        prop_oneof!["ext4", "xfs", "btrfs"].prop_map(|name| ("newFsType".to_owned(), name)),
        prop_oneof!["if-absent", "never"].prop_map(|policy| ("create".to_owned(), policy)),
        prop_oneof!["keep", "delete-with-task"].prop_map(|policy| ("retain".to_owned(), policy)),
        prop_oneof!["never", "backend-dead", "agent-gone", "unreachable-after-[1-9]m"].prop_map(|p| ("takeover".to_owned(), p)),
        ("[a-zA-Z.-]{1,20}", any::<String>()).prop_map(|(key, value)| (format!("parameter.{key}"), value)),
    ];
    prop::collection::vec(one, 0..6).prop_map(|pairs| pairs.into_iter().collect())
}

fn access() -> impl Strategy<Value = Access> {
    let mode = prop::sample::select(AccessMode::ALL.to_vec());
    mode.prop_map(|mode| Access { kind: AccessKind::Block, mode })
}

/// Claims as they come through the doors.
fn claims() -> impl Strategy<Value = VolumeClaim> {
    let docker = ("\\PC{1,40}", options()).prop_map(|(name, options)| docker::claim(&name, &options));
    let context = ("\\PC{1,40}", options(), access(), any::<bool>())
        .prop_map(|(id, context, access, read_only)| context::claim(&id, &context, access, read_only));
    prop_oneof![docker, context].prop_filter_map("a mistake", |reading| Some(reading.into_result().ok()?.0))
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(any::<String>(), any::<String>(), 0..4)
}

fn paths() -> impl Strategy<Value = BTreeSet<PathBuf>> {
    prop::collection::btree_set(any::<String>().prop_map(PathBuf::from), 0..4)
}

fn usages() -> impl Strategy<Value = Usage> {
    let door = prop_oneof![Just(Door::Docker), Just(Door::Isolator)];
    let users = prop::collection::btree_set(any::<String>(), 0..3);
    let agent = prop::option::of("[A-Za-z0-9-]{1,40}".prop_map(|id| id.parse().expect("an agent id")));
    let since = prop::option::of(any::<u64>());
    (door, any::<String>(), paths(), users, prop::option::of(any::<String>()), any::<bool>(), agent, since).prop_map(
        |(door, name, targets, users, asked, withdrawn, agent, unused_since)| Usage {
            targets,
            users,
            withdrawn,
            agent,
            unused_since,
            ..Usage::new(door, name, asked.map(PathBuf::from))
        },
    )
}

fn holdings() -> impl Strategy<Value = Holding> {
    let uses = prop::collection::btree_map(any::<String>().prop_map(PathBuf::from), usages(), 0..3);
    (texts(), prop::option::of(texts()), any::<String>(), uses, prop::option::of(any::<u64>())).prop_map(
        |(context, publish_context, boot, uses, idle_since)| Holding { context, publish_context, boot, uses, idle_since },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_declared_comes_back(
        claim in claims(), name in any::<String>(), id in any::<String>(), context in texts(), since in any::<u64>(),
        holding in holdings(), targets in paths(),
    ) {
        // In memory: each case flushes a file many times.
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        let known = Known { claim, made: Some(Made { id: id.clone(), context }), slot: Some(crate::Slot(7)), since };
        let placeholder = Placeholder { name: name.clone(), boot: id.clone(), targets };
        {
            let ledger = Ledger::open(directory.path()).expect("a ledger");
            ledger.put_known(&name, &known).expect("known");
            ledger.change_holding(&id, |there| *there = Some(holding.clone())).expect("a holding");
            ledger.change_placeholder(&name, |there| *there = Some(placeholder.clone())).expect("a placeholder");
        }
        let ledger = Ledger::open(directory.path()).expect("the ledger again");
        prop_assert_eq!(ledger.known(&name).expect("known"), Some(known));
        prop_assert_eq!(ledger.holdings().expect("holdings"), vec![(id, holding)]);
        prop_assert_eq!(ledger.placeholder(&name).expect("a placeholder"), Some(placeholder));
    }
}
