//! What the actions make of volumes.

use std::time::{Instant, SystemTime};

use super::ZONES;
use super::model::{Answer, Attachment, Hold, Modification, Refused, Volume, World, all, tag_filter, tag_set, time};
use super::query::Query;
use super::xml::{Node, set, text};

impl World {
    pub(crate) fn volume(&self, id: &str) -> Result<&Volume, Refused> {
        self.volumes.get(id).ok_or_else(|| Refused::new("InvalidVolume.NotFound", format!("The volume '{id}' does not exist.")))
    }

    pub(crate) fn create_volume(&mut self, query: &Query) -> Answer {
        let token = query.get("ClientToken").unwrap_or_default().to_owned();
        // The limit is looked at before the token.
        if self.volumes.len() >= self.settings.volumes {
            return Err(Refused::new("VolumeLimitExceeded", "You have exceeded your maximum gp3 storage limit."));
        }
        if let Some((earlier, id)) = self.tokens.get(&token) {
            if earlier != query {
                let message = format!("The client token {token} was used with other parameters.");
                return Err(Refused::new("IdempotentParameterMismatch", message));
            }
            // Its token is used up, even when the volume has gone since.
            return Ok(match self.volumes.get(id) {
                Some(volume) => self.show_volume(volume),
                None => vec![text("volumeId", id), text("size", query.number("Size")?.unwrap_or(1)), text("status", "creating")],
            });
        }
        let zone = query.must("AvailabilityZone")?.to_owned();
        if !ZONES.contains(&zone.as_str()) {
            return Err(Refused::new("InvalidZone.NotFound", format!("The zone '{zone}' does not exist.")));
        }
        if self.full.contains(&zone) {
            let message = format!("There is not enough capacity to fulfill your request in zone {zone}.");
            return Err(Refused { status: 500, ..Refused::new("InsufficientVolumeCapacity", message) });
        }
        if query.get("KmsKeyId").is_some_and(|key| key.contains("unknown")) {
            return Err(Refused::new("InvalidKmsKey.NotFound", "The key does not exist."));
        }
        let least = query.get("SnapshotId").map(|id| self.snapshot_size(id)).transpose()?.unwrap_or(1);
        let size = query.number("Size")?.unwrap_or(least);
        if size < least || size > 65_536 {
            return Err(Refused::new("InvalidParameterValue", format!("The size {size} GiB is invalid for a volume.")));
        }
        let kind = query.get("VolumeType").unwrap_or("gp2").to_owned();
        let iops = query.number("Iops")?;
        if kind.starts_with("io") && iops.is_none() {
            return Err(Refused::new(
                "InvalidParameterDependency",
                format!("The parameter iops must be specified for {kind} volumes."),
            ));
        }
        let gp3 = kind == "gp3";
        let id = self.id("vol-");
        let volume = Volume {
            id: id.clone(),
            size,
            zone,
            tags: query.tags("TagSpecification.1.Tag"),
            attachments: Vec::new(),
            multi: query.flag("MultiAttachEnabled"),
            made: Instant::now(),
            created: SystemTime::now(),
            modification: None,
            iops: iops.or(gp3.then_some(3000)),
            throughput: query.number("Throughput")?.or(gp3.then_some(125)),
            kind,
            query: query.clone(),
        };
        let shown = self.show_volume(&volume);
        self.made.push(volume.tags.clone());
        self.volumes.insert(id.clone(), volume);
        if !token.is_empty() {
            self.tokens.insert(token, (query.clone(), id));
        }
        Ok(shown)
    }

    pub(crate) fn delete_volume(&mut self, query: &Query) -> Answer {
        let id = query.must("VolumeId")?;
        if let Some(attachment) = self.volume(id)?.attachments.first() {
            return Err(Refused::new("VolumeInUse", format!("Volume {id} is currently attached to {}", attachment.instance)));
        }
        self.volumes.remove(id);
        Ok(vec![text("return", true)])
    }

