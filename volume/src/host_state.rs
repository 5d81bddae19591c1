//! Whether a host is up.

/// What a storage system says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostState {
    /// It is up, in the storage system's own words (`instance i-1 is running`).
    Alive(String),
    /// It is down for certain, or cut off from the volume for certain (`instance i-1 is stopped`): nothing on it can write to the volume
    /// before it is started or connected again. Being on the way there (`stopping`) is not it.
    Dead(String),
    /// The storage system does not know, or could not be asked: why.
    Unknown(String),
}
