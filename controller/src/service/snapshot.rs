//! Snapshots: create, delete, list, get.

use hawser_proto::csi;
use hawser_volume::queue::Key;
use hawser_volume::{Deadline, Error, Kind, ObjectName, Result, SnapshotId, VolumeId, parameters, request};
use prost::Message;

use super::{Inner, answer, page, volume, work_deadline};
use crate::provision::{NewSnapshot, Snapshot};

pub(super) async fn create_snapshot(
    inner: &Inner,
    request: csi::CreateSnapshotRequest,
    deadline: Deadline,
) -> Result<csi::CreateSnapshotResponse> {
    let encoded = request.encode_to_vec();
    let name: ObjectName = request.name.parse()?;
    let source: VolumeId = request::id("source_volume_id", &request.source_volume_id)?;
    let new = NewSnapshot {
        parameters: request::parameters("parameters", &request.parameters)?,
        labels: parameters::co_keys(&request.parameters),
        secrets: request::secrets(request.secrets)?,
        deadline: work_deadline(),
    };
    let backend = inner.backends.owner(source.backend())?.clone();
    if !backend.capabilities().snapshots {
        return Err(Error::unsupported(format!("snapshot {source}: backend {} has no snapshots", source.backend())));
    }
    let keys = [Key::within("snapshot-name", source.backend().to_string(), name.to_string()), volume::key(&source)];
    let work = async move {
        let snapshot = backend.snapshot(&name, &source, new).await?;
        Ok(csi::CreateSnapshotResponse { snapshot: Some(answer::snapshot(snapshot)) })
    };
    inner.snapshot.run(keys, &encoded, deadline, work).await
}

pub(super) async fn delete_snapshot(
    inner: &Inner,
    request: csi::DeleteSnapshotRequest,
    deadline: Deadline,
) -> Result<csi::DeleteSnapshotResponse> {
    let encoded = request.encode_to_vec();
    let id = match request::id::<SnapshotId>("snapshot_id", &request.snapshot_id) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(csi::DeleteSnapshotResponse {}),
        id => id?,
    };
    let secrets = request::secrets(request.secrets)?;
    let backend = inner.backends.owner(id.backend())?.clone();
    let keys = [Key::new("snapshot", id.to_string())];
    let work = async move {
        backend.delete_snapshot(&id, &secrets, work_deadline()).await?;
        Ok(csi::DeleteSnapshotResponse {})
    };
    inner.delete_snapshot.run(keys, &encoded, deadline, work).await
}

fn entry(snapshot: Snapshot) -> csi::list_snapshots_response::Entry {
    csi::list_snapshots_response::Entry { snapshot: Some(answer::snapshot(snapshot)) }
}

pub(super) async fn list_snapshots(
    inner: &Inner,
    request: csi::ListSnapshotsRequest,
    _deadline: Deadline,
) -> Result<csi::ListSnapshotsResponse> {
    let max = request::max_entries(request.max_entries)?;
    let token = page::Token::parse(&request.starting_token, &inner.backends)?;
    let source = filter::<VolumeId>("source_volume_id", &request.source_volume_id)?;
    if let Filter::Id(id) = filter::<SnapshotId>("snapshot_id", &request.snapshot_id)? {
        let backend = inner.backends.owner(id.backend());
        let found = match backend {
            Ok(backend) => backend.get_snapshot(&id).await,
            Err(error) => Err(error.with_kind(Kind::NotFound)),
        };
        return match found {
            Ok(snapshot) if !source.excludes(&snapshot.source) => {
                Ok(csi::ListSnapshotsResponse { entries: vec![entry(snapshot)], next_token: String::new() })
            }
            Ok(_) => Ok(csi::ListSnapshotsResponse::default()),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unsupported) => Ok(csi::ListSnapshotsResponse::default()),
            Err(error) => Err(error),
        };
    }
    if matches!(source, Filter::Nothing) || matches!(filter::<SnapshotId>("snapshot_id", &request.snapshot_id)?, Filter::Nothing)
    {
        return Ok(csi::ListSnapshotsResponse::default());
    }
    let wanted = source.id();
    // A snapshot is where its volume is: no other backend is asked, and may be away.
    let token = match wanted {
        Some(volume) => token.within(volume.backend()),
        None => token,
    };
    let (items, next_token) = page::collect(&inner.backends, token, max, |backend, after, max| async move {
        backend.list_snapshots(wanted, after.as_deref(), max).await
    })
    .await?;
    Ok(csi::ListSnapshotsResponse { entries: items.into_iter().map(entry).collect(), next_token })
}

/// What a caller asked to see.
enum Filter<T> {
    /// Everything.
    All,
    /// One object.
    Id(T),
    /// An object that cannot exist.
    Nothing,
}

impl<T: PartialEq> Filter<T> {
    fn excludes(&self, other: &T) -> bool {
        match self {
            Filter::All => false,
            Filter::Id(id) => id != other,
            Filter::Nothing => true,
        }
    }

    fn id(&self) -> Option<&T> {
        match self {
            Filter::Id(id) => Some(id),
            Filter::All | Filter::Nothing => None,
        }
    }
}

fn filter<T: std::str::FromStr<Err = Error>>(field: &str, text: &str) -> Result<Filter<T>> {
    if text.is_empty() {
        return Ok(Filter::All);
    }
    match request::id(field, text) {
        Ok(id) => Ok(Filter::Id(id)),
        Err(error) if error.kind() == Kind::NotFound => Ok(Filter::Nothing),
        Err(error) => Err(error),
    }
}

pub(super) async fn get_snapshot(
    inner: &Inner,
    request: csi::GetSnapshotRequest,
    _deadline: Deadline,
) -> Result<csi::GetSnapshotResponse> {
    let id: SnapshotId = request::id("snapshot_id", &request.snapshot_id)?;
    let snapshot = inner.backends.owner(id.backend())?.get_snapshot(&id).await?;
    Ok(csi::GetSnapshotResponse { snapshot: Some(answer::snapshot(snapshot)) })
}
