//! What this node knows and holds, kept across restarts and power failures.
//!
//! The storage system says who has a volume, and the kernel what is mounted. The ledger holds what neither can: what tasks
//! declared under which name, on whose behalf a volume is held, and that a call was about to be made. An entry is written before
//! the call that makes it true and removed after the call that ends it; so whatever happened in between, nothing is held here
//! that is not in the ledger, and repeating a call finishes it.
//!
//! One file, `ledger.redb`: an embedded database whose commits are atomic and flushed, and which one process opens at a time.
//! Entries are JSON.

mod holding;
#[cfg(test)]
mod round_trip;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fence::{Sightings, Takeovers};
use hawser_volume::{Error, Result};
use redb::{Database, DatabaseError, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use holding::now;
pub use holding::{Door, Holding, Known, Made, Placeholder, Usage};

/// Declared volumes, by the names that doors know them by.
const KNOWN: TableDefinition<'_, &str, &str> = TableDefinition::new("known");

/// Volumes that this node holds, by CSI volume id.
const HOLDINGS: TableDefinition<'_, &str, &str> = TableDefinition::new("holdings");

/// What was staged in word only, by the staging path that was asked for.
const PLACEHOLDERS: TableDefinition<'_, &str, &str> = TableDefinition::new("placeholders");

/// The disks that a resource provider offers, by volume id, its operations, by their uuids, and what there is one of.
const DISKS: TableDefinition<'_, &str, &str> = TableDefinition::new("disks");
const OPERATIONS: TableDefinition<'_, &str, &str> = TableDefinition::new("operations");
const PROVIDER: TableDefinition<'_, &str, &str> = TableDefinition::new("provider");

/// Disks with what a persistent volume left that is no more, by volume id.
const LEFTOVERS: TableDefinition<'_, &str, &str> = TableDefinition::new("leftovers");

/// The takeovers of late, and which agents were seen where: each under its key of this table.
const TAKEOVERS: TableDefinition<'_, &str, &str> = TableDefinition::new("takeovers");
const LATE: &str = "late";
const SIGHTINGS: &str = "sightings";

/// The version of the file's form, under the one key of this table.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT: u64 = 1;

/// The tables of a resource provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Provider,
    Disks,
    Operations,
    Leftovers,
}

impl Section {
    const ALL: [Section; 4] = [Section::Provider, Section::Disks, Section::Operations, Section::Leftovers];

    fn table(self) -> TableDefinition<'static, &'static str, &'static str> {
        match self {
            Section::Provider => PROVIDER,
            Section::Disks => DISKS,
            Section::Operations => OPERATIONS,
            Section::Leftovers => LEFTOVERS,
        }
    }
}

/// Entries that are written together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch(Vec<(Section, String, Option<String>)>);

impl Batch {
    /// Writes the entry `key`.
    pub(crate) fn put(&mut self, section: Section, key: &str, entry: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(entry);
        let text = text.map_err(|error| Error::internal(format!("write down {key:?}")).caused_by(error))?;
        self.0.push((section, key.to_owned(), Some(text)));
        Ok(())
    }

    /// Whether nothing is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what `later` writes, after all that is here.
    pub(crate) fn append(&mut self, mut later: Batch) {
        self.0.append(&mut later.0);
    }

    /// Removes the entry `key`.
    pub(crate) fn remove(&mut self, section: Section, key: &str) {
        self.0.push((section, key.to_owned(), None));
    }
}

/// The file with everything that must survive this process. Cheap to clone; every method blocks for the time of a flush.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Arc<Database>,
    path: Arc<PathBuf>,
}

