//! Lists, and looking at one volume.

use std::collections::BTreeSet;

use hawser_proto::csi;
use hawser_proto::csi::volume_capability::access_mode::Mode;
use tonic::Code;

use super::Need;
use crate::client::{Client, capitalized, map};
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::usage::Usage;

super::table! {
    pages_of_any_size_show_every_volume_once: [],
    pages_stay_right_while_volumes_come_and_go: [],
    pages_of_any_size_show_every_snapshot_once: [Cut],
    a_token_that_nobody_gave_is_refused: [],
    a_snapshot_is_found_by_its_id_and_by_its_source: [Cut],
    the_holders_of_a_volume_are_listed: [Readers],
    a_confirmation_repeats_the_question_word_for_word: [],
}

/// More than two pages of two, and not a multiple.
const COUNT: usize = 7;

/// All volumes as pages of `max` show them, one page a call.
async fn paged(a: &Client, max: i32) -> Vec<Vec<String>> {
    let (mut pages, mut starting_token) = (Vec::new(), String::new());
    loop {
        let request = csi::ListVolumesRequest { max_entries: max, starting_token };
        let page = a.controller().list_volumes(request).await.unwrap().into_inner();
        pages.push(page.entries.into_iter().map(|entry| entry.volume.unwrap().volume_id).collect());
        if page.next_token.is_empty() {
            return pages;
        }
        assert!(pages.len() <= COUNT + 1, "the list does not end");
        starting_token = page.next_token;
    }
}

async fn pages_of_any_size_show_every_volume_once(plugin: &Plugin) {
    let a = plugin.a();
    assert_eq!(paged(&a, 0).await, [Vec::<String>::new()]);
    let mut made = BTreeSet::new();
    for number in 0..COUNT {
        made.insert(a.create(&format!("volume-{number}"), plugin.small(), &plugin.usage()).await.volume_id);
    }
    // Mesos asks once, without a limit, and takes what it gets for everything.
    let all = paged(&a, 0).await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].iter().cloned().collect::<BTreeSet<_>>(), made);
    for max in 1..=COUNT + 1 {
        let pages = paged(&a, i32::try_from(max).unwrap()).await;
        assert!(pages.iter().all(|page| page.len() <= max), "{pages:?}");
        assert_eq!(pages.concat(), all[0], "pages of {max}");
    }
    let request = csi::ListVolumesRequest { max_entries: -1, ..Default::default() };
    refused(a.controller().list_volumes(request).await, Code::InvalidArgument, &["max_entries"]);
    for id in made {
        a.delete(&id).await.unwrap();
    }
}

async fn pages_stay_right_while_volumes_come_and_go(plugin: &Plugin) {
    let a = plugin.a();
    for number in 0..COUNT {
        a.create(&format!("volume-{number}"), plugin.small(), &plugin.usage()).await;
    }
    let order = paged(&a, 0).await.concat();
    let first =
        a.controller().list_volumes(csi::ListVolumesRequest { max_entries: 3, ..Default::default() }).await.unwrap().into_inner();
    // What the token stands behind goes, another one goes, and new ones come.
    a.delete(&order[2]).await.unwrap();
    a.delete(&order[5]).await.unwrap();
    for number in COUNT..COUNT * 2 {
        a.create(&format!("volume-{number}"), plugin.small(), &plugin.usage()).await;
    }
    let request = csi::ListVolumesRequest { max_entries: 0, starting_token: first.next_token };
    let rest = a.controller().list_volumes(request).await.unwrap().into_inner().entries;
    let seen: Vec<String> = first.entries.into_iter().chain(rest).map(|entry| entry.volume.unwrap().volume_id).collect();
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "a volume is listed twice: {seen:?}");
    let stayed: Vec<&String> = order.iter().filter(|id| ![&order[2], &order[5]].contains(id)).collect();
    assert!(stayed.iter().all(|id| seen.contains(id)), "a volume that was there all the time is not listed");
    for id in paged(&a, 0).await.concat() {
        a.delete(&id).await.unwrap();
    }
}

async fn pages_of_any_size_show_every_snapshot_once(plugin: &Plugin) {
    let a = plugin.a();
    let volumes =
        [a.create("one", plugin.small(), &plugin.usage()).await, a.create("two", plugin.small(), &plugin.usage()).await];
    let mut made = BTreeSet::new();
    for number in 0..COUNT {
        made.insert(a.snapshot(&format!("snapshot-{number}"), &volumes[number % 2].volume_id).await.unwrap().snapshot_id);
    }
    for (source, count) in [("", COUNT), (volumes[0].volume_id.as_str(), COUNT.div_ceil(2))] {
        let mut whole = Vec::new();
        for max in 0..=count + 1 {
            let (mut seen, mut starting_token) = (Vec::new(), String::new());
            for _ in 0..=count {
                let request = csi::ListSnapshotsRequest {
                    max_entries: i32::try_from(max).unwrap(),
                    source_volume_id: source.to_owned(),
                    starting_token,
                    ..Default::default()
                };
                let page = a.controller().list_snapshots(request).await.unwrap().into_inner();
                assert!(max == 0 || page.entries.len() <= max);
                seen.extend(page.entries.into_iter().map(|entry| entry.snapshot.unwrap().snapshot_id));
                starting_token = page.next_token;
                if starting_token.is_empty() {
                    break;
                }
            }
            if max == 0 {
                whole.clone_from(&seen);
                assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), count);
            }
            assert_eq!(seen, whole, "pages of {max}");
        }
    }
    for id in made {
        a.delete_snapshot(&id).await.unwrap();
    }
    for volume in volumes {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_token_that_nobody_gave_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    for token in ["invalid", "7", "elsewhere:", "local:a\nb", "../x"] {
        let starting_token = token.to_owned();
        let request = csi::ListVolumesRequest { starting_token: starting_token.clone(), ..Default::default() };
        refused(a.controller().list_volumes(request).await, Code::Aborted, &["starting_token"]);
        let request = csi::ListSnapshotsRequest { starting_token: starting_token.clone(), ..Default::default() };
        refused(a.controller().list_snapshots(request).await, Code::Aborted, &["starting_token"]);
        let request = csi::ControllerListVolumeHealthRequest { starting_token, ..Default::default() };
        refused(a.controller().controller_list_volume_health(request).await, Code::Aborted, &["starting_token"]);
    }
}

