//! The part of the API of Apache Mesos that a resource provider speaks: [`v1::resource_provider::Call`] and
//! [`v1::resource_provider::Event`].
//!
//! A resource that came from an agent goes back as it came: [`v1::Resource`] has everything that Mesos 1.11 can say of one.

/// Messages of the protobuf package `mesos.v1`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("mesos.v1");
    include!(concat!(env!("OUT_DIR"), "/mesos_redacted_debug.rs"));

    /// Messages of the protobuf package `mesos.v1.resource_provider`.
    pub mod resource_provider {
        tonic::include_proto!("mesos.v1.resource_provider");
    }
}
