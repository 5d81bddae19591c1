//! What keeps EC2 from doing what it is asked for: one step after another, as far as they lead. Nothing is changed: every action that
//! would is asked for as a trial (`DryRun`).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hawser_volume::checkup::{self, Check};
use hawser_volume::{Deadline, NodeId};
use reqsign_core::Env;

use crate::client::{Call, Ec2};
use crate::config::EbsConfig;
use crate::form::Form;
use crate::here::Here;
use crate::label;
use crate::refusal::{Class, Refusal};
use crate::zone::Zone;

/// How long the endpoint may take for its first answer.
const GREETING: Duration = Duration::from_secs(10);

/// How long all questions may take together.
const WORK: Duration = Duration::from_secs(40);

/// An instance and a snapshot that nobody has.
const NO_INSTANCE: &str = "i-0ffffffffffffffff";
const NO_SNAPSHOT: &str = "snap-0ffffffffffffffff";
const NO_VOLUME: &str = "vol-0ffffffffffffffff";

/// What an action is for, and whether volumes can do without it.
const ACTIONS: [(&str, &str, bool); 19] = [
    ("DescribeVolumes", "finding volumes", true),
    ("DescribeAvailabilityZones", "choosing zones", true),
    ("CreateVolume", "making volumes", true),
    ("CreateTags", "making volumes", true),
    ("DeleteVolume", "deleting volumes", true),
    ("DescribeInstances", "attaching", true),
    ("AttachVolume", "attaching", true),
    ("DetachVolume", "detaching", true),
    ("ModifyVolume", "growing", true),
    ("DescribeVolumesModifications", "growing", true),
    ("DeleteTags", "modifying", false),
    ("CreateSnapshot", "snapshots", false),
    ("DeleteSnapshot", "snapshots", false),
    ("DescribeSnapshots", "snapshots", false),
    ("DescribeVolumeStatus", "the condition of volumes", false),
    ("DescribeInstanceTypes", "refusing what an instance has no place for", false),
    ("CopyVolumes", "clones without a snapshot", false),
    ("EnableFastSnapshotRestores", "snapshot classes that ask for it", false),
    ("LockSnapshot", "snapshot classes that ask for it", false),
];

const CORRECT: &str = "correct the backend's configuration: `hawser config check`";

/// What the node side needs: who it is, where, and how many volumes it can have. Blocks.
pub fn node(config: &EbsConfig, node: Option<&NodeId>) -> Vec<Check> {
    const STEP: &str = "the instance";
    let here = match Here::find(config, node) {
        Ok(here) => here,
        Err(error) => {
            let mend = "run it on an instance of EC2; or see docs/ebs-node.md on instances without metadata";
            return vec![Check::wrong(STEP, error.chain(), mend)];
        }
    };
    let found = format!("{} in {}, with room for {} volumes of this backend", here.instance, here.place.zone, here.max_volumes);
    let mut checks = vec![Check::well(STEP, found)];
    if let Some(region) = &config.region
        && !here.place.zone.starts_with(region.as_str())
    {
        checks.push(Check::wrong(
            "the region",
            format!(
                "`region` is {}, and the instance is in {}: its volumes would be where it cannot have them",
                region.as_str(),
                here.place.zone
            ),
            "correct `region` of the backend",
        ));
    }
    checks
}

/// What the controller side needs: a region, somebody who answers, credentials that are accepted, and each action allowed.
pub async fn controller(config: &EbsConfig, env: impl Env) -> Vec<Check> {
    let options = match config.client(&env) {
        Ok(options) => options,
        Err(error) => return vec![Check::wrong("the configuration", error.chain(), CORRECT)],
    };
    let region = options.region.clone();
    let ec2 = match Ec2::with_environment(&options, env) {
        Ok(ec2) => ec2,
        Err(error) => return vec![Check::wrong("the configuration", error.chain(), CORRECT)],
    };
    let mut checks = vec![Check::well("the region", region.as_str())];
    let (found, answers) = endpoint(&ec2).await;
    checks.extend(found);
    if !answers {
        return checks;
    }
    let deadline = Deadline::after(WORK);
    match ec2.may_describe_zones(deadline).await {
        Ok(()) => checks.push(credentials(&ec2)),
        Err(refusal) if refusal.class() == Class::Denied => checks.push(credentials(&ec2)),
        Err(refusal) => {
            checks.push(refused("the credentials", &ec2, &refusal));
            return checks;
        }
    }
    let zones = ec2.describe_zones(deadline).await;
    let zone = match zones {
        Ok(zones) => {
            let (check, zone) = zone(config, &zones);
            checks.push(check);
            zone
        }
        Err(refusal) => {
            checks.push(refused("the zones", &ec2, &refusal));
            None
        }
    };
    checks.extend(actions(&ec2, config, zone.as_deref(), deadline).await);
    if let Some(key) = &config.kms_key {
        let found = format!("{key} is asked for; whether it may be used EC2 says only when a volume is made with it");
        checks.push(Check::well("the key", found));
    }
    checks
}

