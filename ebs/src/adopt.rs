//! A volume that something else made gets the name under which COs ask for it.
//!
//! REX-Ray knew a volume by its tag `Name`, and anybody may write that. What Hawser finds a volume by is a tag of its own, so that a name
//! leads to one volume; an operator writes it, who knows which volume is meant.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hawser_volume::error::shown;
use hawser_volume::{Deadline, Error, ObjectName, Result};

use crate::client::Ec2;
use crate::label;
use crate::volume::{Volume, VolumeState};

/// How often EC2 is asked whether it lists the volume by its name.
const PAUSE: Duration = Duration::from_millis(500);

/// What adopting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// The name was written.
    Written,
    /// The volume had it already.
    Known,
}

impl Ec2 {
    /// Lets the volume `id` be found under `name` in `cluster`, and returns when it is: EC2 lists what was written some seconds later, for
    /// which `listed_within` is allowed. Nothing of the volume itself is changed.
    ///
    /// `NotFound` without such a volume; `AlreadyExists` when it has another name or belongs to another cluster, or another volume has
    /// this name; `Precondition` for a volume that is being made or deleted; `Unavailable` when it is not listed in time. The same call
    /// again is success.
    pub async fn adopt(
        &self,
        cluster: &str,
        id: &str,
        name: &ObjectName,
        listed_within: Duration,
        deadline: Deadline,
    ) -> Result<Adoption> {
        let what = || format!("adopt volume {id} as {}", shown(name.as_str()));
        let named = label::named(cluster, name);
        let volume = self.describe_volumes("volume-id", &[id.to_owned()], deadline).await;
        let volume = volume.map_err(|refusal| refusal.while_doing(what()))?.into_iter().find(|volume| volume.id == id);
        let volume = volume.ok_or_else(|| Error::not_found(format!("{}: there is no such volume in this region", what())))?;
        if !matches!(volume.state, VolumeState::Available | VolumeState::InUse) {
            return Err(Error::precondition(format!("{}: it is being made, or is gone", what())));
        }
        match volume.tags.get(label::VOLUME) {
            Some(known) if *known == named => {}
            Some(_) => {
                let known = volume.tags.get(label::VOLUME_NAME).map_or("another name", String::as_str);
                return Err(Error::already_exists(format!(
                    "{}: it has a name already, {}, perhaps of another cluster; a volume has one",
                    what(),
                    shown(known)
                )));
            }
            None => {}
        }
        if let Some(other) = self.listed(&named, deadline, what).await?.iter().find(|other| other.id != id) {
            return Err(Error::already_exists(format!(
                "{}: volume {} has this name; delete that one if nothing is in it, or use another name",
                what(),
                other.id
            )));
        }
        let is_known = volume.tags.contains_key(label::VOLUME);
        if !is_known {
            let mut tags = volume.tags.clone();
            let own = own(&named, name);
            tags.extend(own.clone());
            label::count(&tags).map_err(|error| error.while_doing(what()))?;
            self.create_tags(id, &own, deadline).await.map_err(|refusal| refusal.while_doing(what()))?;
        }
        let until = Instant::now() + listed_within;
        loop {
            let listed = self.listed(&named, deadline, what).await?;
            if let Some(other) = listed.iter().find(|other| other.id != id) {
                return Err(Error::already_exists(format!(
                    "{}: volume {} got this name at the same time; the older of the two is used from now on",
                    what(),
                    other.id
                )));
            }
            if !listed.is_empty() {
                return Ok(if is_known { Adoption::Known } else { Adoption::Written });
            }
            if Instant::now() >= until || deadline.passed() {
                return Err(Error::unavailable(format!(
                    "{}: the name is written, and EC2 does not list it yet; do it again",
                    what()
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The volumes that there are under a name.
    async fn listed(&self, named: &str, deadline: Deadline, what: impl Fn() -> String) -> Result<Vec<Volume>> {
        let listed = self.describe_volumes(&format!("tag:{}", label::VOLUME), &[named.to_owned()], deadline).await;
        let mut listed = listed.map_err(|refusal| refusal.while_doing(what()))?;
        listed.retain(|volume| !matches!(volume.state, VolumeState::Deleting | VolumeState::Deleted | VolumeState::Error));
        Ok(listed)
    }
}

/// What is written on a volume that is adopted.
fn own(named: &str, name: &ObjectName) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::VOLUME.to_owned(), named.to_owned()),
        (label::ASKED.to_owned(), label::ADOPTED.to_owned()),
        (label::VOLUME_NAME.to_owned(), name.as_str().to_owned()),
        (label::MANAGED.0.to_owned(), label::MANAGED.1.to_owned()),
        (format!("{}name", label::CONTEXT), name.as_str().to_owned()),
    ])
}
