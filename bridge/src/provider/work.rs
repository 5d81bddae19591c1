//! What an operation asks for, and the work that it takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_proto::csi::CreateVolumeRequest;
use hawser_proto::mesos::v1::offer::operation::{CreateDisk, DestroyDisk, Type};
use hawser_proto::mesos::v1::resource::disk_info;
use hawser_proto::mesos::v1::{Resource, offer};
use hawser_volume::{Access, Deadline, Error, Kind, ObjectName, Result};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use uuid::Uuid;

use super::config::ProviderConfig;
use super::resource::{Conversion, check_owner, conversions, described, disk_id, size, source, with_source};
use super::rivals::Rivals;
use super::state::{Outcome, State};
use crate::lifecycle::Lifecycle;

/// What `http::encode` of libprocess encodes (3rdparty/libprocess/src/http.cpp): Mesos makes paths of the ids of disks with it.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b'$')
    .add(b'&')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'?')
    .add(b'@')
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'#')
    .add(b'%')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'~')
    .add(b'[')
    .add(b']')
    .add(b'`');

/// The pause before a volume whose fate is uncertain is asked for again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is to be done for an operation.
#[derive(Debug)]
pub(super) enum Work {
    /// Nothing more: it is done, or refused.
    Done(Result<Outcome>),
    /// Calls to the storage.
    Slow(Slow),
}

/// An operation on the storage.
#[derive(Debug, Clone)]
pub(super) enum Slow {
    /// A disk is to be made of space.
    Make(Box<Make>),
    /// A disk is to be deleted.
    Delete(Box<Delete>),
}

/// A volume that is to be made, and what space becomes with it.
#[derive(Debug, Clone)]
pub(super) struct Make {
    name: ObjectName,
    request: CreateVolumeRequest,
    access: Access,
    source: Resource,
    becomes: disk_info::Source,
}

/// A volume that is to be deleted, and what its disk becomes.
#[derive(Debug, Clone)]
pub(super) struct Delete {
    id: String,
    conversion: Conversion,
}

/// Where Mesos looks for disks.
pub(super) fn target(root: &Path, id: &str) -> PathBuf {
    root.join(utf8_percent_encode(id, ENCODED).to_string()).join("target")
}

