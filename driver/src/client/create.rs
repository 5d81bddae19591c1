//! `hawser volume create` and `hawser volume clone`.

use std::collections::BTreeMap;

use hawser_proto::csi;
use hawser_proto::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use hawser_volume::{Bytes, Error, Result};

use super::call::{Answer, Call};
use super::capability::Usage;
use super::find::{Named, Typed};
use super::session::{Session, ToChange};
use super::volume::Volume;

/// A size without a unit below this is no size of a volume, but one in GiB, as REX-Ray took it.
const PLAIN_MIN: u64 = 1 << 20;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Its name. A volume that has the name already is refused without `--idempotent`.
    name: String,
    /// Its size, exactly: 10GiB. Without it the source's, or the driver's default.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<Bytes>,
    #[command(flatten)]
    made: Made,
    /// Its content: a snapshot, by id or name.
    #[arg(long, value_name = "SNAPSHOT", aliases = ["snapshotID", "snapshot-id"])]
    from_snapshot: Option<String>,
    /// Its content: another volume, by id or name.
    #[arg(long, value_name = "VOLUME", conflicts_with = "from_snapshot")]
    from_volume: Option<String>,
}

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Clone {
    /// The volume that is copied: an id, a name, or as much of one as means this volume alone.
    volume: String,
    /// The name of the copy.
    name: String,
    /// The size of the copy, exactly; not less than the original's. Without it the original's.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<Bytes>,
    #[command(flatten)]
    made: Made,
}

/// How it is made.
#[derive(Debug, clap::Args)]
struct Made {
    /// The backend of Hawser's driver. Without it the source's, or `driver.default-backend`.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    #[command(flatten)]
    usage: Usage,
    /// A parameter of CreateVolume, as in a StorageClass (docs/parameters.md). May be given several times.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = pair, aliases = ["opts", "opt"])]
    parameters: Vec<(String, String)>,
    // What REX-Ray called some of them.
    #[arg(long = "volumeType", alias = "volume-type", value_name = "TYPE", hide = true)]
    volume_type: Option<String>,
    #[arg(long, value_name = "N", hide = true)]
    iops: Option<u64>,
    #[arg(long = "availabilityZone", alias = "availability-zone", value_name = "ZONE", hide = true)]
    availability_zone: Option<String>,
    #[arg(long, hide = true)]
    encrypted: bool,
    #[arg(long = "encryptionKey", alias = "encryption-key", value_name = "KEY", hide = true)]
    encryption_key: Option<String>,
    /// A volume that has the name already is a success, if it is as it would be made.
    #[arg(short, long)]
    idempotent: bool,
    #[command(flatten)]
    common: ToChange,
}

pub(super) fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::invalid(format!("{text:?} must have the form KEY=VALUE"))),
    }
}

/// Reads a size. A small number without a unit is somebody's GiB, and not taken for bytes.
pub(super) fn size(text: &str) -> Result<Bytes> {
    let bytes: Bytes = text.parse()?;
    if text.trim().bytes().all(|b| b.is_ascii_digit()) && bytes.get() < PLAIN_MIN {
        return Err(Error::invalid(format!("{text} has no unit; write {text}GiB if that is what you mean, or {text}B")));
    }
    Ok(bytes)
}

impl Made {
    /// The parameters, with what has an option of its own. One that is given twice is refused.
    fn parameters(&self) -> Result<BTreeMap<String, String>> {
        let more = [
            ("backend", self.backend.clone()),
            ("type", self.volume_type.clone()),
            ("iops", self.iops.map(|iops| iops.to_string())),
            ("availabilityZone", self.availability_zone.clone()),
            ("encrypted", self.encrypted.then(|| "true".to_owned())),
            ("encryptionKey", self.encryption_key.clone()),
        ];
        let more = more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let mut parameters: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in self.parameters.iter().cloned().chain(more) {
            if parameters.keys().any(|known| known.eq_ignore_ascii_case(&key)) {
                return Err(Error::invalid(format!("parameter {key} is given twice")));
            }
            parameters.insert(key, value);
        }
        Ok(parameters)
    }
}

