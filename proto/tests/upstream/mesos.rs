//! Compares the files below `mesos` with the descriptors that the library of a released Mesos carries.
//!
//! `tests/install` brings that library, whose content is pinned by its checksum.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hawser_proto::MESOS_DESCRIPTOR_SET;
use hawser_proto::mesos::v1::Resource;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use protox::prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use crate::facts::Facts;

const SHARED: &str = "mesos/v1/mesos.proto";
const PROVIDER: &str = "mesos/v1/resource_provider/resource_provider.proto";

/// What is left out of messages that we have, with the reason.
const LEFT_OUT: [(&str, &str); 3] = [
    ("mesos.v1.Offer.Operation.launch ", "an agent launches tasks by itself"),
    ("mesos.v1.Offer.Operation.launch_group ", "as above"),
    ("mesos.v1.ResourceProviderInfo.storage ", "the configuration of Mesos' own provider"),
];

/// The descriptors in the library of Mesos.
fn released() -> DescriptorPool {
    let test = std::env::current_exe().expect("this test has a path");
    // <target>/debug/deps/<test>
    let target = test.ancestors().nth(3).expect("cargo puts it three folders deep");
    let library: PathBuf = target.join("tools/mesos/lib/_scheduler.so");
    let content = std::fs::read(&library)
        .unwrap_or_else(|error| panic!("{}: {error}; tests/install puts a released Mesos there", library.display()));
    let file = [SHARED, PROVIDER].map(|name| descriptor(&content, name));
    DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: file.into() }).expect("nothing else is imported")
}

/// The file `name` as protoc has written it into a program: a constant, which begins with its own name. How long it is stands
/// nowhere, so it is read field by field until something else begins.
fn descriptor(program: &[u8], name: &str) -> FileDescriptorProto {
    let mut beginning = vec![0x0a, u8::try_from(name.len()).expect("names are short")];
    beginning.extend(name.as_bytes());
    let found = memchr::memmem::find_iter(program, &beginning).filter_map(|place| {
        let file = &program[place..place + length(&program[place..])];
        FileDescriptorProto::decode(file).ok()
    });
    // Programs have the names of files elsewhere too.
    found.max_by_key(Message::encoded_len).unwrap_or_else(|| panic!("the library has no {name}"))
}

/// How many bytes at the beginning of `bytes` are fields of one `FileDescriptorProto`.
fn length(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        let before = rest;
        let taken = bytes.len() - before.len();
        let next = match decode_key(&mut rest) {
            Ok((1, WireType::LengthDelimited)) if taken > 0 => return taken,
            Ok((1..=9 | 12, WireType::LengthDelimited)) => {
                decode_varint(&mut rest).ok().and_then(|length| rest.get(usize::try_from(length).ok()?..))
            }
            Ok((10 | 11, WireType::Varint)) => decode_varint(&mut rest).ok().map(|_| rest),
            _ => return taken,
        };
        match next {
            Some(next) => rest = next,
            None => return taken,
        }
    }
}

#[test]
fn says_what_mesos_says_and_leaves_out_only_what_is_listed() {
    let ours = DescriptorPool::decode(MESOS_DESCRIPTOR_SET).expect("the descriptor set is complete");
    let released = released();
    let mut unused: BTreeSet<&str> = LEFT_OUT.iter().map(|(fact, _)| *fact).collect();
    for file in [SHARED, PROVIDER] {
        let (ours, theirs) = (Facts::of(&ours, file), Facts::of(&released, file));
        let invented: Vec<_> = ours.beyond(&theirs, '+').collect();
        assert!(invented.is_empty(), "not in Mesos: {invented:#?}");
        // Of what we have, everything: whole messages and lists may be missing.
        let kept: BTreeSet<&str> = ours.all().iter().filter_map(|fact| owner(fact)).collect();
        let missing = theirs.all().difference(ours.all()).filter(|fact| owner(fact).is_some_and(|owner| kept.contains(owner)));
        let lost: Vec<_> = missing
            .filter(|fact| {
                let listed = LEFT_OUT.iter().find(|(field, _)| fact.contains(field));
                listed.is_none_or(|(field, _)| {
                    unused.remove(field);
                    false
                })
            })
            .collect();
        assert!(lost.is_empty(), "in Mesos and not here: {lost:#?}");
    }
    assert!(unused.is_empty(), "listed as left out and not missing: {unused:?}");
}

/// The message or enumeration that a fact gives a member. Those without one only have others within.
fn owner(fact: &str) -> Option<&str> {
    let member = fact.strip_prefix("field ").or_else(|| fact.strip_prefix("value "))?;
    member.split(' ').next()?.rsplit_once('.').map(|(owner, _)| owner)
}

#[test]
fn no_part_of_a_resource_is_lost_on_its_way_through_and_no_secret_shown() {
    let resource = released().get_message_by_name("mesos.v1.Resource").expect("Mesos has resources");
    for one_of in 0..2 {
        let sent = filled(&resource, one_of);
        let ours = Resource::decode(sent.encode_to_vec().as_slice()).expect("we read it");
        let back = DynamicMessage::decode(resource.clone(), ours.encode_to_vec().as_slice()).expect("Mesos reads it");
        assert_eq!(back, sent);
        let shown = format!("{ours:?}");
        assert!(shown.contains("text") && !shown.contains("hunter2") && !shown.contains("[104, 117"), "{shown}");
    }
}

/// A message in which every field is set; of alternatives the one with the number `one_of`.
fn filled(message: &MessageDescriptor, one_of: usize) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let chosen = field.containing_oneof().is_none_or(|all| all.fields().nth(one_of).as_ref() == Some(&field));
        if chosen {
            let secret = matches!(field.full_name(), "mesos.v1.Credential.secret" | "mesos.v1.Secret.Value.data");
            filled.set_field(&field, if secret { hidden(&field.kind()) } else { value(&field, one_of) });
        }
    }
    filled
}

/// What must not be seen in a log.
fn hidden(kind: &Kind) -> Value {
    match kind {
        Kind::Bytes => Value::Bytes("hunter2".into()),
        _ => Value::String("hunter2".to_owned()),
    }
}

fn value(field: &FieldDescriptor, one_of: usize) -> Value {
    if let Kind::Message(entry) = field.kind()
        && field.is_map()
    {
        let value = single(&entry.map_entry_value_field().kind(), one_of);
        return Value::Map([(MapKey::String("key".to_owned()), value)].into());
    }
    let one = single(&field.kind(), one_of);
    if field.is_list() { Value::List(vec![one.clone(), one]) } else { one }
}

fn single(kind: &Kind, one_of: usize) -> Value {
    match kind {
        Kind::Message(message) => Value::Message(filled(message, one_of)),
        // The last is never the default.
        Kind::Enum(list) => Value::EnumNumber(list.values().last().expect("every enumeration has values").number()),
        Kind::String => Value::String("text".to_owned()),
        Kind::Bytes => Value::Bytes(vec![0, 255].into()),
        Kind::Bool => Value::Bool(false),
        Kind::Double => Value::F64(0.25),
        Kind::Uint64 => Value::U64(u64::MAX),
        other => panic!("teach this test {other:?}"),
    }
}
