//! From what the kernel says to what came of it: one table for every call in this crate.
//!
//! A call site that knows better (ENOENT from a device that has just been found is not "not found") sets its own kind.

use std::io;

use hawser_volume::{Error, Kind, Result};

/// What an errno means when nothing more is known.
pub(crate) fn kind(error: &io::Error) -> Kind {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Kind::NotFound,
        Some(libc::ENOSPC | libc::EDQUOT) => Kind::Exhausted,
        // Somebody has to act first: unmount, empty a directory, give a privilege, make the medium writable.
        Some(
            libc::EBUSY
            | libc::ETXTBSY
            | libc::EACCES
            | libc::EPERM
            | libc::EROFS
            | libc::EEXIST
            | libc::ENOTEMPTY
            | libc::ENOTDIR
            | libc::EISDIR
            | libc::ELOOP
            | libc::EXDEV,
        ) => Kind::Precondition,
        Some(libc::ENAMETOOLONG) => Kind::Invalid,
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => Kind::Unsupported,
        // The device or server below, or the machine's resources: the same call may succeed later.
        Some(
            libc::EIO
            | libc::ENXIO
            | libc::ENODEV
            | libc::ENOMEDIUM
            | libc::ETIMEDOUT
            | libc::EREMOTEIO
            | libc::ENOLINK
            | libc::ESTALE
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ECONNRESET
            | libc::ENOTCONN
            | libc::EAGAIN
            | libc::EINTR
            | libc::ENOMEM
            | libc::EMFILE
            | libc::ENFILE,
        ) => Kind::Unavailable,
        _ => Kind::Internal,
    }
}

/// The error for `cause`, which came when `what` was attempted.
pub(crate) fn error(what: impl Into<String>, cause: impl Into<io::Error>) -> Error {
    let cause = cause.into();
    Error::new(kind(&cause), what).caused_by(cause)
}

/// Says what was attempted when it failed.
pub(crate) trait Attempt<T> {
    /// The value, or an error whose kind follows the errno and whose message is `what`.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| error(what(), cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errno_is_kept_and_decides_the_kind() {
        for (errno, expected) in [
            (libc::ENOENT, Kind::NotFound),
            (libc::EBUSY, Kind::Precondition),
            (libc::EIO, Kind::Unavailable),
            (libc::ENOSPC, Kind::Exhausted),
            (libc::EUCLEAN, Kind::Internal),
        ] {
            let error = Err::<(), _>(io::Error::from_raw_os_error(errno)).attempt(|| "read /dev/x".into()).unwrap_err();
            assert_eq!(error.kind(), expected);
            assert!(error.chain().contains(&format!("os error {errno}")), "{error:?}");
        }
    }
}