async fn endpoint(ec2: &Ec2) -> (Vec<Check>, bool) {
    let step = format!("the endpoint {}", ec2.wire().endpoint().as_str().trim_end_matches('/'));
    match ec2.wire().greet(GREETING).await {
        Ok(date) => {
            let clock = checkup::clock("EC2", date.as_deref(), SystemTime::now());
            (std::iter::once(Check::well(step, "answers")).chain(clock).collect(), true)
        }
        Err(error) => {
            let why = error.chain();
            let mend = if why.contains("dns") || why.contains("lookup") {
                "correct `region` or `endpoint`: there is no such name; or see /etc/resolv.conf"
            } else if why.contains("certificate") {
                "name the authority that signed its certificate in `ca-file`; a proxy on the way may have a certificate of its own"
            } else {
                "open the way to it (security group, VPC endpoint, proxy: HTTPS_PROXY), or correct `endpoint`"
            };
            (vec![Check::wrong(step, why, mend)], false)
        }
    }
}

fn credentials(ec2: &Ec2) -> Check {
    let source = ec2.wire().credentials().source().unwrap_or("somewhere");
    Check::well("the credentials", format!("are from the {source}, and EC2 accepts them"))
}

fn refused(step: &str, ec2: &Ec2, refusal: &Refusal) -> Check {
    let source = ec2.wire().credentials().source();
    let from = source.map(|source| format!("those from the {source}: ")).unwrap_or_default();
    let mend = match (refusal.class(), refusal.code()) {
        (Class::Unauthenticated, "") => {
            "set up one of AWS' sources: a role of the instance, IRSA or Pod Identity, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or \
             `profile`; in a container the instance's role needs a hop limit of 2 (aws ec2 modify-instance-metadata-options \
             --http-put-response-hop-limit 2)"
        }
        (Class::Unauthenticated, "ExpiredToken" | "ExpiredTokenException") => {
            "get new ones: they have run out, and the source gives no others"
        }
        (Class::Unauthenticated, "RequestExpired" | "SignatureDoesNotMatch" | "InvalidSignatureException") => {
            "set the clock (see above), and check the secret key"
        }
        (Class::Unauthenticated, "OptInRequired" | "NotSignedUp") => "switch the region on for this account, or correct `region`",
        (Class::Unauthenticated, _) => "check the keys, that they are of this partition and account, and that `region` is theirs",
        (Class::Denied, _) => "see \"permissions\" below",
        _ => "try again; see the AWS Health Dashboard if it stays",
    };
    Check::wrong(step, format!("{from}{refusal}"), mend)
}

/// The zone of new volumes for which none is asked.
fn zone(config: &EbsConfig, zones: &[Zone]) -> (Check, Option<String>) {
    const STEP: &str = "the zones";
    let all: Vec<&str> = zones.iter().map(|zone| zone.zone_name.as_str()).collect();
    let listed = all.join(", ");
    match &config.zone {
        Some(zone) if !all.contains(&zone.as_str()) => {
            let why = format!("`zone` is {zone}, which this account has not in the region; there are {listed}");
            (Check::wrong(STEP, why, "correct `zone` of the backend"), None)
        }
        Some(zone) => {
            (Check::well(STEP, format!("{listed}; volumes go to {zone} unless another is asked for")), Some(zone.clone()))
        }
        None => (Check::well(STEP, listed), all.first().map(|zone| (*zone).to_owned())),
    }
}

