//! `hawser volume snapshot` and `hawser snapshot ls|rm`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hawser_proto::csi;
use hawser_volume::{Bytes, Error, Kind, NativeId, ObjectName, Result};
use serde::Serialize;

use super::call::{Answer, Call};
use super::find::{Listed, Named, Typed, doomed};
use super::session::{Session, ToChange, ToRead};
use super::table::Table;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Take {
    /// The volume: an id, a name, or as much of one as means this volume alone.
    volume: String,
    /// The name of the snapshot. A snapshot of this volume that has it already is a success: it is as it was.
    #[arg(value_name = "NAME")]
    name: String,
    /// A parameter of CreateSnapshot, as in a VolumeSnapshotClass. May be given several times.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = super::create::pair)]
    parameters: Vec<(String, String)>,
    #[command(flatten)]
    common: ToChange,
}

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those of this volume.
    #[arg(long, value_name = "VOLUME")]
    volume: Option<String>,
    #[command(flatten)]
    common: ToRead,
}

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// The snapshots, each by its full id or its full name. A part is refused: what is deleted is gone.
    #[arg(required = true)]
    snapshots: Vec<String>,
    /// A snapshot that does not exist is a success.
    #[arg(short, long)]
    idempotent: bool,
    #[command(flatten)]
    common: ToChange,
}

/// A snapshot. The fields are those of the JSON output.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Snapshot {
    pub(super) id: String,
    /// The volume that it was cut from, which may be gone.
    pub(super) volume: String,
    /// The least size of a volume that is made of it; nothing when the driver does not say.
    pub(super) bytes: Option<u64>,
    /// When it was cut, in RFC 3339.
    pub(super) created: Option<String>,
    /// Whether volumes can be made of it.
    pub(super) ready: bool,
    /// The group that it belongs to.
    pub(super) group: Option<String>,
}

impl Named for Snapshot {
    fn id(&self) -> &str {
        &self.id
    }

    // CSI has no place for it.
    fn name(&self) -> Option<&str> {
        None
    }

    /// In the ids of backends that name objects themselves is the digest of the name.
    fn is_called(&self, text: &str) -> bool {
        let native = self.id.split_once(':').and_then(|(_, native)| NativeId::parse(native));
        native.is_some_and(|native| text.parse::<ObjectName>().is_ok_and(|name| name.digest() == native.digest))
    }
}

impl From<csi::Snapshot> for Snapshot {
    fn from(snapshot: csi::Snapshot) -> Self {
        let created = snapshot.creation_time.and_then(|time| {
            let since = Duration::new(u64::try_from(time.seconds).ok()?, u32::try_from(time.nanos).ok()?);
            let time: SystemTime = UNIX_EPOCH.checked_add(since)?;
            // What is later than the year 9999 cannot be written.
            (since.as_secs() < 253_402_300_800).then(|| humantime::format_rfc3339_seconds(time).to_string())
        });
        Self {
            id: snapshot.snapshot_id,
            volume: snapshot.source_volume_id,
            bytes: u64::try_from(snapshot.size_bytes).ok().filter(|bytes| *bytes > 0),
            created,
            ready: snapshot.ready_to_use,
            group: (!snapshot.group_snapshot_id.is_empty()).then_some(snapshot.group_snapshot_id),
        }
    }
}

impl Session {
    async fn snapshots(&self, volume: Option<&str>) -> Result<Listed<Snapshot>> {
        let _shown = self.progress.during("ListSnapshots");
        let partly = self.driver.snapshots(volume, self.asking()).await?;
        let mut listed = Listed::of("snapshot", partly, |snapshot| Some(Snapshot::from(snapshot)));
        listed.all.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(listed)
    }

    /// The snapshot that is meant by `text`. A driver that cannot list is believed to have every id.
    pub(super) async fn snapshot(&self, text: &str, typed: Typed) -> Result<Snapshot> {
        if self.driver.can.list_snapshots {
            return self.snapshots(None).await?.find("snapshot", text, typed).cloned();
        }
        if text.is_empty() {
            return Err(Error::invalid("the name of the snapshot is empty; give an id"));
        }
        Ok(Snapshot { id: text.to_owned(), volume: String::new(), bytes: None, created: None, ready: true, group: None })
    }
}

/// Takes a snapshot.
pub(super) async fn take(options: &Take) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(session.driver.can.snapshots, "take snapshots", "CREATE_DELETE_SNAPSHOT")?;
    let volume = session.volume(&options.volume, Typed::Enough).await?;
    let request = csi::CreateSnapshotRequest {
        source_volume_id: volume.id.clone(),
        name: options.name.clone(),
        parameters: options.parameters.iter().cloned().collect(),
        ..Default::default()
    };
    let call = Call::CreateSnapshot(Box::new(request));
    if options.common.dry_run {
        return session.plan(&[call]);
    }
    let Answer::Snapshot(snapshot) = session.make(&call).await? else {
        return Err(Error::internal("CreateSnapshot answered without a snapshot"));
    };
    let snapshot = Snapshot::from(*snapshot);
    session.output.one(&snapshot, &snapshot.id, &snapshot.id)
}

/// Lists.
pub(super) async fn list(options: &List) -> Result<()> {
    let session = options.common.open().await?;
    let volume = match &options.volume {
        None => None,
        Some(text) => match session.volume(text, Typed::Enough).await {
            Ok(volume) => Some(volume.id),
            // Snapshots outlive their volumes.
            Err(error) if error.kind() == Kind::NotFound => Some(text.clone()),
            Err(error) => return Err(error),
        },
    };
    let listed = session.snapshots(volume.as_deref()).await?;
    session.output.list(&listed.all, |snapshot| &snapshot.id, table)?;
    listed.all_there()
}

fn table(all: &[Snapshot]) -> Table {
    let mut table = Table::new(["ID", "VOLUME", "SIZE", "CREATED", "READY"]);
    for snapshot in all {
        table.row([
            snapshot.id.clone(),
            snapshot.volume.clone(),
            snapshot.bytes.map(|bytes| Bytes::new(bytes).to_string()).unwrap_or_default(),
            snapshot.created.clone().unwrap_or_default(),
            if snapshot.ready { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table
}

/// Deletes.
pub(super) async fn remove(options: &Remove) -> Result<()> {
    let session = options.common.open().await?;
    session.demand(session.driver.can.snapshots, "delete snapshots", "CREATE_DELETE_SNAPSHOT")?;
    let doomed = doomed(&options.snapshots, options.idempotent, async |text| session.snapshot(text, Typed::Whole).await).await?;
    if let Some(member) = doomed.iter().find(|snapshot| snapshot.group.is_some()) {
        return Err(Error::precondition(format!(
            "nothing is deleted: snapshot {} belongs to the group {}, without which it cannot be deleted; its CO deletes the group",
            member.id,
            member.group.as_deref().unwrap_or_default()
        )));
    }
    let calls: Vec<Call> = doomed.iter().map(|snapshot| Call::DeleteSnapshot(snapshot.id.clone())).collect();
    if options.common.dry_run {
        return session.plan(&calls);
    }
    for call in &calls {
        session.make(call).await?;
    }
    session.output.done(
        &doomed,
        |snapshot| &snapshot.id,
        |all| {
            let mut table = Table::new(["DELETED", "VOLUME"]);
            for snapshot in all {
                table.row([snapshot.id.clone(), snapshot.volume.clone()]);
            }
            table
        },
        "there is no such snapshot; nothing is to be deleted",
    )
}