/// Makes a volume.
pub(super) async fn create(options: &Create) -> Result<()> {
    let session = options.made.common.open().await?;
    let source = match (&options.from_snapshot, &options.from_volume) {
        (Some(text), _) => {
            let snapshot = session.snapshot(text, Typed::Enough).await?;
            Some((Type::Snapshot(SnapshotSource { snapshot_id: snapshot.id.clone() }), snapshot.id, snapshot.bytes))
        }
        (None, Some(text)) => Some(of_volume(&session, session.volume(text, Typed::Enough).await?)?),
        (None, None) => None,
    };
    make(&session, &options.name, options.size, &options.made, source).await
}

/// Makes a copy of a volume.
pub(super) async fn clone(options: &Clone) -> Result<()> {
    let session = options.made.common.open().await?;
    let source = of_volume(&session, session.volume(&options.volume, Typed::Enough).await?)?;
    make(&session, &options.name, options.size, &options.made, Some(source)).await
}

/// A source of content, its id and its size.
type Content = (Type, String, Option<u64>);

fn of_volume(session: &Session, volume: Volume) -> Result<Content> {
    session.demand(session.driver.can.clone, "copy volumes", "CLONE_VOLUME")?;
    Ok((Type::Volume(VolumeSource { volume_id: volume.id.clone() }), volume.id, volume.bytes))
}

async fn make(session: &Session, name: &str, size: Option<Bytes>, made: &Made, source: Option<Content>) -> Result<()> {
    session.demand(session.driver.can.create, "make volumes", "CREATE_DELETE_VOLUME")?;
    if !made.idempotent && session.driver.can.list {
        let there = session.volumes().await?;
        if let Some(volume) = there.all.iter().find(|volume| volume.is_called(name)) {
            return Err(Error::already_exists(format!(
                "there is a volume {}, with what is in it; use another name, or --idempotent to take this one",
                volume.words()
            )));
        }
    }
    let mut parameters = made.parameters()?;
    let size = size.or_else(|| source.as_ref().and_then(|(_, _, bytes)| bytes.map(Bytes::new)));
    if let Some((_, id, _)) = &source
        && session.driver.is_own()
        && made.backend.is_none()
        && !parameters.keys().any(|key| key.eq_ignore_ascii_case("backend"))
        && let Some((backend, _)) = id.split_once(':')
    {
        // Content does not go from one backend to another, so there is no other that could be meant.
        parameters.insert("backend".to_owned(), backend.to_owned());
    }
    if let Some(filesystem) = made.usage.filesystem()
        && session.driver.is_own()
        && !parameters.keys().any(|key| key.eq_ignore_ascii_case("fsType"))
    {
        // A volume's capability is forgotten with the call that has it; whoever mounts the volume first need not say it again.
        parameters.insert("fsType".to_owned(), filesystem.to_string());
    }
    let request = csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: size.map(|size| csi::CapacityRange { required_bytes: size.to_proto(), limit_bytes: size.to_proto() }),
        volume_capabilities: vec![made.usage.capability()?],
        parameters,
        volume_content_source: source.map(|(source, _, _)| csi::VolumeContentSource { r#type: Some(source) }),
        ..Default::default()
    };
    let call = Call::CreateVolume(Box::new(request));
    if made.common.dry_run {
        return session.plan(&[call]);
    }
    let Answer::Volume(volume) = session.make(&call).await? else {
        return Err(Error::internal("CreateVolume answered without a volume"));
    };
    let id = volume.volume_id.clone();
    let made_now = csi::list_volumes_response::Entry { volume: Some(*volume), status: None };
    let Some(mut volume) = Volume::of(made_now, &session.driver) else {
        return Err(Error::internal("CreateVolume answered without a volume"));
    };
    volume.name.get_or_insert_with(|| name.to_owned());
    // The id alone, as REX-Ray's scripts and xargs want it.
    session.output.one(&volume, &id, &id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_large() {
        assert_eq!(size("10GiB").unwrap(), Bytes::gib(10));
        assert_eq!(size("512B").unwrap().get(), 512);
        assert_eq!(size("10737418240").unwrap(), Bytes::gib(10));
        assert_eq!(size("10").unwrap_err().to_string(), "10 has no unit; write 10GiB if that is what you mean, or 10B");
        assert!(size("ten").is_err());
    }
}