async fn a_snapshot_is_found_by_its_id_and_by_its_source(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    let other = a.create("two", plugin.small(), &plugin.usage()).await;
    let snapshot = a.snapshot("snapshot", &volume.volume_id).await.unwrap();
    let find = async |snapshot_id: &str, source_volume_id: &str| {
        let request = csi::ListSnapshotsRequest {
            snapshot_id: snapshot_id.to_owned(),
            source_volume_id: source_volume_id.to_owned(),
            ..Default::default()
        };
        let entries = a.controller().list_snapshots(request).await.unwrap().into_inner().entries;
        entries.into_iter().map(|entry| entry.snapshot.unwrap()).collect::<Vec<_>>()
    };
    let (id, source) = (snapshot.snapshot_id.as_str(), volume.volume_id.as_str());
    for (id, source) in [(id, ""), ("", source), (id, source)] {
        assert_eq!(find(id, source).await, std::slice::from_ref(&snapshot));
    }
    let unknown = "local:00000000000000000000000000000000-00000000";
    for (id, source) in [
        (id, other.volume_id.as_str()),
        ("", other.volume_id.as_str()),
        (unknown, ""),
        ("", unknown),
        ("nonsense", ""),
        ("", "nonsense"),
    ] {
        assert_eq!(find(id, source).await, [], "{id:?} of {source:?}");
    }
    let request = csi::GetSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
    assert_eq!(a.controller().get_snapshot(request).await.unwrap().into_inner().snapshot.unwrap(), snapshot);
    a.delete_snapshot(id).await.unwrap();
    for volume in [volume, other] {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn the_holders_of_a_volume_are_listed(plugin: &Plugin) {
    let (a, b) = (plugin.a(), plugin.b().await);
    let usage = plugin.usage().mode(Mode::MultiNodeReaderOnly);
    let volume = a.create("shared", plugin.small(), &usage).await;
    let free = a.create("free", plugin.small(), &usage).await;
    assert!(a.holders(&volume.volume_id).await.is_empty());
    a.attach(&volume, &usage).await.unwrap();
    b.attach(&volume, &usage).await.unwrap();
    let mut holders = a.holders(&volume.volume_id).await;
    holders.sort_unstable();
    assert_eq!(holders, [a.node_id(), b.node_id()]);
    for entry in b.volumes().await {
        let expected: &[&str] =
            if entry.volume.unwrap().volume_id == volume.volume_id { &[a.node_id(), b.node_id()] } else { &[] };
        let mut nodes = entry.status.unwrap().published_node_ids;
        nodes.sort_unstable();
        assert_eq!(nodes, expected);
    }
    a.detach(&volume.volume_id).await.unwrap();
    assert_eq!(b.holders(&volume.volume_id).await, [b.node_id()]);
    b.detach(&volume.volume_id).await.unwrap();
    for volume in [volume, free] {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_confirmation_repeats_the_question_word_for_word(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    // What is the default may be said where it can be said, with its key in any case.
    let change = plugin.has(Need::Modify).then(|| plugin.change());
    let said: Vec<_> = change.iter().map(|[key, before, _]| (capitalized(key), (*before).to_owned())).collect();
    let capabilities = vec![plugin.usage().capability(), plugin.usage().mode(Mode::SingleNodeReaderOnly).capability()];
    let request = csi::ValidateVolumeCapabilitiesRequest {
        volume_id: volume.volume_id.clone(),
        volume_context: map([("Anything", "a CO kept"), ("b", "")]),
        volume_capabilities: capabilities,
        parameters: said.iter().cloned().chain(map([("csi.storage.k8s.io/fstype", "ext4")])).collect(),
        mutable_parameters: said.iter().cloned().collect(),
        ..Default::default()
    };
    let answer = a.controller().validate_volume_capabilities(request.clone()).await.unwrap().into_inner();
    let confirmed = answer.confirmed.unwrap_or_else(|| panic!("not confirmed: {}", answer.message));
    assert_eq!(confirmed.volume_context, request.volume_context);
    assert_eq!(confirmed.volume_capabilities, request.volume_capabilities);
    assert_eq!(confirmed.parameters, request.parameters);
    assert_eq!(confirmed.mutable_parameters, request.mutable_parameters);
    // What cannot be confirmed is no error.
    let impossible = Usage::block().mode(Mode::MultiNodeMultiWriter);
    let request = csi::ValidateVolumeCapabilitiesRequest { volume_capabilities: vec![impossible.capability()], ..request };
    let answer = a.controller().validate_volume_capabilities(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.confirmed, None);
    assert!(!answer.message.is_empty());
    let request = csi::ValidateVolumeCapabilitiesRequest { volume_capabilities: Vec::new(), ..request };
    refused(a.controller().validate_volume_capabilities(request).await, Code::InvalidArgument, &["volume_capabilities"]);
    a.delete(&volume.volume_id).await.unwrap();
}
