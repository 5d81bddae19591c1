//! The files in which the agent's isolators note the volumes of each container: a second source beside the agent's API, and the
//! only one for standalone containers. Both isolators write the file before they mount and remove it before they unmount.
//!
//! * `docker/volume`: `<--docker_volume_checkpoint_dir>/<container id>/volumes`, JSON
//!   (src/slave/containerizer/mesos/isolators/docker/volume/isolator.cpp). By default below `/var/run`, so gone after a reboot.
//! * `volume/csi`: `<--work_dir>/isolators/volume/csi/<container id>/volumes`, a protobuf after its length
//!   (src/slave/containerizer/mesos/isolators/volume/csi/{isolator.cpp,state.proto}, stout's `protobuf::write`). It outlives a
//!   reboot, so it may speak of containers that are no more.
//!
//! A file that is absent or empty means no volume: the agent died between making it and filling it, and mounts only afterwards.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hawser_volume::{Error, Result};
use prost::Message;
use serde::Deserialize;

use super::task::{ContainerId, DeclaredVolume};

/// Where `docker/volume` notes, unless the agent was told otherwise (src/slave/flags.cpp).
pub const DOCKER_DIRECTORY: &str = "/var/run/mesos/isolators/docker/volume";

/// Below the agent's work directory, where `volume/csi` notes.
const CSI_DIRECTORY: &str = "isolators/volume/csi";

/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// One volume of one container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Noted {
    /// The container.
    pub container: ContainerId,
    /// The volume.
    pub volume: DeclaredVolume,
    /// When it was noted.
    pub at: SystemTime,
}

/// What `docker/volume` noted in `directory`, in the order of the containers.
pub fn docker_volumes(directory: &Path) -> Result<Vec<Noted>> {
    notes(directory, |bytes| {
        let noted: DockerVolumes = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(noted.volumes.into_iter().map(|v| DeclaredVolume::Docker { driver: v.driver, name: v.name }).collect())
    })
}

/// What `volume/csi` noted in the agent's `work_dir`, in the order of the containers.
pub fn csi_volumes(work_dir: &Path) -> Result<Vec<Noted>> {
    notes(&work_dir.join(CSI_DIRECTORY), |bytes| {
        let (length, message) = bytes.split_first_chunk::<4>().ok_or("it ends within the length")?;
        // The length of the machine that wrote it, which is this one.
        if usize::try_from(u32::from_ne_bytes(*length)) != Ok(message.len()) {
            return Err("its length is not the one that it begins with".to_owned());
        }
        let noted = CsiVolumes::decode(message).map_err(|error| error.to_string())?;
        Ok(noted.volumes.into_iter().map(|v| DeclaredVolume::Csi { plugin: v.plugin_name, id: v.id }).collect())
    })
}

fn notes(directory: &Path, read: impl Fn(&[u8]) -> Result<Vec<DeclaredVolume>, String>) -> Result<Vec<Noted>> {
    let failed = |path: &Path, error: std::io::Error| {
        Error::unavailable(format!("read {}, where an isolator of Mesos keeps notes", path.display())).caused_by(error)
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(directory, error)),
    };
    let mut noted = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(directory, error))?;
        let name = entry.file_name();
        let path: PathBuf = entry.path().join("volumes");
        let (bytes, at) = match contents(&path) {
            Ok(contents) => contents,
            // The container ended meanwhile, or never got as far.
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(failed(&path, error)),
        };
        if bytes.is_empty() {
            continue;
        }
        let volumes = read(&bytes).map_err(|why| {
            Error::unavailable(format!("read {}, where an isolator of Mesos keeps notes: {why}", path.display()))
        })?;
        let container = ContainerId::new(name.to_string_lossy());
        noted.extend(volumes.into_iter().map(|volume| Noted { container: container.clone(), volume, at }));
    }
    noted.sort();
    Ok(noted)
}

fn contents(path: &Path) -> std::io::Result<(Vec<u8>, SystemTime)> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    let at = file.metadata()?.modified()?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("more than {FILE_MAX} bytes")));
    }
    Ok((bytes, at))
}

#[derive(Debug, Deserialize)]
struct DockerVolumes {
    #[serde(default)]
    volumes: Vec<DockerVolume>,
}

#[derive(Debug, Deserialize)]
struct DockerVolume {
    driver: String,
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct CsiVolumes {
    #[prost(message, repeated, tag = "1")]
    volumes: Vec<CsiVolume>,
}

#[derive(Clone, PartialEq, Message)]
struct CsiVolume {
    #[prost(string, tag = "1")]
    plugin_name: String,
    #[prost(string, tag = "2")]
    id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(directory: &Path, container: &str, bytes: &[u8]) {
        std::fs::create_dir_all(directory.join(container)).unwrap();
        std::fs::write(directory.join(container).join("volumes"), bytes).unwrap();
    }

    fn framed(message: &CsiVolumes) -> Vec<u8> {
        let body = message.encode_to_vec();
        [&u32::try_from(body.len()).unwrap().to_ne_bytes(), body.as_slice()].concat()
    }

    #[test]
    fn the_notes_of_docker_volume_are_read() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path();
        assert_eq!(docker_volumes(&directory.join("absent")).unwrap(), []);
        // As Mesos 1.11.0 wrote them.
        note(directory, "df008878-7a53-4bb5-9e16-d4ee16089afd", br#"{"volumes":[{"driver":"hawser","name":"db0"}]}"#);
        note(directory, "c-standalone", br#"{"volumes":[{"driver":"hawser","name":"v-alone"}]}"#);
        note(directory, "empty", b"");
        std::fs::create_dir(directory.join("begun")).unwrap();
        std::fs::write(directory.join("file"), "").unwrap();
        let names: Vec<String> = docker_volumes(directory)
            .unwrap()
            .into_iter()
            .map(|noted| match noted.volume {
                DeclaredVolume::Docker { driver, name } => format!("{} {driver} {name}", noted.container),
                DeclaredVolume::Csi { .. } | DeclaredVolume::Disk { .. } => unreachable!("there is none"),
            })
            .collect();
        assert_eq!(names, ["c-standalone hawser v-alone", "df008878-7a53-4bb5-9e16-d4ee16089afd hawser db0"]);
        note(directory, "torn", br#"{"volumes":[{"driver""#);
        assert!(docker_volumes(directory).unwrap_err().chain().contains("torn/volumes"));
    }

    #[test]
    fn the_notes_of_volume_csi_are_read() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join(CSI_DIRECTORY);
        let volume = |id: &str| CsiVolume { plugin_name: "csi.hawser.dev".into(), id: id.into() };
        let whole = framed(&CsiVolumes { volumes: vec![volume("local:a"), volume("local:b")] });
        note(&directory, "parent.child", &whole);
        let noted = csi_volumes(place.path()).unwrap();
        assert_eq!(noted.len(), 2);
        assert_eq!(noted[1].container.as_str(), "parent.child");
        assert_eq!(noted[1].volume, DeclaredVolume::Csi { plugin: "csi.hawser.dev".into(), id: "local:b".into() });
        // Any part of it is an error and not fewer volumes, but for nothing at all.
        for length in 1..whole.len() {
            note(&directory, "parent.child", &whole[..length]);
            assert!(csi_volumes(place.path()).is_err(), "{length}");
        }
        note(&directory, "parent.child", &vec![0; (1 << 20) + 1]);
        assert!(csi_volumes(place.path()).unwrap_err().chain().contains("more than"));
    }
}