/// Each action, as a trial.
async fn actions(ec2: &Ec2, config: &EbsConfig, zone: Option<&str>, deadline: Deadline) -> Vec<Check> {
    const STEP: &str = "permissions";
    // A policy may ask for the tags of what there is: a volume of the cluster, if there is one.
    let own = ec2.list_volumes(&format!("tag:{}", label::VOLUME), &[label::any_of(&config.cluster)], 5, None, deadline).await;
    let volume = own.ok().and_then(|(volumes, _)| volumes.into_iter().next());
    let target = volume.as_ref().map_or(NO_VOLUME, |volume| volume.id.as_str());
    let (mut allowed, mut denied, mut lacking, mut untold) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (action, purpose, is_needed) in ACTIONS {
        let form = form(action, config, zone.unwrap_or_default(), target);
        match ec2.allowed(Call::repeatable(action, form), deadline).await {
            Ok(()) => allowed.push(action),
            Err(refusal) => match refusal.class() {
                Class::Denied if is_needed => denied.push(format!("{action} ({purpose})")),
                Class::Denied => lacking.push(format!("{action} ({purpose})")),
                // The object is looked up before the policy, and there is none, or the region has no such action.
                Class::NotFound | Class::State | Class::Invalid | Class::Unsupported => untold.push(action),
                _ => return vec![refused(STEP, ec2, &refusal)],
            },
        }
    }
    let mend = |actions: &[String]| {
        let names: Vec<String> =
            actions.iter().map(|action| format!("\"ec2:{}\"", action.split(' ').next().unwrap_or_default())).collect();
        format!("allow {} in the policy of the role; docs/ebs.md has the whole list", names.join(", "))
    };
    let mut checks = Vec::new();
    if !denied.is_empty() {
        checks.push(Check::wrong(STEP, format!("not allowed: {}", denied.join(", ")), mend(&denied)));
    }
    if !lacking.is_empty() {
        checks.push(Check::doubtful(STEP, format!("not allowed: {}", lacking.join(", ")), mend(&lacking)));
    }
    if !allowed.is_empty() {
        let more =
            if untold.is_empty() { String::new() } else { format!("; not told without such an object: {}", untold.join(", ")) };
        checks.push(Check::well(STEP, format!("allowed: {}{more}", allowed.join(", "))));
    }
    checks
}

/// What an action needs besides.
fn form(action: &str, config: &EbsConfig, zone: &str, volume: &str) -> Form {
    let form = Form::new();
    // What policies made for aws-ebs-csi-driver ask of whoever makes something.
    let tags = |name: &str| {
        let own = [(label::MANAGED.0.to_owned(), label::MANAGED.1.to_owned()), (name.to_owned(), "hawser-doctor".to_owned())];
        config.tags.clone().into_iter().chain(own).collect::<BTreeMap<_, _>>()
    };
    match action {
        "CreateVolume" => form
            .with("AvailabilityZone", zone)
            .with("Size", 1)
            .with_some("Encrypted", config.encrypted)
            .with_some("KmsKeyId", config.kms_key.as_ref())
            .with_tags_for("volume", &tags(label::VOLUME_NAME)),
        "DeleteVolume" => form.with("VolumeId", volume),
        "AttachVolume" => form.with("VolumeId", volume).with("InstanceId", NO_INSTANCE).with("Device", "/dev/xvdzz"),
        "DetachVolume" => form.with("VolumeId", volume).with("InstanceId", NO_INSTANCE),
        "ModifyVolume" => form.with("VolumeId", volume).with("Size", 16384),
        "CreateTags" => form.with_list("ResourceId", [volume]).with_tags("Tag", &tags(label::VOLUME_NAME)),
        "DeleteTags" => form.with_list("ResourceId", [volume]).with("Tag.1.Key", label::IOPS_PER_GIB),
        "CreateSnapshot" => form.with("VolumeId", volume).with_tags_for("snapshot", &tags(label::SNAPSHOT_NAME)),
        "DeleteSnapshot" => form.with("SnapshotId", NO_SNAPSHOT),
        "CopyVolumes" => {
            form.with("SourceVolumeId", volume).with("Size", 16384).with_tags_for("volume", &tags(label::VOLUME_NAME))
        }
        "EnableFastSnapshotRestores" => form.with_list("AvailabilityZone", [zone]).with_list("SourceSnapshotId", [NO_SNAPSHOT]),
        "LockSnapshot" => form.with("SnapshotId", NO_SNAPSHOT).with("LockMode", "governance").with("LockDuration", 1),
        "DescribeSnapshots" => form.with_list("Owner", ["self"]),
        _ => form,
    }
}
