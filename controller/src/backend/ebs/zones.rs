//! Where a new volume can be.

use hawser_ebs::place::get;
use hawser_ebs::{Outpost, Place};
use hawser_volume::error::shown;
use hawser_volume::{Deadline, Error, ObjectName, Result, Segments, TopologyRequirement};

use super::Ebs;
use super::wishes::Wishes;

/// Keys under which COs and other drivers name a zone.
const ZONE: [&str; 2] = ["topology.kubernetes.io/zone", "topology.ebs.csi.aws.com/zone"];

/// The key under which a zone has the name that it has in all accounts.
const ZONE_ID: &str = "topology.k8s.aws/zone-id";

/// The keys under which aws-ebs-csi-driver names an outpost: partition, region, account, id.
const OUTPOST: [&str; 4] = [
    "topology.ebs.csi.aws.com/partition",
    "topology.ebs.csi.aws.com/region",
    "topology.ebs.csi.aws.com/account-id",
    "topology.ebs.csi.aws.com/outpost-id",
];

impl Ebs {
    /// The places that a requirement leaves; nothing when it leaves all.
    pub(super) async fn allowed(&self, topology: &TopologyRequirement, deadline: Deadline) -> Result<Option<Vec<Place>>> {
        let required = self.named_places(&topology.requisite, deadline).await?;
        let preferred = self.named_places(&topology.preferred, deadline).await?;
        if topology.requisite.is_empty() {
            return Ok((!topology.preferred.is_empty()).then_some(preferred));
        }
        // What is preferred and not among what is required is no choice.
        let mut places: Vec<Place> = preferred.into_iter().filter(|place| required.contains(place)).collect();
        places.extend(required);
        Ok(Some(places))
    }

    async fn named_places(&self, list: &[Segments], deadline: Deadline) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for segments in list {
            places.extend(self.place(segments, deadline).await?);
        }
        Ok(places)
    }

    /// The places for a new volume, most wanted first; at least one. `Exhausted` when there is none.
    pub(super) async fn places(
        &self,
        name: &ObjectName,
        wishes: &Wishes,
        allowed: Option<&[Place]>,
        deadline: Deadline,
    ) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = match (allowed, &wishes.zone, &self.config.zone) {
            (Some(allowed), _, _) => allowed.to_vec(),
            (None, Some(zone), _) | (None, None, Some(zone)) => vec![Place { zone: zone.clone(), outpost: None }],
            (None, None, None) => vec![Place { zone: self.usual_zone(name, deadline).await?, outpost: None }],
        };
        if let Some(zone) = &wishes.zone {
            places.retain(|place| place.zone == *zone);
        }
        if let Some(outpost) = &wishes.outpost {
            places.iter_mut().for_each(|place| place.outpost = Some(outpost.clone()));
        }
        let mut seen: Vec<Place> = Vec::new();
        for place in places {
            if !seen.contains(&place) {
                seen.push(place);
            }
        }
        if seen.is_empty() {
            if let Some(zone) = &wishes.zone
                && self.zones(deadline).await?.iter().all(|known| known.zone_name != *zone)
            {
                return Err(Error::invalid(format!(
                    "parameters: \"availabilityZone\": zone {} does not exist in this region",
                    shown(zone)
                )));
            }
            return Err(Error::exhausted(format!(
                "accessibility_requirements leave no zone where backend {} can make the volume; a node names its own when its plugin has \
                 this backend, too",
                self.name
            )));
        }
        Ok(seen)
    }

    /// The place that segments name; nothing when they name none of EC2's.
    pub(super) async fn place(&self, segments: &Segments, deadline: Deadline) -> Result<Option<Place>> {
        let named = self.keys.zone(segments).or_else(|| ZONE.iter().find_map(|key| get(segments, key)));
        let zone = match (named, get(segments, ZONE_ID)) {
            (Some(zone), _) => zone.to_owned(),
            (None, Some(id)) => {
                let found = self.zones(deadline).await?.iter().find(|zone| zone.zone_id == id);
                found
                    .ok_or_else(|| Error::invalid(format!("accessibility_requirements: zone {id} does not exist")))?
                    .zone_name
                    .clone()
            }
            (None, None) => return Ok(None),
        };
        let outpost = match OUTPOST.map(|key| get(segments, key)) {
            [Some(partition), Some(region), Some(account), Some(id)] => Some(Outpost::new(partition, region, account, id)?),
            _ => self.keys.outpost(segments),
        };
        Ok(Some(Place { zone, outpost }))
    }

    /// A zone for a volume that may be anywhere: by its name, so that it is the same in every call and others are elsewhere.
    async fn usual_zone(&self, name: &ObjectName, deadline: Deadline) -> Result<String> {
        let zones = self.zones(deadline).await?;
        let mut usual: Vec<&str> =
            zones.iter().filter(|zone| zone.zone_type == "availability-zone").map(|zone| zone.zone_name.as_str()).collect();
        usual.sort_unstable();
        let digest = u64::from_str_radix(&name.digest()[..15], 16).unwrap_or_default();
        let index = usize::try_from(digest % (usual.len().max(1) as u64)).unwrap_or_default();
        usual.get(index).map(|zone| (*zone).to_owned()).ok_or_else(|| Error::exhausted("the account has no zone in this region"))
    }

    async fn zones(&self, deadline: Deadline) -> Result<&[hawser_ebs::zone::Zone]> {
        let zones = self.zones.get_or_try_init(|| self.account.ec2.describe_zones(deadline)).await;
        zones.map(Vec::as_slice).map_err(|refusal| refusal.while_doing("list the region's zones"))
    }
}