impl Ledger {
    /// Opens the ledger in `directory`, or makes an empty one.
    ///
    /// `Precondition` when another process has it open, or when a newer version of Hawser wrote it.
    pub fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)
            .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o700)))
            .map_err(|error| Error::unavailable(format!("make the directory {}", directory.display())).caused_by(error))?;
        let path = directory.join("ledger.redb");
        let database = Database::create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::precondition(format!(
                "{} is open in another process; one bridge runs per agent, each with a directory of its own",
                path.display()
            )),
            error => Error::unavailable(format!("open {}", path.display())).caused_by(error),
        })?;
        let ledger = Self { database: Arc::new(database), path: Arc::new(path) };
        ledger.check_format()?;
        Ok(ledger)
    }

    /// The ledger whose content is in `file`, a copy that nobody else has. `path` is what messages call it.
    pub(crate) fn of_copy(file: fs::File, path: &Path) -> Result<Self> {
        let database = Database::builder().create_file(file);
        let database = database.map_err(|error| Error::unavailable(format!("read {}", path.display())).caused_by(error))?;
        let ledger = Self { database: Arc::new(database), path: Arc::new(path.to_owned()) };
        ledger.check_format()?;
        Ok(ledger)
    }

    fn check_format(&self) -> Result<()> {
        let write = self.database.begin_write().map_err(|error| self.failed(error.into()))?;
        let found = {
            let mut meta = write.open_table(META).map_err(|error| self.failed(error.into()))?;
            let found = meta.get("format").map_err(|error| self.failed(error.into()))?.map(|value| value.value());
            if found.is_none() {
                meta.insert("format", FORMAT).map_err(|error| self.failed(error.into()))?;
            }
            write.open_table(KNOWN).map_err(|error| self.failed(error.into()))?;
            write.open_table(HOLDINGS).map_err(|error| self.failed(error.into()))?;
            write.open_table(PLACEHOLDERS).map_err(|error| self.failed(error.into()))?;
            write.open_table(TAKEOVERS).map_err(|error| self.failed(error.into()))?;
            for section in Section::ALL {
                write.open_table(section.table()).map_err(|error| self.failed(error.into()))?;
            }
            found
        };
        match found {
            Some(newer) if newer > FORMAT => Err(Error::precondition(format!(
                "{} has format {newer}, and this version of hawser reads format {FORMAT}; run the newer version",
                self.path.display()
            ))),
            _ => write.commit().map_err(|error| self.failed(error.into())),
        }
    }

    /// What was declared under `name`.
    pub fn known(&self, name: &str) -> Result<Option<Known>> {
        self.get(KNOWN, name)
    }

    /// Everything that was declared, in the order of names.
    pub fn all_known(&self) -> Result<Vec<(String, Known)>> {
        self.all(KNOWN)
    }

    /// Writes down what was declared under `name`.
    pub fn put_known(&self, name: &str, known: &Known) -> Result<()> {
        self.put(KNOWN, name, known)
    }

    /// Forgets what was declared under `name`.
    pub fn remove_known(&self, name: &str) -> Result<()> {
        self.remove(KNOWN, name)
    }

    /// What this node holds of the volume `id`.
    pub fn holding(&self, id: &str) -> Result<Option<Holding>> {
        self.get(HOLDINGS, id)
    }

    /// Everything that this node holds, in the order of ids.
    pub fn holdings(&self) -> Result<Vec<(String, Holding)>> {
        self.all(HOLDINGS)
    }

    /// Changes what this node holds of the volume `id`: `change` gets what is there and leaves what shall be there. Nobody else
    /// changes anything in between.
    pub fn change_holding<T>(&self, id: &str, change: impl FnOnce(&mut Option<Holding>) -> T) -> Result<T> {
        self.change(HOLDINGS, id, change)
    }

    /// What was staged in word only at `staging`.
    pub fn placeholder(&self, staging: &str) -> Result<Option<Placeholder>> {
        self.get(PLACEHOLDERS, staging)
    }

    /// Everything that was staged in word only, by staging path.
    pub fn placeholders(&self) -> Result<Vec<(String, Placeholder)>> {
        self.all(PLACEHOLDERS)
    }

    /// Changes what was staged in word only at `staging`, as [`Ledger::change_holding`] does.
    pub fn change_placeholder<T>(&self, staging: &str, change: impl FnOnce(&mut Option<Placeholder>) -> T) -> Result<T> {
        self.change(PLACEHOLDERS, staging, change)
    }

    fn change<E, T>(
        &self,
        table: TableDefinition<'_, &str, &str>,
        key: &str,
        change: impl FnOnce(&mut Option<E>) -> T,
    ) -> Result<T>
    where
        E: Clone + PartialEq + Serialize + DeserializeOwned,
    {
        let write = self.database.begin_write().map_err(|error| self.failed(error.into()))?;
        let result = {
            let mut table = write.open_table(table).map_err(|error| self.failed(error.into()))?;
            let found = table.get(key).map_err(|error| self.failed(error.into()))?;
            let before: Option<E> = found.map(|text| self.parse(key, text.value())).transpose()?;
            let mut after = before.clone();
            let result = change(&mut after);
            if after == before {
                return Ok(result);
            }
            match &after {
                Some(entry) => table.insert(key, self.write(key, entry)?.as_str()).map(drop),
                None => table.remove(key).map(drop),
            }
            .map_err(|error| self.failed(error.into()))?;
            result
        };
        write.commit().map_err(|error| self.failed(error.into()))?;
        Ok(result)
    }

    /// One entry of a resource provider.
    pub(crate) fn entry<T: DeserializeOwned>(&self, section: Section, key: &str) -> Result<Option<T>> {
        self.get(section.table(), key)
    }

    /// All entries of a resource provider, in the order of keys.
    pub(crate) fn entries<T: DeserializeOwned>(&self, section: Section) -> Result<Vec<(String, T)>> {
        self.all(section.table())
    }

    /// Writes all of a batch with one flush.
    pub(crate) fn write_together(&self, batch: &Batch) -> Result<()> {
        let write = self.database.begin_write().map_err(|error| self.failed(error.into()))?;
        for (section, key, text) in &batch.0 {
            let mut table = write.open_table(section.table()).map_err(|error| self.failed(error.into()))?;
            match text {
                Some(text) => table.insert(key.as_str(), text.as_str()).map(drop),
                None => table.remove(key.as_str()).map(drop),
            }
            .map_err(|error| self.failed(error.into()))?;
        }
        write.commit().map_err(|error| self.failed(error.into()))
    }

    /// The takeovers of late.
    pub fn takeovers(&self) -> Result<Takeovers> {
        Ok(self.get(TAKEOVERS, LATE)?.unwrap_or_default())
    }

    /// Writes down the takeovers of late.
    pub fn put_takeovers(&self, takeovers: &Takeovers) -> Result<()> {
        self.put(TAKEOVERS, LATE, takeovers)
    }

    /// Which agents were seen on which nodes.
    pub fn sightings(&self) -> Result<Sightings> {
        Ok(self.get(TAKEOVERS, SIGHTINGS)?.unwrap_or_default())
    }

    /// Writes down which agents were seen on which nodes.
    pub fn put_sightings(&self, sightings: &Sightings) -> Result<()> {
        self.put(TAKEOVERS, SIGHTINGS, sightings)
    }

    /// Asks, or writes, where a flush may block.
    pub async fn apart<T: Send + 'static>(&self, work: impl FnOnce(&Ledger) -> Result<T> + Send + 'static) -> Result<T> {
        let ledger = self.clone();
        match tokio::task::spawn_blocking(move || work(&ledger)).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("the ledger's thread panicked; see the log").caused_by(error)),
        }
    }

    fn get<T: DeserializeOwned>(&self, table: TableDefinition<'_, &str, &str>, key: &str) -> Result<Option<T>> {
        let read = self.database.begin_read().map_err(|error| self.failed(error.into()))?;
        let table = read.open_table(table).map_err(|error| self.failed(error.into()))?;
        let found = table.get(key).map_err(|error| self.failed(error.into()))?;
        found.map(|text| self.parse(key, text.value())).transpose()
    }

    fn all<T: DeserializeOwned>(&self, table: TableDefinition<'_, &str, &str>) -> Result<Vec<(String, T)>> {
        let read = self.database.begin_read().map_err(|error| self.failed(error.into()))?;
        let table = read.open_table(table).map_err(|error| self.failed(error.into()))?;
        let mut entries = Vec::new();
        for entry in table.iter().map_err(|error| self.failed(error.into()))? {
            let (key, text) = entry.map_err(|error| self.failed(error.into()))?;
            entries.push((key.value().to_owned(), self.parse(key.value(), text.value())?));
        }
        Ok(entries)
    }

    fn put(&self, table: TableDefinition<'_, &str, &str>, key: &str, entry: &impl Serialize) -> Result<()> {
        let text = self.write(key, entry)?;
        let write = self.database.begin_write().map_err(|error| self.failed(error.into()))?;
        {
            let mut table = write.open_table(table).map_err(|error| self.failed(error.into()))?;
            table.insert(key, text.as_str()).map_err(|error| self.failed(error.into()))?;
        }
        write.commit().map_err(|error| self.failed(error.into()))
    }

    fn remove(&self, table: TableDefinition<'_, &str, &str>, key: &str) -> Result<()> {
        let write = self.database.begin_write().map_err(|error| self.failed(error.into()))?;
        {
            let mut table = write.open_table(table).map_err(|error| self.failed(error.into()))?;
            table.remove(key).map_err(|error| self.failed(error.into()))?;
        }
        write.commit().map_err(|error| self.failed(error.into()))
    }

    fn write(&self, key: &str, entry: &impl Serialize) -> Result<String> {
        serde_json::to_string(entry)
            .map_err(|error| Error::internal(format!("write down {key:?} in {}", self.path.display())).caused_by(error))
    }

    fn parse<T: DeserializeOwned>(&self, key: &str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| {
            Error::internal(format!("{}: the entry {key:?} cannot be read", self.path.display())).caused_by(error)
        })
    }

    fn failed(&self, error: redb::Error) -> Error {
        Error::unavailable(format!("the ledger {}", self.path.display())).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use hawser_volume::Kind;

    use super::*;

    #[test]
    fn what_was_written_is_there_when_it_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let holding = Holding::about_to_attach("boot-1");
        {
            let ledger = Ledger::open(directory.path()).unwrap();
            for id in ["local:1", "local:2"] {
                ledger.change_holding(id, |there| *there = Some(holding.clone())).unwrap();
            }
            ledger.change_holding("local:2", Option::take).unwrap();
        }
        let ledger = Ledger::open(directory.path()).unwrap();
        assert_eq!(ledger.holdings().unwrap(), vec![("local:1".to_owned(), holding)]);
        assert!(ledger.holding("local:2").unwrap().is_none() && ledger.all_known().unwrap().is_empty());
    }

    #[test]
    fn one_process_has_it_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Ledger::open(directory.path()).unwrap();
        assert_eq!(Ledger::open(directory.path()).unwrap_err().kind(), Kind::Precondition);
    }

    #[test]
    fn a_newer_form_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        {
            let ledger = Ledger::open(directory.path()).unwrap();
            let write = ledger.database.begin_write().unwrap();
            write.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
            write.commit().unwrap();
        }
        let error = Ledger::open(directory.path()).unwrap_err();
        assert!(error.kind() == Kind::Precondition && error.to_string().contains("newer version"), "{error}");
    }
}
