//! Which volumes the containers of this machine's agent use.
//!
//! There are two sources. The agent's API tells of tasks and executors, but nothing of standalone containers, for a while also of what
//! was running before a reboot, and of nobody at all to a caller who may not see them: an agent with authorization leaves out what is
//! not for us, without a word. The notes of its
//! isolators ([`super::checkpoint`]) are complete, but outlive their containers: when a volume could not be unmounted, and
//! with `volume/csi` after a boot that ended suddenly. So a note of a container that the agent does not know proves nothing, and one
//! that is of this boot leaves it open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hawser_volume::{Error, Result};
use percent_encoding::percent_decode;

use super::agent::Agent;
use super::checkpoint::{self, DOCKER_DIRECTORY, Noted};
use super::identity::AgentId;
use super::task::{DeclaredVolume, Use};

/// How much older than the boot a note may look and be of this boot all the same: clocks are set while machines start.
const SLACK: Duration = Duration::from_secs(10);

/// What the containers of one agent use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The agent.
    pub agent: AgentId,
    work_dir: PathBuf,
    volumes: BTreeSet<DeclaredVolume>,
    /// What is noted of containers that the agent does not know, in this boot.
    noted: BTreeSet<DeclaredVolume>,
}

impl InUse {
    /// Asks `agent`, which runs on this machine, and reads its files. `booted_at` tells when this machine was started.
    ///
    /// A container is noted before its volumes are asked for. So a volume that a container of this agent asks for is in use in every
    /// answer to a question that was put afterwards.
    pub async fn on(agent: &Agent, booted_at: fn() -> Result<SystemTime>) -> Result<Self> {
        let flags = agent.flags().await?;
        let view = agent.view().await?;
        let work_dir = PathBuf::from(flags.get("work_dir").cloned().unwrap_or_default());
        let docker = flags.get("docker_volume_checkpoint_dir").map_or_else(|| DOCKER_DIRECTORY.into(), PathBuf::from);
        let place = work_dir.clone();
        let notes = tokio::task::spawn_blocking(move || notes(&place, &docker)).await;
        let notes =
            notes.map_err(|error| Error::internal("reading the notes of Mesos panicked; see the log").caused_by(error))??;
        let booted = booted_at()?;
        let is_there = |one: &Use| match &one.container {
            Some(container) => view.containers.contains(container),
            // It has not been started yet. An executor without a container is one that an agent remembers after a reboot.
            None => one.task.is_some(),
        };
        let mut volumes: BTreeSet<_> = view.uses.iter().filter(|one| is_there(one)).map(|one| one.volume.clone()).collect();
        let mut noted = BTreeSet::new();
        for note in notes {
            if view.containers.contains(&note.container) {
                volumes.insert(note.volume);
            } else if note.at + SLACK >= booted {
                noted.insert(note.volume);
            }
        }
        Ok(Self { agent: view.info.id, work_dir, volumes, noted })
    }

    /// Whether a container uses the CSI volume `id`, through whichever plugin.
    pub fn has_csi(&self, id: &str) -> bool {
        self.volumes.iter().any(|volume| is_csi(volume, id))
    }

    /// Whether a container uses the CSI volume `id`, or may use it, as far as the agent and its notes tell.
    pub fn may_have_csi(&self, id: &str) -> bool {
        self.volumes.iter().chain(&self.noted).any(|volume| is_csi(volume, id))
    }

    /// Whether a container uses the Docker volume `name`, of whichever driver.
    pub fn has_docker(&self, name: &str) -> bool {
        self.volumes.iter().any(|volume| matches!(volume, DeclaredVolume::Docker { name: used, .. } if used == name))
    }

    /// Whether the resources of a container have the disk `id`.
    pub fn has_disk(&self, id: &str) -> bool {
        self.volumes.iter().any(|volume| matches!(volume, DeclaredVolume::Disk { id: used } if used == id))
    }

    /// Whether this agent has a record of the CSI volume `id`: it writes one before it has a volume staged, and removes it after it
    /// had it unstaged (`<work_dir>/csi/<type>/<name>/volumes/<id>/volume.state`, src/csi/v1_volume_manager.cpp).
    ///
    /// Blocks for some reads of directories.
    pub fn has_record(&self, id: &str) -> Result<bool> {
        for plugin in directories(&self.work_dir.join("csi"))? {
            for name in directories(&plugin)? {
                for volume in directories(&name.join("volumes"))? {
                    let encoded = volume.file_name().unwrap_or_default().as_encoded_bytes();
                    let is_it = percent_decode(encoded).eq(id.bytes());
                    if is_it && volume.join("volume.state").exists() {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Fit for tests of what is done about it.
    #[cfg(test)]
    pub(crate) fn for_tests(agent: &str, work_dir: &Path, volumes: impl IntoIterator<Item = DeclaredVolume>) -> Self {
        let agent = agent.parse().expect("an agent id");
        Self { agent, work_dir: work_dir.to_owned(), volumes: volumes.into_iter().collect(), noted: BTreeSet::new() }
    }
}

fn is_csi(volume: &DeclaredVolume, id: &str) -> bool {
    matches!(volume, DeclaredVolume::Csi { id: used, .. } if used == id)
}

fn notes(work_dir: &Path, docker: &Path) -> Result<Vec<Noted>> {
    // Not to see the agent's files is not to see that there are none.
    if !work_dir.join("meta").is_dir() {
        return Err(Error::unavailable(format!(
            "read {}, the agent's work directory: it is not there; the bridge must see the files of its agent",
            work_dir.display()
        )));
    }
    let mut notes = checkpoint::csi_volumes(work_dir)?;
    notes.extend(checkpoint::docker_volumes(docker)?);
    Ok(notes)
}

fn directories(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::unavailable(format!("read {}, where Mesos keeps records", path.display())).caused_by(error);
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_the_id_that_it_is_of() {
        let place = tempfile::tempdir().unwrap();
        let in_use = InUse::for_tests("A-S1", place.path(), []);
        assert!(!in_use.has_record("local:a/b").unwrap());
        let volumes = place.path().join("csi/csi.hawser.dev/default/volumes");
        // As Mesos 1.11.0 names it: libprocess' http::encode.
        std::fs::create_dir_all(volumes.join("local%3Aa%2Fb")).unwrap();
        std::fs::write(volumes.join("no-directory"), "").unwrap();
        assert!(!in_use.has_record("local:a/b").unwrap(), "without its file it is none");
        std::fs::write(volumes.join("local%3Aa%2Fb/volume.state"), "").unwrap();
        assert!(in_use.has_record("local:a/b").unwrap() && !in_use.has_record("local:a").unwrap());
    }

    #[test]
    fn files_that_are_not_seen_are_no_answer() {
        let place = tempfile::tempdir().unwrap();
        assert!(notes(place.path(), &place.path().join("docker")).unwrap_err().chain().contains("must see the files"));
        std::fs::create_dir(place.path().join("meta")).unwrap();
        assert_eq!(notes(place.path(), &place.path().join("docker")).unwrap(), []);
    }
}
