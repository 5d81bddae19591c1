//! How much space there is to make disks of: measured, and compared with what is offered.

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_proto::mesos::v1::resource::{DiskInfo, disk_info};
use hawser_proto::mesos::v1::{Resource, ResourceProviderId, value};
use hawser_volume::{Bytes, Deadline, Result};

use super::Provider;
use super::config::Pool;
use super::disks::DiskEntry;
use super::resource::{mebibytes, size, source};
use super::session::Session;
use super::state::is_pending;

/// How long the storage may take to say what is free.
const CAPACITY: Duration = Duration::from_secs(20);

impl Session<'_> {
    /// Compares the space with what each profile has. Whether it changed. While an operation is under way nothing is changed: the agent
    /// would drop what it asks for next, and the storage counts what is being made.
    pub(super) async fn measure(&mut self) -> bool {
        if self.state.operations().any(|(_, operation)| is_pending(operation)) {
            return false;
        }
        let mut wanted = Vec::new();
        for (profile, pool) in &self.provider.config.pools {
            match self.free(profile, pool).await {
                Ok(Some(free)) => wanted.push((profile.clone(), free)),
                Ok(None) => {}
                // What was offered before goes on being offered.
                Err(error) => tracing::warn!(profile, error = error.chain(), "could not find out how much a profile has"),
            }
        }
        let (provider, owner) = (self.provider, self.caller.id().clone());
        let changed = self.state.change_space(|totals| {
            let offered: BTreeSet<&String> = provider.config.pools.keys().collect();
            totals.retain_space(|source| source.profile.as_ref().is_some_and(|profile| offered.contains(profile)));
            for (profile, free) in &wanted {
                totals.set_space(&provider.space(&owner, profile), mebibytes(*free));
            }
            Ok(())
        });
        changed.unwrap_or_else(|error| {
            tracing::warn!(error = error.chain(), "could not write down how much there is");
            false
        })
    }

    /// How much of a profile is not a disk.
    async fn free(&self, profile: &str, pool: &Pool) -> Result<Option<Bytes>> {
        let Some(capacity) = pool.capacity else {
            let driver = self.provider.lifecycle.driver();
            let (capability, parameters) = ((&pool.access(false)).into(), pool.parameters.clone());
            return driver.capacity(capability, parameters, Deadline::after(CAPACITY)).await;
        };
        let of_profile =
            |disk: &&DiskEntry| source(&disk.resource.0).is_some_and(|source| source.profile.as_deref() == Some(profile));
        let mut used = 0;
        for disk in self.state.disks().filter(of_profile) {
            used += size(&disk.resource.0)?.get();
        }
        Ok(Some(Bytes::new(capacity.get().saturating_sub(used))))
    }
}

impl Provider {
    /// Space of a profile, as nobody has reserved it.
    fn space(&self, owner: &ResourceProviderId, profile: &str) -> Resource {
        let source = disk_info::Source {
            r#type: disk_info::source::Type::Raw.into(),
            profile: Some(profile.to_owned()),
            vendor: Some(self.vendor.clone()),
            ..disk_info::Source::default()
        };
        Resource {
            provider_id: Some(owner.clone()),
            name: "disk".to_owned(),
            r#type: value::Type::Scalar.into(),
            reservations: self.config.reservations(),
            disk: Some(DiskInfo { source: Some(source), ..DiskInfo::default() }),
            ..Resource::default()
        }
    }
}
