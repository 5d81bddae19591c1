//! What all callers of one account and region share: each kind of question is asked for all of them together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::Batch;
use crate::client::Ec2;
use crate::instance::Instance;
use crate::snapshot::Snapshot;
use crate::volume::{Health, Modification, Volume};
use crate::watch::Watch;

/// One account in one region. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Account {
    /// For what cannot be asked together.
    pub ec2: Arc<Ec2>,
    /// Volumes by id.
    pub volumes: Batch<Volume>,
    /// Volumes by the value of the tag that names them. There should be one for each value.
    pub volumes_by_tag: Batch<Vec<Volume>>,
    /// Instances by id.
    pub instances: Batch<Instance>,
    /// Snapshots by id.
    pub snapshots: Batch<Snapshot>,
    /// Snapshots by the value of the tag that names them.
    pub snapshots_by_tag: Batch<Vec<Snapshot>>,
    /// The latest change of each volume, by its id.
    pub modifications: Batch<Modification>,
    /// How volumes are, by their ids.
    pub health: Batch<Health>,
    /// For waiting until a volume is as it should be.
    pub watch: Watch<Volume>,
    /// For waiting until a volume's change is done.
    pub watch_modifications: Watch<Modification>,
    /// For waiting until a snapshot is complete.
    pub watch_snapshots: Watch<Snapshot>,
}

impl Account {
    /// The account of `ec2`; `volume_tag` and `snapshot_tag` are the keys of the tags that name objects.
    pub fn new(ec2: Arc<Ec2>, volume_tag: &'static str, snapshot_tag: &'static str) -> Self {
        let client = || Arc::clone(&ec2);
        let volumes = {
            let ec2 = client();
            Batch::new("DescribeVolumes", move |ids, deadline| {
                let ec2 = Arc::clone(&ec2);
                async move {
                    let found = ec2.describe_volumes("volume-id", &ids, deadline).await?;
                    Ok(found.into_iter().map(|volume| (volume.id.clone(), volume)).collect())
                }
            })
        };
        let volumes_by_tag = {
            let ec2 = client();
            Batch::new("DescribeVolumes", move |names: Vec<String>, deadline| {
                let ec2 = Arc::clone(&ec2);
                async move {
                    let found = ec2.describe_volumes(&format!("tag:{volume_tag}"), &literally(&names), deadline).await?;
                    Ok(by_tag(found, volume_tag, |volume| &volume.tags))
                }
            })
        };
        let snapshots = {
            let ec2 = client();
            Batch::new("DescribeSnapshots", move |ids, deadline| {
                let ec2 = Arc::clone(&ec2);
                async move {
                    let found = ec2.describe_snapshots("snapshot-id", &ids, deadline).await?;
                    Ok(found.into_iter().map(|snapshot| (snapshot.id.clone(), snapshot)).collect())
                }
            })
        };
        let snapshots_by_tag = {
            let ec2 = client();
            Batch::new("DescribeSnapshots", move |names: Vec<String>, deadline| {
                let ec2 = Arc::clone(&ec2);
                async move {
                    let found = ec2.describe_snapshots(&format!("tag:{snapshot_tag}"), &literally(&names), deadline).await?;
                    Ok(by_tag(found, snapshot_tag, |snapshot| &snapshot.tags))
                }
            })
        };
        let instances = {
            let ec2 = client();
            Batch::new("DescribeInstances", move |ids, deadline| {
                let ec2 = Arc::clone(&ec2);
                async move { ec2.describe_instances(&ids, deadline).await }
            })
        };
        let modifications = {
            let ec2 = client();
            Batch::new("DescribeVolumesModifications", move |ids, deadline| {
                let ec2 = Arc::clone(&ec2);
                async move { ec2.describe_modifications(&ids, deadline).await }
            })
        };
        let health = {
            let ec2 = client();
            Batch::new("DescribeVolumeStatus", move |ids, deadline| {
                let ec2 = Arc::clone(&ec2);
                async move { ec2.describe_health(&ids, deadline).await }
            })
        };
        let watch = Watch::new(volumes.clone());
        let (watch_modifications, watch_snapshots) = (Watch::new(modifications.clone()), Watch::new(snapshots.clone()));
        Self {
            ec2,
            volumes,
            volumes_by_tag,
            instances,
            snapshots,
            snapshots_by_tag,
            modifications,
            health,
            watch,
            watch_modifications,
            watch_snapshots,
        }
    }
}

/// A filter takes `*` and `?` for any characters, and `\` makes them plain.
fn literally(values: &[String]) -> Vec<String> {
    let escape = |value: &String| {
        value.chars().fold(String::with_capacity(value.len()), |mut text, c| {
            if matches!(c, '*' | '?' | '\\') {
                text.push('\\');
            }
            text.push(c);
            text
        })
    };
    values.iter().map(escape).collect()
}

/// Objects by the value of their tag `key`, compared exactly whatever the filter let through.
fn by_tag<T>(found: Vec<T>, key: &str, tags: impl Fn(&T) -> &BTreeMap<String, String>) -> BTreeMap<String, Vec<T>> {
    let mut sorted: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for object in found {
        if let Some(value) = tags(&object).get(key).cloned() {
            sorted.entry(value).or_default().push(object);
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_pattern() {
        assert_eq!(literally(&["a*b?c\\d".to_owned(), "plain".to_owned()]), ["a\\*b\\?c\\\\d", "plain"]);
    }
}