    pub(crate) fn attach_volume(&mut self, query: &Query) -> Answer {
        let (id, instance, device) = (query.must("VolumeId")?, query.must("InstanceId")?, query.must("Device")?);
        let volume = self.volume(id)?;
        let host = self
            .instances
            .get(instance)
            .ok_or_else(|| Refused::new("InvalidInstanceID.NotFound", format!("The instance ID '{instance}' does not exist")))?;
        if host.state != "running" {
            return Err(Refused::new("IncorrectState", format!("Instance '{instance}' is not 'running'.")));
        }
        if volume.made + self.settings.create > Instant::now() {
            return Err(Refused::new("IncorrectState", format!("{id} is not 'available'.")));
        }
        let held = volume.attachments.iter().any(|attachment| !volume.multi || attachment.instance == instance);
        if held {
            return Err(Refused::new("VolumeInUse", format!("{id} is already attached to an instance")));
        }
        if volume.zone != host.zone {
            let message = format!("The volume '{id}' is not in the same availability zone as instance '{instance}'");
            return Err(Refused::new("InvalidVolume.ZoneMismatch", message));
        }
        let mine: Vec<&Attachment> = self
            .volumes
            .values()
            .flat_map(|volume| &volume.attachments)
            .filter(|attachment| attachment.instance == instance)
            .collect();
        let ghost = self.ghosts.contains(&(instance.to_owned(), device.to_owned()));
        if ghost || device == "/dev/xvda" || mine.iter().any(|attachment| attachment.device == device) {
            let message = format!("Invalid value '{device}' for unixDevice. Attachment point {device} is already in use");
            return Err(Refused::new("InvalidParameterValue", message));
        }
        if mine.len() >= self.settings.attachments {
            return Err(Refused::new("AttachmentLimitExceeded", format!("Too many volumes attached to {instance}")));
        }
        let hold = Hold::Attaching(Instant::now() + self.settings.attach);
        let attachment = Attachment { instance: instance.to_owned(), device: device.to_owned(), hold, since: SystemTime::now() };
        let shown = show_attachment(id, &attachment);
        self.volumes.get_mut(id).unwrap().attachments.push(attachment);
        self.granted.push((id.to_owned(), instance.to_owned()));
        Ok(shown)
    }

    pub(crate) fn detach_volume(&mut self, query: &Query) -> Answer {
        let id = query.must("VolumeId")?;
        let volume = self.volume(id)?;
        let instance = query.get("InstanceId");
        if volume.attachments.is_empty() {
            return Err(Refused::new("IncorrectState", format!("Volume '{id}' is in the 'available' state.")));
        }
        let fits = |attachment: &Attachment| instance.is_none_or(|instance| attachment.instance == instance);
        let until = Instant::now() + self.settings.detach;
        let force = query.flag("Force");
        let stubborn = self.stubborn.clone();
        let Some(attachment) = self.volumes.get_mut(id).unwrap().attachments.iter_mut().find(|attachment| fits(attachment))
        else {
            let message = format!("The volume '{id}' is not attached to instance '{}'", instance.unwrap_or_default());
            return Err(Refused::new("InvalidAttachment.NotFound", message));
        };
        if !force && stubborn.contains(&attachment.instance) {
            attachment.hold = Hold::Busy;
        } else if !matches!(attachment.hold, Hold::Detaching(_)) {
            attachment.hold = Hold::Detaching(until);
        }
        Ok(show_attachment(id, attachment))
    }

    pub(crate) fn modify_volume(&mut self, query: &Query) -> Answer {
        let id = query.must("VolumeId")?;
        let volume = self.volume(id)?;
        let now = Instant::now();
        if let Some(earlier) = &volume.modification {
            if earlier.began + self.settings.modify * 2 > now {
                return Err(Refused::new("IncorrectModificationState", format!("Volume {id} is being modified.")));
            }
            if earlier.began + self.settings.modify_again > now {
                let message = "You've reached the maximum modification rate per volume limit. Wait at least 6 hours.";
                return Err(Refused::new("VolumeModificationRateExceeded", message));
            }
        }
        let size = query.number("Size")?.unwrap_or(volume.size);
        if size < volume.size {
            return Err(Refused::new("InvalidParameterValue", "New size cannot be smaller than existing size"));
        }
        let kind = query.get("VolumeType").unwrap_or(&volume.kind).to_owned();
        let (iops, throughput) = (query.number("Iops")?, query.number("Throughput")?);
        let modification =
            Modification { began: now, started: SystemTime::now(), from: (volume.size, volume.kind.clone()), to: (size, kind) };
        let volume = self.volumes.get_mut(id).unwrap();
        volume.modification = Some(modification);
        volume.iops = iops.or(volume.iops);
        volume.throughput = throughput.or(volume.throughput);
        let shown = self.show_modification(self.volume(id)?);
        Ok(vec![Node::Tree("volumeModification", shown.unwrap())])
    }

