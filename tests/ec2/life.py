"""A volume's life by boto3: `life.py ENDPOINT` prints what each step gave, one JSON a line.

Each line has the step, the error code or nothing, and what the answer says that must be the same wherever EC2 is spoken. Only steps
that moto is known to answer as EC2 does.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ec2 = boto3.client(
    "ec2",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="AKIDEXAMPLE",
    aws_secret_access_key="secret",
    config=Config(retries={"max_attempts": 1}),
)
instance = sys.argv[2] if len(sys.argv) > 2 else ec2.run_instances(
    ImageId="ami-12345678", MinCount=1, MaxCount=1, Placement={"AvailabilityZone": "us-east-1a"}
)["Instances"][0]["InstanceId"]


def step(name, look, **parameters):
    """Does one step; `look` picks what is compared."""
    try:
        answer, code = getattr(ec2, name)(**parameters), None
        answer.pop("ResponseMetadata")
        facts = look(answer)
    except ClientError as error:
        answer, code, facts = {}, error.response["Error"]["Code"], None
    print(json.dumps({"step": name, "code": code, "facts": facts}, default=str))
    return answer


def volume(answer):
    found = answer["Volumes"][0] if "Volumes" in answer else answer
    attachments = [[a["Device"], a["State"], a["InstanceId"] == instance] for a in found.get("Attachments", [])]
    tags = sorted([t["Key"], t["Value"]] for t in found.get("Tags", []))
    names = ("Size", "State", "VolumeType", "Iops", "AvailabilityZone", "Encrypted")
    return {**{name: found.get(name) for name in names}, "Attachments": attachments, "Tags": tags}


def attachment(answer):
    return [answer["Device"], answer["State"], answer["InstanceId"] == instance]


tags = [{"ResourceType": "volume", "Tags": [{"Key": "name", "Value": "a&b <c>"}, {"Key": "empty", "Value": ""}]}]
made = step("create_volume", volume, AvailabilityZone="us-east-1a", Size=4, VolumeType="gp3", TagSpecifications=tags)
vol = made["VolumeId"]
gone = {"VolumeId": "vol-0123456789abcdef0"}
step("describe_volumes", volume, VolumeIds=[vol])
step("describe_volumes", volume, Filters=[{"Name": "tag:name", "Values": ["a&b <c>"]}])
step("describe_volumes", len, VolumeIds=[gone["VolumeId"]])
step("create_volume", volume, AvailabilityZone="us-east-1a", Size=4, VolumeType="io1")
step("create_volume", volume, AvailabilityZone="us-east-1a", Size=4, DryRun=True)
step("create_volume", volume, AvailabilityZone="us-east-1a", SnapshotId="snap-0123456789abcdef0")
step("attach_volume", attachment, VolumeId=vol, InstanceId=instance, Device="/dev/xvdba")
step("attach_volume", attachment, InstanceId=instance, Device="/dev/xvdbb", **gone)
step("attach_volume", attachment, VolumeId=vol, InstanceId="i-0123456789abcdef0", Device="/dev/xvdbb")
step("describe_volumes", volume, VolumeIds=[vol])
step("describe_volumes", volume, Filters=[{"Name": "attachment.instance-id", "Values": [instance]}, {"Name": "tag-key", "Values": ["name"]}])
step("delete_volume", dict, VolumeId=vol)
step("describe_instances", lambda answer: sorted(
    (m["DeviceName"], m["Ebs"]["Status"]) for m in answer["Reservations"][0]["Instances"][0]["BlockDeviceMappings"][1:]
), InstanceIds=[instance])
step("describe_instances", dict, InstanceIds=["i-0123456789abcdef0"])
step("modify_volume", lambda answer: [answer["VolumeModification"][key] for key in ("TargetSize", "OriginalSize")], VolumeId=vol, Size=8)
step("describe_volumes_modifications", lambda answer: [
    [m["TargetSize"], m["ModificationState"]] for m in answer["VolumesModifications"]
], Filters=[{"Name": "volume-id", "Values": [vol]}])
step("describe_volumes", volume, VolumeIds=[vol])
snapshot = step("create_snapshot", lambda answer: [answer["VolumeSize"], answer["VolumeId"] == vol], VolumeId=vol)
step("describe_snapshots", lambda answer: [
    [s["VolumeSize"], s["State"], s["Progress"], s["VolumeId"] == vol] for s in answer["Snapshots"]
], Filters=[{"Name": "volume-id", "Values": [vol]}])
step("create_tags", dict, Resources=[vol], Tags=[{"Key": "name", "Value": "d"}])
step("describe_volumes", volume, VolumeIds=[vol])
step("delete_snapshot", dict, SnapshotId=snapshot["SnapshotId"])
step("delete_snapshot", dict, SnapshotId=snapshot["SnapshotId"])
step("describe_availability_zones", lambda answer: sorted(z["ZoneName"] for z in answer["AvailabilityZones"])[:2])
step("detach_volume", attachment, VolumeId=vol, InstanceId=instance)
step("delete_volume", dict, VolumeId=vol)
step("delete_volume", dict, VolumeId=vol)
