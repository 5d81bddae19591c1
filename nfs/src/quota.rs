//! Sizes that are enforced, where this machine has the export's disk itself.
//!
//! NFS has no word for quotas, but a controller that runs on the server can set the filesystem's own: each volume is a project, numbered by
//! a file `projects/<number>` that says whose it is, and its directory hands the project down to whatever is made in it. A number is used
//! again only when nothing of its volume is left.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hawser_host::{Directory, quota};
use hawser_volume::{Bytes, Error, Kind, Result};

use crate::layout::{self, EXPORT, HIDDEN, VOLUMES};
use crate::record::VolumeRecord;
use crate::tree::Tree;

/// The first number. Lower ones are left to whoever gives them by hand (/etc/projid).
const FIRST: u32 = 1 << 30;

/// How many numbers there are.
const NUMBERS: u32 = 1 << 30;

/// What is added to the name of a number that stays taken, because the content of its volume was kept.
const KEPT: &str = ".kept";

/// The largest file that says whose a number is.
const OWNER_MAX: Bytes = Bytes::new(4096);

impl Tree {
    /// The exported directory on this machine's own disk, if `local-path` says where it is. `Precondition` when that is another one.
    fn local(&self) -> Result<Option<Directory>> {
        let Some(path) = &self.config.local_path else { return Ok(None) };
        let base = Directory::open(path).map_err(|error| error.while_doing("local-path"))?;
        let mark = |own: &Directory| own.read(EXPORT, OWNER_MAX);
        let theirs = base.enter(HIDDEN)?.map(|own| mark(&own)).transpose()?.flatten();
        if theirs.is_none() || theirs != mark(&self.root.own)? {
            return Err(Error::precondition(format!(
                "local-path {} is not the directory that {} exports as {}",
                path.display(),
                self.config.server,
                self.config.path.display()
            )));
        }
        Ok(Some(base))
    }

    /// Gives the new, empty content of a volume in the directory `below` a limit; the number of its project, or nothing where sizes are
    /// not enforced.
    pub(crate) fn begin_limit(&self, id: &str, below: &Path, size: Bytes) -> Result<Option<u32>> {
        let Some(base) = self.local()? else { return Ok(None) };
        let project = self.number(id)?;
        quota::limit(&base, project, size)?;
        quota::assign(&base.enter_existing(below)?, project)?;
        Ok(Some(project))
    }

    /// Gives a directory in a volume's object to the volume's project: what is made there can be moved into its content.
    pub(crate) fn join_project(&self, record: &VolumeRecord, name: &str) -> Result<()> {
        let Some(project) = record.project else { return Ok(()) };
        let place = layout::volume(&record.id);
        let below: PathBuf = [HIDDEN, VOLUMES, &place.digest, name].iter().collect();
        quota::assign(&self.must_be_local(record)?.enter_existing(below)?, project)
    }

    /// Changes the limit of a volume; nothing to do where sizes are not enforced.
    pub(crate) fn change_limit(&self, record: &VolumeRecord, size: Bytes) -> Result<()> {
        match record.project {
            Some(project) => quota::limit(&self.must_be_local(record)?, project, size),
            None => Ok(()),
        }
    }

    fn must_be_local(&self, record: &VolumeRecord) -> Result<Directory> {
        self.local()?.ok_or_else(|| {
            Error::precondition(format!(
                "the size of volume {} is enforced on the server; only a controller that runs there, with local-path, can do this",
                record.id
            ))
        })
    }

    /// A number for the volume `id`; the same for the same.
    fn number(&self, id: &str) -> Result<u32> {
        let digest = hawser_volume::id::digest(id);
        let begin = u32::from_str_radix(&digest[..8], 16).unwrap_or(0) % NUMBERS;
        for step in 0..NUMBERS {
            let number = FIRST + (begin + step) % NUMBERS;
            let name = number.to_string();
            let is_ours = self.root.projects.create(&name, id.as_bytes())?
                || self.root.projects.read(&name, OWNER_MAX)?.is_some_and(|owner| owner == id.as_bytes());
            if is_ours {
                return Ok(number);
            }
            self.pulse.beat();
        }
        Err(Error::exhausted("every number of a project is taken"))
    }

    /// Notes that the content of a volume stays, and its limit with it.
    pub(crate) fn keep_number(&self, record: &VolumeRecord) -> Result<()> {
        match record.project {
            Some(project) => self.root.projects.create(format!("{project}{KEPT}"), b"").map(drop),
            None => Ok(()),
        }
    }

    /// Frees the numbers of which nothing is left; those that are younger than `is_old` may belong to a volume in the making.
    pub(crate) fn free_numbers(&self, is_old: impl Fn(SystemTime) -> bool) -> Result<()> {
        let names = self.root.projects.names()?;
        if names.is_empty() {
            return Ok(());
        }
        let Some(base) = self.local()? else { return Ok(()) };
        let trash = self.root.trash.names()?;
        for name in names.iter().filter_map(|name| name.to_str()) {
            self.pulse.beat();
            let Ok(number) = name.parse::<u32>() else { continue };
            let Some(owner) = self.root.projects.read(name, OWNER_MAX)? else { continue };
            let owner = String::from_utf8_lossy(&owner).into_owned();
            let is_left = match self.find::<VolumeRecord>(&owner) {
                Ok(_) => true,
                Err(error) if error.kind() == Kind::NotFound => {
                    trash.iter().any(|trashed| trashed.as_encoded_bytes().starts_with(owner.as_bytes()))
                }
                Err(error) => return Err(error),
            };
            let is_young = !self.root.projects.entry(name)?.is_some_and(|entry| is_old(entry.modified));
            let is_kept = self.root.projects.entry(format!("{name}{KEPT}"))?.is_some();
            if !is_left && !is_young && !is_kept {
                quota::limit(&base, number, Bytes::ZERO)?;
                self.root.projects.remove_file(name)?;
            }
        }
        Ok(())
    }
}
