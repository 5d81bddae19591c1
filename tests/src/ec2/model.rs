//! What there is, and what the actions make of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use super::query::{Query, lets_through};
use super::xml::{Node, set, text};
use super::{Ec2Settings, ZONES};

/// An action that was not done.
#[derive(Debug, Clone)]
pub struct Refused {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }
}

pub(crate) type Answer = Result<Vec<Node>, Refused>;

/// How far an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Attached from then on.
    Attaching(Instant),
    /// Attached, until somebody detaches it.
    Attached,
    /// Gone from then on.
    Detaching(Instant),
    /// It should go, and the instance does not let it.
    Busy,
}

/// That an instance has a volume.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The instance.
    pub instance: String,
    /// The device name.
    pub device: String,
    /// How far it is.
    pub hold: Hold,
    pub(crate) since: SystemTime,
}

/// A volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Its size, in GiB.
    pub size: u32,
    /// Its zone.
    pub zone: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Who has it.
    pub attachments: Vec<Attachment>,
    pub(crate) query: Query,
    pub(crate) multi: bool,
    pub(crate) made: Instant,
    pub(crate) created: SystemTime,
    pub(crate) modification: Option<Modification>,
    pub(crate) kind: String,
    /// Operations a second.
    pub iops: Option<u32>,
    /// MiB a second.
    pub throughput: Option<u32>,
}

#[derive(Debug, Clone)]
pub(crate) struct Modification {
    pub(crate) began: Instant,
    pub(crate) started: SystemTime,
    pub(crate) from: (u32, String),
    pub(crate) to: (u32, String),
}

/// A snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// The volume that it shows.
    pub volume: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The zones where volumes made from it are fast at once.
    pub fast: Vec<String>,
    /// How it is locked: mode, days.
    pub lock: Option<(String, Option<u32>)>,
    pub(crate) size: u32,
    pub(crate) made: Instant,
    pub(crate) started: SystemTime,
}

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) zone: String,
    pub(crate) state: &'static str,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// How it behaves.
    pub settings: Ec2Settings,
    /// The volumes, by id.
    pub volumes: BTreeMap<String, Volume>,
    /// Attachments whose device is still in the instance's machine, volume and instance: they have not ended.
    pub(crate) shown: BTreeSet<(String, String)>,
    /// Attachments that were granted, in this order: volume and instance.
    pub granted: Vec<(String, String)>,
    /// The tags of every volume that was ever made.
    pub made: Vec<BTreeMap<String, String>>,
    /// The snapshots, by id.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// Actions that the credentials do not allow.
    pub denied: BTreeSet<String>,
    /// Zones that have no room.
    pub full: BTreeSet<String>,
    /// Instances that let go of nothing.
    pub stubborn: BTreeSet<String>,
    /// Device names that are in use without being listed, by instance.
    pub ghosts: BTreeSet<(String, String)>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) tokens: BTreeMap<String, (Query, String)>,
    number: u64,
}

impl World {
    pub(crate) fn new(settings: Ec2Settings) -> Self {
        let (volumes, shown, granted, made, snapshots, denied) = Default::default();
        let (full, stubborn, ghosts, instances, tokens) = Default::default();
        Self { settings, volumes, shown, granted, made, snapshots, denied, full, stubborn, ghosts, instances, tokens, number: 0 }
    }

    /// An instance that runs in `zone`.
    pub fn instance(&mut self, zone: &str) -> String {
        let id = self.id("i-");
        self.instances.insert(id.clone(), Instance { id: id.clone(), zone: zone.to_owned(), state: "running" });
        id
    }

    /// Has an instance be in a state, its volumes as they are.
    pub fn put(&mut self, instance: &str, state: &'static str) {
        self.instances.get_mut(instance).unwrap().state = state;
    }

    /// Ends an instance; its volumes are free at once.
    pub fn terminate(&mut self, instance: &str) {
        self.instances.get_mut(instance).unwrap().state = "terminated";
        for volume in self.volumes.values_mut() {
            volume.attachments.retain(|attachment| attachment.instance != instance);
        }
    }

    pub(crate) fn id(&mut self, prefix: &str) -> String {
        self.number += 1;
        format!("{prefix}{:017x}", self.number)
    }

    /// Lets pass what has passed.
    pub(crate) fn settle(&mut self) {
        let now = Instant::now();
        for volume in self.volumes.values_mut() {
            let shown = |attachment: &Attachment| self.shown.contains(&(volume.id.clone(), attachment.instance.clone()));
            volume.attachments.retain(|held| !matches!(held.hold, Hold::Detaching(at) if at <= now) || shown(held));
            for attachment in &mut volume.attachments {
                if matches!(attachment.hold, Hold::Attaching(at) if at <= now) {
                    attachment.hold = Hold::Attached;
                }
            }
            if let Some(modification) = &volume.modification
                && modification.began + self.settings.modify <= now
            {
                (volume.size, volume.kind) = modification.to.clone();
            }
        }
        // What cannot be encrypted is only found out in the making, and then it is as if it had never been.
        let create = self.settings.create;
        let doomed = |volume: &Volume| volume.query.get("KmsKeyId").is_some_and(|key| key.contains("denied"));
        self.volumes.retain(|_, volume| !(doomed(volume) && volume.made + create <= now));
    }

