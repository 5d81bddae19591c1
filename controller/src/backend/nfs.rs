//! The NFS backend: volumes below a directory that an NFS server exports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hawser_nfs::config::mode;
use hawser_nfs::record::Owner;
use hawser_nfs::{self as nfs, Export, OnDelete, given, options, template};
use hawser_volume::{
    AccessMode, BackendName, Bytes, Capabilities, Deadline, Error, Expansion, HostState, Kind, NodeId, ObjectName, Result,
    Secrets, SizeRange, SnapshotId, VolumeId, parameters,
};
use serde::Deserialize;

use crate::provision::{
    Attach, Capacity, CapacityQuery, Expanded, NewSnapshot, NewVolume, Page, Provisioner, PublishContext, Snapshot, Source,
    Volume, VolumeStatus,
};

/// The key under which the node finds the number of its attachment.
const EPOCH: &str = "epoch";

/// The key under which the node finds a volume's own mount options.
const MOUNT_OPTIONS: &str = "mountOptions";

/// Parameters of a StorageClass, profile or task for an NFS backend. The names are those of csi-driver-nfs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NfsParameters {
    /// The server; if given, it must be the backend's.
    server: Option<String>,
    /// The directory; if given, it must be the backend's.
    share: Option<String>,
    /// Where the volume's directory is below the export.
    sub_dir: Option<String>,
    /// `delete`, `retain` or `archive`.
    on_delete: Option<OnDelete>,
    /// The mode of the volume's directory, in octal.
    mount_permissions: Option<String>,
    /// Who owns the volume's directory.
    uid: Option<u32>,
    /// The group of the volume's directory.
    gid: Option<u32>,
    /// Mount options on nodes, separated by commas.
    mount_options: Option<String>,
}

/// Parameters of a VolumeSnapshotClass: there are none.
#[derive(Debug, Deserialize)]
struct SnapshotParameters {}

/// An export as a backend.
#[derive(Debug)]
pub struct Nfs {
    name: BackendName,
    export: Arc<Export>,
}

impl Nfs {
    /// The backend `name` over `export`.
    pub fn new(name: BackendName, export: Arc<Export>) -> Self {
        Self { name, export }
    }

