//! What the generated messages promise: secrets stay out of logs, equal messages are equal bytes,
//! and calls that are left out are answered as the specification wants.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use hawser_proto::FILE_DESCRIPTOR_SET;
use hawser_proto::csi;
use hawser_proto::csi::controller_server::Controller;
use hawser_proto::csi::group_controller_server::GroupController;
use hawser_proto::csi::identity_server::Identity;
use hawser_proto::csi::node_server::Node;
use hawser_proto::csi::snapshot_metadata_server::SnapshotMetadata;
use prost::Message;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// The value that must never be seen.
const SECRET: &str = "hunter2";

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptor set is complete"));

fn is_sensitive(field: &FieldDescriptor) -> bool {
    // Sensitive in the specification's words, not by its option.
    if field.full_name() == "csi.v1.VolumeCapability.MountVolume.mount_flags" {
        return true;
    }
    let option = POOL.get_extension_by_name("csi.v1.csi_secret").expect("csi.proto defines csi_secret");
    *field.options().get_extension(&option) == Value::Bool(true)
}

/// A message in which every field is set, each sensitive one to [`SECRET`].
fn filled(message: &MessageDescriptor) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let secret = is_sensitive(&field);
        filled.set_field(&field, if field.is_map() { map(secret) } else { value(&field, secret) });
    }
    filled
}

fn map(secret: bool) -> Value {
    let text = if secret { SECRET } else { "shown" };
    Value::Map([(MapKey::String("the-key".to_owned()), Value::String(text.to_owned()))].into())
}

fn value(field: &FieldDescriptor, secret: bool) -> Value {
    let one = match field.kind() {
        Kind::String => Value::String(if secret { SECRET } else { "shown" }.to_owned()),
        Kind::Bool => Value::Bool(true),
        Kind::Int32 => Value::I32(1),
        Kind::Int64 => Value::I64(1),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(message) => Value::Message(filled(&message)),
        kind => panic!("{}: no value for a {kind:?} yet", field.full_name()),
    };
    if field.is_list() { Value::List(vec![one]) } else { one }
}

/// Both ways of printing the Rust type `M` as it arrives on the wire.
fn printed<M: Message + Debug + Default>(wire: &[u8]) -> String {
    let message = M::decode(wire).expect("the Rust type and the descriptor agree");
    format!("{message:?}\n{message:#?}")
}

type Print = fn(&[u8]) -> String;

/// The printers of messages with a sensitive field, by the name of the message.
macro_rules! printers {
    ($($name:literal: $message:ty,)*) => {
        [$(($name, printed::<$message> as Print),)*]
    };
}

const PRINTERS: [(&str, Print); 23] = printers! {
    "csi.v1.CreateVolumeRequest": csi::CreateVolumeRequest,
    "csi.v1.VolumeCapability.MountVolume": csi::volume_capability::MountVolume,
    "csi.v1.DeleteVolumeRequest": csi::DeleteVolumeRequest,
    "csi.v1.ControllerPublishVolumeRequest": csi::ControllerPublishVolumeRequest,
    "csi.v1.ControllerUnpublishVolumeRequest": csi::ControllerUnpublishVolumeRequest,
    "csi.v1.ValidateVolumeCapabilitiesRequest": csi::ValidateVolumeCapabilitiesRequest,
    "csi.v1.ControllerListVolumeHealthRequest": csi::ControllerListVolumeHealthRequest,
    "csi.v1.ControllerGetVolumeHealthRequest": csi::ControllerGetVolumeHealthRequest,
    "csi.v1.ControllerModifyVolumeRequest": csi::ControllerModifyVolumeRequest,
    "csi.v1.CreateSnapshotRequest": csi::CreateSnapshotRequest,
    "csi.v1.DeleteSnapshotRequest": csi::DeleteSnapshotRequest,
    "csi.v1.ListSnapshotsRequest": csi::ListSnapshotsRequest,
    "csi.v1.GetSnapshotRequest": csi::GetSnapshotRequest,
    "csi.v1.ControllerExpandVolumeRequest": csi::ControllerExpandVolumeRequest,
    "csi.v1.NodeStageVolumeRequest": csi::NodeStageVolumeRequest,
    "csi.v1.NodePublishVolumeRequest": csi::NodePublishVolumeRequest,
    "csi.v1.NodeGetStorageHealthRequest": csi::NodeGetStorageHealthRequest,
    "csi.v1.NodeExpandVolumeRequest": csi::NodeExpandVolumeRequest,
    "csi.v1.CreateVolumeGroupSnapshotRequest": csi::CreateVolumeGroupSnapshotRequest,
    "csi.v1.DeleteVolumeGroupSnapshotRequest": csi::DeleteVolumeGroupSnapshotRequest,
    "csi.v1.GetVolumeGroupSnapshotRequest": csi::GetVolumeGroupSnapshotRequest,
    "csi.v1.GetMetadataAllocatedRequest": csi::GetMetadataAllocatedRequest,
    "csi.v1.GetMetadataDeltaRequest": csi::GetMetadataDeltaRequest,
};