    /// What a volume was made from.
    pub(crate) fn source_of(&self, volume: &str) -> Option<String> {
        self.volumes.get(volume)?.query.get("SnapshotId").map(str::to_owned)
    }

    /// All snapshots and copies, with the volumes that they were cut of.
    pub(crate) fn cut(&self) -> Vec<(String, String)> {
        let snapshots = self.snapshots.values().map(|snapshot| (snapshot.id.clone(), snapshot.volume.clone()));
        let copies =
            self.volumes.values().filter_map(|volume| Some((volume.id.clone(), volume.query.get("SourceVolumeId")?.to_owned())));
        snapshots.chain(copies).collect()
    }

    pub(crate) fn act(&mut self, action: &str, query: &Query) -> Answer {
        self.settle();
        if self.denied.contains(action) {
            return Err(Refused {
                status: 403,
                ..Refused::new("UnauthorizedOperation", "You are not authorized to perform this operation.")
            });
        }
        if action == "CopyVolumes" && !self.settings.copies {
            return Err(Refused::new("InvalidAction", "The action CopyVolumes is not valid for this web service."));
        }
        if query.flag("DryRun") {
            let message = "Request would have succeeded, but DryRun flag is set.".to_owned();
            return Err(Refused { status: 412, code: "DryRunOperation", message });
        }
        let done = match action {
            "CreateVolume" => self.create_volume(query),
            "DeleteVolume" => self.delete_volume(query),
            "AttachVolume" => self.attach_volume(query),
            "DetachVolume" => self.detach_volume(query),
            "ModifyVolume" => self.modify_volume(query),
            "DescribeVolumes" => self.describe_volumes(query),
            "DescribeVolumesModifications" => self.describe_modifications(query),
            "DescribeVolumeStatus" => self.describe_status(query),
            "CreateSnapshot" => self.create_snapshot(query),
            "DeleteSnapshot" => self.delete_snapshot(query),
            "DescribeSnapshots" => self.describe_snapshots(query),
            "DescribeInstances" => self.describe_instances(query),
            "DescribeAvailabilityZones" => Ok(zones()),
            "CreateTags" => self.create_tags(query),
            "DeleteTags" => self.delete_tags(query),
            "CopyVolumes" => self.copy_volume(query),
            "EnableFastSnapshotRestores" => self.fast_restore(query),
            "LockSnapshot" => self.lock_snapshot(query),
            "DescribeInstanceTypes" => self.describe_types(query),
            _ => Err(Refused::new("InvalidAction", format!("The action {action} is not valid for this web service."))),
        };
        self.settle();
        done
    }

    fn describe_instances(&self, query: &Query) -> Answer {
        let filters = query.filters()?;
        let ids = query.list("InstanceId");
        let unknown = |id: &str| Refused::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"));
        if let Some(id) = ids.iter().find(|id| !self.instances.contains_key(*id)) {
            return Err(unknown(id));
        }
        let mut shown = Vec::new();
        for instance in self.instances.values() {
            let fits = all(&filters, |name| match name {
                "instance-id" => Ok(vec![instance.id.clone()]),
                "availability-zone" => Ok(vec![instance.zone.clone()]),
                _ => Err(unknown_filter(name)),
            })?;
            if fits && (ids.is_empty() || ids.contains(&instance.id)) {
                shown.push((
                    instance.id.clone(),
                    vec![text("reservationId", "r-1"), set("instancesSet", [self.show_instance(instance)])],
                ));
            }
        }
        self.page("reservationSet", shown, query)
    }

    fn show_instance(&self, instance: &Instance) -> Vec<Node> {
        let mapping = |device: &str, volume: &str, status: &str| {
            vec![text("deviceName", device), Node::Tree("ebs", vec![text("volumeId", volume), text("status", status)])]
        };
        let root = mapping("/dev/xvda", "vol-0000000000000000f", "attached");
        let taken = self.volumes.values().flat_map(|volume| {
            let own = volume.attachments.iter().filter(|attachment| attachment.instance == instance.id);
            own.map(|attachment| mapping(&attachment.device, &volume.id, attachment.hold.name()))
        });
        vec![
            text("instanceId", &instance.id),
            Node::Tree("instanceState", vec![text("code", code_of(instance.state)), text("name", instance.state)]),
            text("instanceType", "m7i.large"),
            Node::Tree("placement", vec![text("availabilityZone", &instance.zone)]),
            set("blockDeviceMapping", std::iter::once(root).chain(taken)),
            set("networkInterfaceSet", [vec![text("networkInterfaceId", "eni-1")]]),
        ]
    }

