//! Whether a host is up.

/// What a storage system says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostState {
    /// It is up, in the storage system's own words (`instance i-1 is running`).
    Alive(String),
    /// It is down (`instance i-1 is stopped`), or the storage system has lost it (`SDC 7 is disconnected`): once the volume is detached from
    /// it, nothing on it can write to the volume. Being on the way there (`stopping`) is not it.
    Dead(String),
    /// The storage system does not know, or could not be asked: why.
    Unknown(String),
}
