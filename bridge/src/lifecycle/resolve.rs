//! Which volume a claim means: found, or made.

use hawser_proto::csi;
use hawser_volume::{BackendName, Deadline, Error, Kind, ObjectName, Result};

use super::Inner;
use crate::claim::{BACKEND, ClaimedVolume, ContentSource, NamedVolume, VolumeClaim};
use crate::ledger::Made;

/// The key of a volume context under which Hawser says what name a volume was made under. Other drivers that list their volumes
/// may say it too, or use the name as the id.
pub(super) const NAME: &str = "name";

impl Inner {
    /// The volume that `claim` means, made if it may be and is not there. `known` is what it came to before.
    ///
    /// What a volume has already is kept: a size or a parameter that was declared matters when a volume is made, not later.
    pub(super) async fn resolve(&self, claim: &VolumeClaim, known: Option<Made>, deadline: Deadline) -> Result<Made> {
        let named = match &claim.volume {
            ClaimedVolume::Existing(existing) => {
                return Ok(Made { id: existing.id.to_string(), context: existing.context.clone() });
            }
            ClaimedVolume::Named(named) => named,
        };
        if let Some(made) = known {
            return Ok(made);
        }
        let name = named.name.fixed().ok_or_else(|| {
            Error::invalid(format!(
                "the volume name {} depends on the task's framework and slot, which this way of asking does not tell; name the volume",
                named.name.as_str()
            ))
        })?;
        // Where it would be made: a volume of the same name on another backend is another one.
        let backend = claim.backend.as_ref().map(BackendName::as_str);
        let home = backend.or_else(|| self.driver.default_backend());
        let source = self.source(named, home, deadline).await?;
        let Some(mut request) = claim.create_request(&name, source) else {
            return self.existing(&name, named, backend, deadline).await;
        };
        // Said, so that it is made where it is looked for, also if the driver has got another default since it was asked.
        if let Some(home) = home {
            request.parameters.entry(BACKEND.to_owned()).or_insert_with(|| home.to_owned());
        }
        match self.driver.create(request, deadline).await {
            Ok(volume) => Ok(Made { id: volume.volume_id, context: volume.volume_context }),
            // It was made with other wishes, or has grown since. It is this name's volume all the same.
            Err(error) if error.kind() == Kind::AlreadyExists => match self.find(&name, home, deadline).await {
                Ok(Some(made)) => {
                    tracing::warn!(volume = made.id, claim = %name, said = %error, "the volume exists with other properties than declared; it is used as it is");
                    Ok(made)
                }
                Ok(None) | Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn existing(&self, name: &ObjectName, named: &NamedVolume, backend: Option<&str>, deadline: Deadline) -> Result<Made> {
        let why = match named.size {
            None => "no size is declared, so it cannot be made",
            Some(_) => "it is not to be made (create: never)",
        };
        match self.find(name, backend, deadline).await? {
            Some(made) => Ok(made),
            None => Err(Error::not_found(format!("volume {name} does not exist, and {why}"))),
        }
    }

    /// The volume that was made under `name`, as far as the driver's list tells: on this backend, or else on the default one, or else on
    /// the only one that has it. `Precondition` when several volumes are called so: none of them is guessed to be meant.
    pub(super) async fn find(&self, name: &ObjectName, backend: Option<&str>, deadline: Deadline) -> Result<Option<Made>> {
        let name = name.as_str();
        let mut found = match self.driver.default_backend().filter(|_| backend.is_none()) {
            Some(default) => self.driver.called(name, NAME, Some(default), deadline).await?,
            None => Vec::new(),
        };
        if found.is_empty() {
            found = self.driver.called(name, NAME, backend, deadline).await?;
        }
        // An id is one volume's alone.
        if let Some(index) = found.iter().position(|volume| volume.volume_id == name) {
            found = vec![found.swap_remove(index)];
        }
        if found.len() > 1 {
            let ids: Vec<String> = found.into_iter().map(|volume| volume.volume_id).collect();
            return Err(Error::precondition(format!(
                "{} volumes are called {name}: {}; say which is meant by its id, or by the option `backend` where they are on several",
                ids.len(),
                ids.join(", ")
            )));
        }
        Ok(found.pop().map(|volume| Made { id: volume.volume_id, context: volume.volume_context }))
    }

    async fn source(
        &self,
        named: &NamedVolume,
        home: Option<&str>,
        deadline: Deadline,
    ) -> Result<Option<csi::VolumeContentSource>> {
        let Some(source) = &named.source else { return Ok(None) };
        if let Some(source) = source.to_proto() {
            return Ok(Some(source));
        }
        match source {
            ContentSource::VolumeName(name) => match self.find(name, home, deadline).await? {
                Some(made) => {
                    let source = csi::volume_content_source::VolumeSource { volume_id: made.id };
                    let source = csi::volume_content_source::Type::Volume(source);
                    Ok(Some(csi::VolumeContentSource { r#type: Some(source) }))
                }
                None => Err(Error::not_found(format!("the volume {name}, which is to be copied, does not exist"))),
            },
            other => Err(Error::unsupported(format!("{other} cannot be found: CSI lists snapshots by id; give its id"))),
        }
    }
}
