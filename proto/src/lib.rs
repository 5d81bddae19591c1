//! The wire types of the [Container Storage Interface][spec], version 1.13.0, of what Hawser says beside it, and of the resource
//! providers of Apache Mesos 1.11.
//!
//! [`csi`] is generated at build time from `csi.proto` in this crate, which has every service and
//! message of the specification under its own name and number, with our own comments. It is a
//! superset: the volume condition fields, which 1.13 reserved, are kept for orchestrators built
//! against 1.12 and older. Two things differ from what the code generator gives by itself. Maps
//! are ordered, so that equal messages encode to equal bytes. And a message with a sensitive
//! field has a `Debug` that shows the keys of its secrets but never a value, so that any request
//! may be logged.
//!
//! [spec]: https://github.com/container-storage-interface/spec

pub mod mesos;
mod redact;

/// Messages, clients and servers of the protobuf package `csi.v1`.
///
/// A server trait answers `UNIMPLEMENTED` for every call that its implementation leaves out.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod csi {
    tonic::include_proto!("csi.v1");
    include!(concat!(env!("OUT_DIR"), "/redacted_debug.rs"));
}

/// Messages, client and server of the protobuf package `hawser.v1`: what CSI has no call for.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod hawser {
    tonic::include_proto!("hawser.v1");
}

/// The encoded descriptors of [`csi`] and of what it imports, for the gRPC reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("csi_descriptor");

/// The encoded descriptors of [`hawser`], for the same.
pub const HAWSER_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("hawser_descriptor");

/// The encoded descriptors of [`mesos`], whose JSON has the names that stand in them.
pub const MESOS_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("mesos_descriptor");