    pub(crate) fn describe_volumes(&self, query: &Query) -> Answer {
        let ids = query.list("VolumeId");
        for id in &ids {
            if id.len() != 21 {
                return Err(Refused::new("InvalidParameterValue", format!("Value ({id}) for parameter volumeId is invalid.")));
            }
            self.volume(id)?;
        }
        let found = self.found(query)?;
        let shown = found.into_iter().filter(|volume| ids.is_empty() || ids.contains(&volume.id));
        self.page("volumeSet", shown.map(|volume| (volume.id.clone(), self.show_volume(volume))).collect(), query)
    }

    pub(crate) fn describe_modifications(&self, query: &Query) -> Answer {
        let found = self.found(query)?;
        let shown = found.into_iter().filter_map(|volume| Some((volume.id.clone(), self.show_modification(volume)?)));
        self.page("volumeModificationSet", shown.collect(), query)
    }

    pub(crate) fn describe_status(&self, query: &Query) -> Answer {
        let shown = self.found(query)?.into_iter().map(|volume| {
            let status = Node::Tree("volumeStatus", vec![text("status", "ok"), set("details", [])]);
            (volume.id.clone(), vec![text("volumeId", &volume.id), status, set("eventsSet", [])])
        });
        self.page("volumeStatusSet", shown.collect(), query)
    }

    /// The volumes that are listed by now and pass the filters.
    fn found(&self, query: &Query) -> Result<Vec<&Volume>, Refused> {
        let filters = query.filters()?;
        let mut found = Vec::new();
        for volume in self.volumes.values() {
            let fits = all(&filters, |name| match name {
                "volume-id" => Ok(vec![volume.id.clone()]),
                "status" => Ok(vec![self.state(volume).to_owned()]),
                "availability-zone" => Ok(vec![volume.zone.clone()]),
                "attachment.instance-id" => Ok(volume.attachments.iter().map(|attachment| attachment.instance.clone()).collect()),
                _ => tag_filter(name, &volume.tags),
            })?;
            if fits && volume.made + self.settings.listed <= Instant::now() {
                found.push(volume);
            }
        }
        Ok(found)
    }

    fn state(&self, volume: &Volume) -> &'static str {
        match volume {
            volume if volume.made + self.settings.create > Instant::now() => "creating",
            volume if volume.attachments.is_empty() => "available",
            _ => "in-use",
        }
    }

    fn show_volume(&self, volume: &Volume) -> Vec<Node> {
        let mut nodes = vec![
            text("volumeId", &volume.id),
            text("size", volume.size),
            text("snapshotId", volume.query.get("SnapshotId").unwrap_or_default()),
            text("availabilityZone", &volume.zone),
            text("status", self.state(volume)),
            text("createTime", time(volume.created)),
            set("attachmentSet", volume.attachments.iter().map(|attachment| show_attachment(&volume.id, attachment))),
            tag_set(&volume.tags),
            text("volumeType", &volume.kind),
            text("encrypted", volume.query.flag("Encrypted")),
            text("multiAttachEnabled", volume.multi),
        ];
        nodes.extend(volume.iops.map(|iops| text("iops", iops)));
        nodes.extend(volume.throughput.map(|throughput| text("throughput", throughput)));
        nodes
    }

    fn show_modification(&self, volume: &Volume) -> Option<Vec<Node>> {
        let modification = volume.modification.as_ref()?;
        let age = modification.began.elapsed();
        let state = match self.settings.modify {
            step if age < step => "modifying",
            step if age < step * 2 => "optimizing",
            _ => "completed",
        };
        Some(vec![
            text("volumeId", &volume.id),
            text("modificationState", state),
            text("targetSize", modification.to.0),
            text("targetVolumeType", &modification.to.1),
            text("originalSize", modification.from.0),
            text("originalVolumeType", &modification.from.1),
            text("progress", if state == "completed" { 100 } else { 0 }),
            text("startTime", time(modification.started)),
        ])
    }
}

fn show_attachment(volume: &str, attachment: &Attachment) -> Vec<Node> {
    vec![
        text("volumeId", volume),
        text("instanceId", &attachment.instance),
        text("device", &attachment.device),
        text("status", attachment.hold.name()),
        text("attachTime", time(attachment.since)),
        text("deleteOnTermination", false),
    ]
}