impl State {
    /// What `info` takes, as things stand.
    pub(super) fn work(&self, uuid: Uuid, info: &offer::Operation, config: &ProviderConfig, root: &Path, vendor: &str) -> Work {
        match info.r#type() {
            Type::CreateDisk => match info.create_disk.as_ref() {
                Some(create) => self.create(uuid, create, config, root, vendor).unwrap_or_else(|error| Work::Done(Err(error))),
                None => Work::Done(Err(Error::invalid("the operation has no create_disk"))),
            },
            Type::DestroyDisk => match info.destroy_disk.as_ref() {
                Some(destroy) => self.destroy(destroy, config).unwrap_or_else(|error| Work::Done(Err(error))),
                None => Work::Done(Err(Error::invalid("the operation has no destroy_disk"))),
            },
            _ => Work::Done(self.convert(info)),
        }
    }

    fn owner(&self) -> &str {
        self.registration.as_ref().map_or("", |registration| &registration.provider)
    }

    /// What agent and master have done already.
    fn convert(&self, info: &offer::Operation) -> Result<Outcome> {
        let conversions = conversions(info)?;
        let mut leftovers = Vec::new();
        for conversion in &conversions {
            check_owner(&conversion.consumed, self.owner())?;
            if info.r#type() == Type::Destroy {
                leftovers.extend(disk_id(&conversion.consumed).map(str::to_owned));
            }
        }
        Ok(Outcome { conversions, leftovers, ..Outcome::default() })
    }

    fn create(&self, uuid: Uuid, create: &CreateDisk, config: &ProviderConfig, root: &Path, vendor: &str) -> Result<Work> {
        let from = &create.source;
        check_owner(from, self.owner())?;
        self.totals().check(from)?;
        let of = source(from).ok_or_else(|| Error::invalid(format!("{} is no space for disks", described(from))))?;
        if of.r#type() != disk_info::source::Type::Raw {
            return Err(Error::invalid(format!("{} is a disk already", described(from))));
        }
        let is_block = match create.target_type() {
            disk_info::source::Type::Mount => false,
            disk_info::source::Type::Block => true,
            other => {
                return Err(Error::invalid(format!("a disk cannot be made as {}; ask for MOUNT or BLOCK", other.as_str_name())));
            }
        };
        let profile = of.profile.as_deref().or(create.target_profile.as_deref()).unwrap_or_default();
        let pool = config.pools.get(profile).ok_or_else(|| {
            Error::invalid(format!(
                "there is no profile {profile:?}; this agent has {:?}",
                config.pools.keys().collect::<Vec<_>>()
            ))
        })?;
        let mount = (!is_block).then(|| disk_info::source::Mount { root: Some(root.display().to_string()) });
        let becomes = disk_info::Source {
            r#type: create.target_type,
            mount,
            profile: Some(profile.to_owned()),
            vendor: of.vendor.clone().or_else(|| Some(vendor.to_owned())),
            ..of.clone()
        };
        match &of.id {
            // It was there before, with what is in it.
            Some(id) => {
                let known = self.disk(id).ok_or_else(|| Error::not_found(format!("there is no disk {id}")))?;
                let conversion = Conversion { consumed: from.clone(), converted: Some(with_source(from, becomes)) };
                let disk = Some((id.clone(), known.context.clone(), pool.access(is_block)));
                Ok(Work::Done(Ok(Outcome { conversions: vec![conversion], disk, ..Outcome::default() })))
            }
            None => {
                let name = format!("mesos-{uuid}").parse()?;
                let (request, access) = (pool.request(size(from)?, is_block), pool.access(is_block));
                Ok(Work::Slow(Slow::Make(Box::new(Make { name, request, access, source: from.clone(), becomes }))))
            }
        }
    }

    fn destroy(&self, destroy: &DestroyDisk, config: &ProviderConfig) -> Result<Work> {
        let from = &destroy.source;
        check_owner(from, self.owner())?;
        self.totals().check(from)?;
        let of = source(from).ok_or_else(|| Error::invalid(format!("{} is no disk", described(from))))?;
        let id = of.id.clone().ok_or_else(|| Error::invalid(format!("{} is space and no disk", described(from))))?;
        if from.disk.as_ref().is_some_and(|disk| disk.persistence.is_some()) {
            return Err(Error::precondition(format!("{id} is a persistent volume; DESTROY it before its disk")));
        }
        // Of a profile that is not offered any more nothing can be made.
        let is_offered = of.profile.as_ref().is_some_and(|profile| config.pools.contains_key(profile));
        let space = disk_info::Source {
            r#type: disk_info::source::Type::Raw.into(),
            profile: of.profile.clone(),
            vendor: of.vendor.clone(),
            ..disk_info::Source::default()
        };
        let conversion = Conversion { consumed: from.clone(), converted: is_offered.then(|| with_source(from, space)) };
        Ok(Work::Slow(Slow::Delete(Box::new(Delete { id, conversion }))))
    }
}

impl Slow {
    /// Does it. As long as it is uncertain whether the storage has done it, it is asked again: a volume that nobody knows of would be
    /// lost, and so would be the one that a disk stands for.
    pub(super) async fn run(self, lifecycle: &Lifecycle, rivals: Option<&Rivals>) -> Result<Outcome> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.attempt(lifecycle, rivals).await {
                Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded | Kind::Internal) => {
                    tracing::warn!(error = error.chain(), "an operation of Mesos is not done yet; trying again in {pause:?}");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, lifecycle: &Lifecycle, rivals: Option<&Rivals>) -> Result<Outcome> {
        match self {
            Slow::Make(make) => {
                let Make { name, request, access, source, becomes } = &**make;
                let made = lifecycle.make_disk(name, request.clone()).await?;
                let becomes = disk_info::Source { id: Some(made.id.clone()), ..becomes.clone() };
                let conversion = Conversion { consumed: source.clone(), converted: Some(with_source(source, becomes)) };
                let disk = Some((made.id, made.context, access.clone()));
                Ok(Outcome { conversions: vec![conversion], disk, ..Outcome::default() })
            }
            Slow::Delete(delete) => {
                let Delete { id, conversion } = &**delete;
                // This agent may have been away, for long, since it was asked: the volume may be another one's, with data.
                if let Some(rivals) = rivals {
                    rivals.refuse(id).await?;
                }
                lifecycle.delete_disk(id, Deadline::after(DELETE)).await?;
                Ok(Outcome { conversions: vec![conversion.clone()], ..Outcome::default() })
            }
        }
    }
}

/// How long one attempt to delete a disk is waited for; the work goes on.
const DELETE: Duration = Duration::from_secs(600);