    /// Runs `work` where it may block; it does so for a limited time only.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Arc<Export>) -> Result<T> + Send + 'static) -> Result<T> {
        // Known to be silent: not even a thread is needed to say so.
        self.export.ask()?;
        let export = Arc::clone(&self.export);
        match tokio::task::spawn_blocking(move || work(&export)).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("the call panicked; see the log").caused_by(error)),
        }
    }

    fn volume_of(&self, record: nfs::VolumeRecord) -> Result<Volume> {
        let source = record.origin.map(|origin| Source::of(&self.name, origin)).transpose()?;
        Ok(Volume {
            id: VolumeId::new(self.name.clone(), record.id)?,
            // CSI spec, Volume.capacity_bytes: zero is "unknown (e.g., NFS share)". A size that nothing enforces is none.
            size: if record.enforced { record.size } else { Bytes::ZERO },
            context: record.context,
            source,
            topology: Vec::new(),
        })
    }

    fn snapshot_of(&self, record: nfs::SnapshotRecord) -> Result<Snapshot> {
        Ok(Snapshot {
            created: record.created(),
            ready: record.is_ready(),
            source: VolumeId::new(self.name.clone(), record.source)?,
            size: record.size,
            group: None,
            id: SnapshotId::new(self.name.clone(), record.id)?,
        })
    }

    fn status(&self, record: nfs::VolumeRecord, trouble: Option<String>) -> Result<VolumeStatus> {
        let nodes = record.attachments.iter().map(|attachment| attachment.node.clone()).collect();
        Ok(VolumeStatus { volume: self.volume_of(record)?, nodes, trouble })
    }

    fn wanted(&self, new: NewVolume) -> Result<nfs::NewVolume> {
        let wrong = |error: Error| error.while_doing("parameters");
        let wishes: NfsParameters = parameters::read("parameters", &new.parameters)?;
        let config = self.export.config();
        self.must_be("parameters", "server", wishes.server.as_deref(), &config.server)?;
        self.must_be("parameters", "share", wishes.share.as_deref(), &config.path.display().to_string())?;
        let template = wishes.sub_dir.map(template::Template::try_from).transpose().map_err(wrong)?;
        let path = match template.as_ref().or(config.sub_dir.as_ref()) {
            Some(template) => Some(template.path(new.name.as_str(), &new.labels).map_err(wrong)?),
            None => None,
        };
        let mut context = new.context;
        if let Some(text) = wishes.mount_options {
            let flags: Vec<String> = text.split(',').map(|flag| flag.trim().to_owned()).filter(|flag| !flag.is_empty()).collect();
            options::parse("parameters: mountOptions", &flags)?;
            context.insert(MOUNT_OPTIONS.to_owned(), flags.join(","));
        }
        for access in new.accesses.iter().filter_map(|access| access.mount()) {
            options::parse("volume_capabilities: mount_flags", &access.flags)?;
        }
        let permissions = wishes.mount_permissions.as_deref().unwrap_or(&config.mount_permissions);
        Ok(nfs::NewVolume {
            name: new.name,
            range: new.range,
            path,
            origin: new.source.map(Into::into),
            on_delete: wishes.on_delete.unwrap_or(config.on_delete),
            owner: Owner {
                uid: wishes.uid,
                gid: wishes.gid,
                mode: mode(permissions).map_err(|e| wrong(e.while_doing("mountPermissions")))?,
            },
            context,
        })
    }

    /// The directory below the export that a static volume's context names: as csi-driver-nfs has it, `subDir` below `share`, which may
    /// itself be below the backend's export.
    fn directory_of(&self, context: &BTreeMap<String, String>) -> Result<Option<PathBuf>> {
        let value = |key: &str| {
            let found = context.iter().find(|(other, _)| other.eq_ignore_ascii_case(key));
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let config = self.export.config();
        self.must_be("volume_context", "server", value("server"), &config.server)?;
        let below = match value("share") {
            None => PathBuf::new(),
            Some(share) => match Path::new(share).strip_prefix(&config.path) {
                Ok(below) => below.to_owned(),
                Err(_) => {
                    return self
                        .must_be("volume_context", "share", Some(share), &config.path.display().to_string())
                        .map(|()| None);
                }
            },
        };
        let path = below.join(value("subDir").unwrap_or_default().trim_matches('/'));
        let text = path.display().to_string();
        let text = text.trim_end_matches('/');
        if text.is_empty() {
            return Ok(None);
        }
        template::checked(text).map(Some).map_err(|error| error.while_doing("volume_context: subDir"))
    }

    fn must_be(&self, field: &str, key: &str, given: Option<&str>, is: &str) -> Result<()> {
        match given {
            Some(given) if given != is => Err(Error::invalid(format!(
                "{field}: {key} is {given:?}, and backend {} has {is:?}; name the backend that has it with `backend`, or configure one",
                self.name
            ))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Provisioner for Nfs {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            modes: &AccessMode::ALL,
            block: false,
            filesystems: &[],
            attach: true,
            attach_read_only: true,
            expand: Some(Expansion::Online),
            snapshots: true,
            group_snapshots: false,
            clone: true,
            modify: false,
            capacity: true,
        }
    }

    async fn create(&self, new: NewVolume) -> Result<Volume> {
        let deadline = new.deadline;
        let wanted = self.wanted(new)?;
        let record = self.run(move |export| export.create_volume(&wanted, deadline)).await?;
        self.volume_of(record)
    }

    async fn delete(&self, id: &VolumeId, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        let native = id.native().to_owned();
        self.run(move |export| export.delete_volume(&native, deadline)).await
    }

    async fn attach(&self, attach: Attach) -> Result<PublishContext> {
        let directory = self.directory_of(&attach.context)?;
        let attachment = self
            .run(move |export| {
                let id = attach.id.native();
                if given::is_given(id) {
                    export.adopt(id, directory.as_deref(), attach.deadline).map_err(|error| match error.kind() {
                        // ControllerPublishVolume has another meaning of ALREADY_EXISTS.
                        Kind::AlreadyExists => error.with_kind(Kind::Precondition),
                        _ => error,
                    })?;
                }
                export.attach(id, &attach.node, &attach.access, attach.read_only, attach.deadline)
            })
            .await?;
        Ok(PublishContext::from([(EPOCH.to_owned(), attachment.epoch.to_string())]))
    }

    async fn detach(&self, id: &VolumeId, node: Option<&NodeId>, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        let (native, node) = (id.native().to_owned(), node.cloned());
        self.run(move |export| export.detach(&native, node.as_ref(), deadline)).await
    }

    /// A fresh lease proves that the holder lives. Nothing proves that it does not: the server goes on serving whoever it serves.
    async fn host_state(&self, id: &VolumeId, node: &NodeId, _deadline: Deadline) -> Result<HostState> {
        let native = id.native().to_owned();
        let leases = self.run(move |export| export.leases(&native)).await?;
        let lease = leases.iter().filter(|lease| lease.node == *node).min_by_key(|lease| lease.age.unwrap_or(Duration::MAX));
        Ok(match lease.map(|lease| (lease.is_fresh(), lease.age)) {
            Some((true, Some(age))) => HostState::Alive(format!("node {node} renewed its lease {} s ago", age.as_secs())),
            Some((_, Some(age))) => {
                HostState::Unknown(format!("node {node} has not renewed its lease for {} s, which proves nothing", age.as_secs()))
            }
            _ => HostState::Unknown(format!("node {node} has no lease of volume {id}")),
        })
    }

    async fn get(&self, id: &VolumeId) -> Result<VolumeStatus> {
        let native = id.native().to_owned();
        let (record, trouble) = self
            .run(move |export| {
                let record = export.volume(&native)?;
                let trouble = export.volume_trouble(&record)?;
                Ok((record, trouble))
            })
            .await?;
        self.status(record, trouble)
    }

    async fn list(&self, after: Option<&str>, max: usize) -> Result<Page<VolumeStatus>> {
        let after = after.map(str::to_owned);
        let page = self.run(move |export| export.volumes_with_trouble(after.as_deref(), max)).await?;
        let items = page.items.into_iter().map(|(record, trouble)| self.status(record, trouble)).collect::<Result<_>>()?;
        Ok(Page { items, next: page.next })
    }

    async fn capacity(&self, query: CapacityQuery) -> Result<Capacity> {
        parameters::read::<NfsParameters>("parameters", &query.parameters)?;
        let capacity = self.run(|export| export.capacity()).await?;
        Ok(Capacity { available: capacity.available, min_volume: None, max_volume: None })
    }

    async fn expand(&self, id: &VolumeId, range: SizeRange, _secrets: &Secrets, _deadline: Deadline) -> Result<Expanded> {
        let native = id.native().to_owned();
        let size = self.run(move |export| export.expand_volume(&native, range)).await?;
        Ok(Expanded { size, node_must_follow: false })
    }

    async fn snapshot(&self, name: &ObjectName, source: &VolumeId, new: NewSnapshot) -> Result<Snapshot> {
        parameters::read::<SnapshotParameters>("parameters", &new.parameters)?;
        let (name, source) = (name.clone(), source.native().to_owned());
        let record = self.run(move |export| export.create_snapshot(&name, &source, new.deadline)).await?;
        self.snapshot_of(record)
    }

    async fn delete_snapshot(&self, id: &SnapshotId, _secrets: &Secrets, deadline: Deadline) -> Result<()> {
        let native = id.native().to_owned();
        self.run(move |export| export.delete_snapshot(&native, deadline)).await
    }

    async fn get_snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        let native = id.native().to_owned();
        let record = self.run(move |export| export.snapshot(&native)).await?;
        self.snapshot_of(record)
    }

    async fn list_snapshots(&self, source: Option<&VolumeId>, after: Option<&str>, max: usize) -> Result<Page<Snapshot>> {
        if source.is_some_and(|source| *source.backend() != self.name) {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let (source, after) = (source.map(|id| id.native().to_owned()), after.map(str::to_owned));
        let page = self.run(move |export| export.snapshots(source.as_deref(), after.as_deref(), max)).await?;
        let items = page.items.into_iter().map(|record| self.snapshot_of(record)).collect::<Result<_>>()?;
        Ok(Page { items, next: page.next })
    }
}