    fn create_tags(&mut self, query: &Query) -> Answer {
        let tags = query.tags("Tag");
        for id in query.list("ResourceId") {
            if let Some(snapshot) = self.snapshots.get_mut(&id) {
                snapshot.tags.extend(tags.clone());
            } else {
                self.volume(&id)?;
                self.volumes.get_mut(&id).unwrap().tags.extend(tags.clone());
            }
        }
        Ok(vec![text("return", true)])
    }

    fn delete_tags(&mut self, query: &Query) -> Answer {
        let gone: Vec<String> = (1..).map_while(|number| query.get(&format!("Tag.{number}.Key")).map(str::to_owned)).collect();
        for id in query.list("ResourceId") {
            self.volume(&id)?;
            self.volumes.get_mut(&id).unwrap().tags.retain(|key, _| !gone.contains(key));
        }
        Ok(vec![text("return", true)])
    }

    fn describe_types(&self, query: &Query) -> Answer {
        let wanted: Vec<String> = query.filters()?.into_iter().flat_map(|(_, values)| values).collect();
        // The root is one of them, and interfaces do not count.
        let most = self.settings.attachments + 1;
        let info = Node::Tree(
            "ebsInfo",
            vec![text("maximumEbsAttachments", most), text("attachmentLimitType", "dedicated"), text("nvmeSupport", "required")],
        );
        let shown = wanted.into_iter().map(|kind| (kind.clone(), vec![text("instanceType", kind), info.clone()]));
        self.page("instanceTypeSet", shown.collect(), query)
    }

    /// A page of what was found, which is in the order of its ids.
    pub(crate) fn page(&self, name: &'static str, found: Vec<(String, Vec<Node>)>, query: &Query) -> Answer {
        let asked = query.number("MaxResults")?.map_or(self.settings.page, |max| usize::try_from(max).unwrap());
        let max = asked.min(self.settings.page);
        let after = match query.get("NextToken") {
            None => "",
            Some(token) => {
                token.strip_prefix("after-").ok_or_else(|| Refused::new("InvalidNextToken", "The token is invalid."))?
            }
        };
        let mut rest: Vec<(String, Vec<Node>)> = found.into_iter().filter(|(id, _)| id.as_str() > after).collect();
        let more = rest.len() > max;
        rest.truncate(max);
        let next = more.then(|| format!("after-{}", rest[max - 1].0));
        let mut nodes = vec![set(name, rest.into_iter().map(|(_, nodes)| nodes))];
        nodes.extend(next.map(|next| text("nextToken", next)));
        Ok(nodes)
    }
}

impl Hold {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Hold::Attaching(_) => "attaching",
            Hold::Attached => "attached",
            Hold::Detaching(_) => "detaching",
            Hold::Busy => "busy",
        }
    }
}

pub(crate) fn no_snapshot(id: &str) -> Refused {
    Refused::new("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
}

fn zones() -> Vec<Node> {
    let zone = |zone: &str| {
        vec![
            text("zoneName", zone),
            text("zoneState", "available"),
            text("regionName", "us-east-1"),
            text("zoneId", format!("use1-az{}", zone.len())),
            text("zoneType", "availability-zone"),
        ]
    };
    vec![set("availabilityZoneInfo", ZONES.map(zone))]
}

/// Whether an object that has these values for a filter's name passes all filters.
pub(crate) fn all(
    filters: &[(String, Vec<String>)],
    values: impl Fn(&str) -> Result<Vec<String>, Refused>,
) -> Result<bool, Refused> {
    for (name, wanted) in filters {
        let values = values(name)?;
        if !values.iter().any(|value| wanted.iter().any(|wanted| lets_through(wanted, value))) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) fn tag_filter(name: &str, tags: &BTreeMap<String, String>) -> Result<Vec<String>, Refused> {
    match name.strip_prefix("tag:") {
        Some(key) => Ok(tags.get(key).cloned().into_iter().collect()),
        None if name == "tag-key" => Ok(tags.keys().cloned().collect()),
        None => Err(unknown_filter(name)),
    }
}

fn unknown_filter(name: &str) -> Refused {
    Refused::new("InvalidParameterValue", format!("The filter '{name}' is invalid"))
}

pub(crate) fn tag_set(tags: &BTreeMap<String, String>) -> Node {
    set("tagSet", tags.iter().map(|(key, value)| vec![text("key", key), text("value", value)]))
}

/// A moment, as EC2 writes it.
pub(crate) fn time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Civil from days, for years from 1970 on.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// EC2 API Reference, InstanceState: the number of a state.
fn code_of(state: &str) -> u32 {
    match state {
        "pending" => 0,
        "running" => 16,
        "shutting-down" => 32,
        "terminated" => 48,
        "stopping" => 64,
        "stopped" => 80,
        _ => panic!("{state:?} is no state of an instance"),
    }
}
