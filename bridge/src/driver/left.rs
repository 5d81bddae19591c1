//! What a driver left behind although it said that it was done.
//!
//! Mesos deletes recursively below a path as soon as its volume is said to be gone from there, through whatever is still mounted
//! (`VolumeManagerProcess::removeVolume`, src/csi/v1_volume_manager.cpp). So nobody's word is taken for it.

use std::path::Path;

use hawser_host::{Host, Linux};
use hawser_volume::{Error, Kind, Result};

/// `Internal` when something is mounted at `path` or below it, as far as this process sees mounts.
pub(super) async fn nothing_at(path: &Path, driver: &str, method: &str) -> Result<()> {
    let (path, said) = (path.to_owned(), format!("{method}: driver {driver} says that it is done"));
    match tokio::task::spawn_blocking(move || look(&path, &said)).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("reading the table of mounts panicked; see the log").caused_by(error)),
    }
}

fn look(path: &Path, said: &str) -> Result<()> {
    let place = match Linux.resolve(path) {
        Ok(place) => place,
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let table = Linux.mounts()?;
    let Some(left) = table.at(&place).into_iter().chain(table.below(&place)).next() else { return Ok(()) };
    Err(Error::internal(format!(
        "{said}, and {} is still mounted at {}; unmount it, as Mesos deletes what it finds there",
        left.source.display(),
        left.mount_point.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_is_left_is_told_and_no_mount_is_not() {
        let place = tempfile::tempdir().unwrap();
        look(place.path(), "").unwrap();
        look(&place.path().join("absent/too"), "").unwrap();
        // Everybody has this one; and below /sys there is something on every machine.
        for path in ["/proc", "/sys"] {
            let error = look(Path::new(path), "NodeUnpublishVolume: driver x says that it is done").unwrap_err();
            assert!(error.kind() == Kind::Internal && error.to_string().contains("still mounted at /"), "{error}");
        }
    }
}