#[test]
fn secrets_are_never_printed() {
    let sensitive: BTreeSet<String> = POOL
        .all_messages()
        .filter(|message| message.fields().any(|field| is_sensitive(&field)))
        .map(|message| message.full_name().to_owned())
        .collect();
    let tested = PRINTERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(sensitive, tested, "PRINTERS must have every message with a sensitive field");

    for (name, print) in PRINTERS {
        let message = POOL.get_message_by_name(name).expect("it was found above");
        let printed = print(&filled(&message).encode_to_vec());
        assert!(!printed.contains(SECRET), "{printed}");
        for field in message.fields() {
            let shown = match (field.kind(), is_sensitive(&field)) {
                (Kind::String, false) if !field.is_list() => r#""shown""#,
                (_, true) if field.is_map() => r#"{"the-key": "<redacted>"}"#,
                _ => "",
            };
            let shown = format!("{}: {shown}", field.name());
            assert!(printed.contains(&shown), "no {shown} in {printed}");
        }
    }
}

#[test]
fn mount_flags_are_counted_in_the_messages_around_them() {
    let mount = csi::volume_capability::MountVolume {
        fs_type: "cifs".to_owned(),
        mount_flags: vec!["ro".to_owned(), format!("password={SECRET}")],
        volume_mount_group: String::new(),
    };
    let request = csi::NodeStageVolumeRequest {
        volume_capability: Some(csi::VolumeCapability {
            access_type: Some(csi::volume_capability::AccessType::Mount(mount)),
            access_mode: None,
        }),
        ..csi::NodeStageVolumeRequest::default()
    };
    let printed = format!("{request:?}");
    assert!(!printed.contains(SECRET), "{printed}");
    assert!(printed.contains(r#"fs_type: "cifs", mount_flags: [<2 redacted>]"#), "{printed}");
}

#[test]
fn equal_messages_are_equal_bytes() {
    let request = |keys: &mut dyn Iterator<Item = u32>| csi::CreateVolumeRequest {
        parameters: keys.map(|key| (format!("key-{key:03}"), String::new())).collect(),
        ..csi::CreateVolumeRequest::default()
    };
    let rising = request(&mut (0..100)).encode_to_vec();
    let falling = request(&mut (0..100).rev()).encode_to_vec();
    assert_eq!(rising, falling);

    let text = String::from_utf8_lossy(&rising);
    let places: Vec<_> = (0..100).map(|key| text.find(&format!("key-{key:03}"))).collect();
    assert!(places.is_sorted() && places[0].is_some(), "keys are written in order: {places:?}");
}

#[test]
fn the_descriptor_set_has_every_service() {
    let names: BTreeSet<String> = POOL.services().map(|service| service.full_name().to_owned()).collect();
    let served = [
        csi::identity_server::SERVICE_NAME,
        csi::controller_server::SERVICE_NAME,
        csi::group_controller_server::SERVICE_NAME,
        csi::snapshot_metadata_server::SERVICE_NAME,
        csi::node_server::SERVICE_NAME,
    ];
    assert_eq!(names, served.map(str::to_owned).into());
}

/// A plugin that implements no call at all.
struct Bare;
impl Identity for Bare {}
impl Controller for Bare {}
impl GroupController for Bare {}
impl SnapshotMetadata for Bare {}
impl Node for Bare {}

#[test]
fn a_call_that_is_left_out_is_unimplemented() {
    let request = tonic::Request::new(csi::CreateVolumeRequest::default());
    let call = pin!(Bare.create_volume(request));
    let Poll::Ready(Err(status)) = call.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the stub fails at once");
    };
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}
