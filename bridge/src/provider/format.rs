//! The two forms in which an agent takes calls and gives events: protobuf, and its JSON with the field names of the files.

use std::sync::LazyLock;

use hawser_proto::MESOS_DESCRIPTOR_SET;
use hawser_proto::mesos::v1::resource_provider::{Call, Event};
use hawser_volume::{Error, Result};
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What messages look like on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `application/x-protobuf`.
    #[default]
    Protobuf,
    /// `application/json`, for people who listen in.
    Json,
}

/// The package whose messages have names of their own in JSON.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "our own build wrote it, and every test of this file reads it")]
    DescriptorPool::decode(MESOS_DESCRIPTOR_SET).expect("the descriptor set is complete")
});

/// A message of [`hawser_proto::mesos`], by its name in the descriptors.
pub(super) trait Named: Message + Default {
    const NAME: &'static str;
}

macro_rules! named {
    ($($message:ty = $name:literal),* $(,)?) => {
        $(impl Named for $message { const NAME: &'static str = $name; })*
    };
}

named! {
    Call = "mesos.v1.resource_provider.Call",
    Event = "mesos.v1.resource_provider.Event",
    hawser_proto::mesos::v1::Resource = "mesos.v1.Resource",
    hawser_proto::mesos::v1::Operation = "mesos.v1.Operation",
}

fn descriptor<M: Named>() -> Result<MessageDescriptor> {
    POOL.get_message_by_name(M::NAME).ok_or_else(|| Error::internal(format!("{} has no descriptor", M::NAME)))
}

/// A message as JSON.
pub(super) fn to_json<M: Named>(message: &M) -> Result<Value> {
    let wrong = |error: &dyn std::fmt::Display| Error::internal(format!("write {} as JSON: {error}", M::NAME));
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic.transcode_from(message).map_err(|error| wrong(&error))?;
    // Mesos writes numbers as numbers, and field names as they are in its files.
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| wrong(&error))
}

/// A message from JSON. Fields that this version does not know are passed over.
pub(super) fn from_json<M: Named>(value: &Value) -> Result<M> {
    let wrong = |error: &dyn std::fmt::Display| Error::unavailable(format!("read {} from JSON: {error}", M::NAME));
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor::<M>()?, value, &options).map_err(|error| wrong(&error))?;
    dynamic.transcode_to().map_err(|error| wrong(&error))
}

/// A message in the ledger, whose entries are JSON that people can read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Stored<M>(pub(super) M);

impl<M: Named> Serialize for Stored<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_json(&self.0).map_err(|error| serde::ser::Error::custom(error.chain()))?.serialize(serializer)
    }
}

impl<'de, M: Named> Deserialize<'de> for Stored<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        from_json(&value).map(Self).map_err(|error| D::Error::custom(error.chain()))
    }
}

impl Format {
    /// What `Content-Type` and `Accept` say.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::Protobuf => "application/x-protobuf",
            Format::Json => "application/json",
        }
    }

    /// A call as the body of a request.
    pub(super) fn encode(self, call: &Call) -> Result<Vec<u8>> {
        match self {
            Format::Protobuf => Ok(call.encode_to_vec()),
            Format::Json => Ok(to_json(call)?.to_string().into_bytes()),
        }
    }

    /// The event in a record. An event of a type that a newer agent knows comes as one of the type UNKNOWN.
    pub(super) fn decode(self, record: &[u8]) -> Result<Event> {
        let wrong = |error: &dyn std::fmt::Display| Error::unavailable(format!("read what the agent says: {error}"));
        match self {
            Format::Protobuf => Event::decode(record).map_err(|error| wrong(&error)),
            Format::Json => {
                let value: Value = serde_json::from_slice(record).map_err(|error| wrong(&error))?;
                let list = POOL.get_enum_by_name("mesos.v1.resource_provider.Event.Type");
                let is_known = |name: &str| list.as_ref().is_some_and(|list| list.get_value_by_name(name).is_some());
                match value.get("type").and_then(Value::as_str) {
                    Some(name) if !is_known(name) => Ok(Event::default()),
                    _ => from_json(&value),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hawser_proto::mesos::v1::resource_provider::{call, event};
    use hawser_proto::mesos::v1::{Resource, ResourceProviderId, Uuid};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_have_the_names_of_mesos_in_json() {
        let call = Call {
            resource_provider_id: Some(ResourceProviderId { value: "p1".to_owned() }),
            r#type: Some(call::Type::UpdatePublishResourcesStatus.into()),
            update_publish_resources_status: Some(call::UpdatePublishResourcesStatus {
                uuid: Uuid { value: vec![255; 16] },
                status: call::update_publish_resources_status::Status::Ok.into(),
            }),
            ..Call::default()
        };
        let json: Value = serde_json::from_slice(&Format::Json.encode(&call).unwrap()).unwrap();
        assert_eq!(
            json,
            json!({
                "resource_provider_id": {"value": "p1"},
                "type": "UPDATE_PUBLISH_RESOURCES_STATUS",
                "update_publish_resources_status": {"uuid": {"value": "/////////////////////w=="}, "status": "OK"},
            })
        );
        assert_eq!(Call::decode(Format::Protobuf.encode(&call).unwrap().as_slice()).unwrap(), call);
    }

    #[test]
    fn events_of_a_newer_agent_are_unknown_and_no_error() {
        for text in [r#"{"type":"DANCE","dance":{"steps":3}}"#, r#"{"type":"UNKNOWN"}"#, "{}"] {
            let event = Format::Json.decode(text.as_bytes()).unwrap();
            assert_eq!(event.r#type.unwrap_or_default(), i32::from(event::Type::Unknown), "{text}");
        }
        // A field that no version so far has.
        let event = Format::Json.decode(br#"{"type":"TEARDOWN","why":"because"}"#).unwrap();
        assert_eq!(event.r#type(), event::Type::Teardown);
        assert_eq!(Format::Protobuf.decode(&[8, 99]).unwrap().r#type(), event::Type::Unknown);
        for text in ["", "[]", "nonsense", r#"{"type":"SUBSCRIBED","subscribed":7}"#] {
            assert!(Format::Json.decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_resource_comes_back_from_the_ledger() {
        let resource: Resource = from_json(&json!({
            "provider_id": {"value": "p1"}, "name": "disk", "type": "SCALAR", "scalar": {"value": 1024.5},
            "reservations": [{"type": "DYNAMIC", "role": "a/b", "labels": {"labels": [{"key": "k"}]}}],
            "disk": {"source": {"type": "RAW", "profile": "fast", "metadata": {"labels": [{"key": "k", "value": "v"}]}}},
        }))
        .unwrap();
        let text = serde_json::to_string(&Stored(resource.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Stored<Resource>>(&text).unwrap().0, resource);
        assert!(serde_json::from_str::<Stored<Resource>>(r#"{"name": 7}"#).is_err());
    }

    proptest! {
        #[test]
        fn nonsense_is_an_event_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), text in any::<String>()) {
            let _ = Format::Protobuf.decode(&bytes);
            let _ = Format::Json.decode(&bytes);
            let _ = Format::Json.decode(text.as_bytes());
        }
    }
}
