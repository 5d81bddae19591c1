"""What boto3 sees of a volume, and what becomes of it: `look.py ENDPOINT VOLUME [detach]` prints one JSON."""

import json
import sys

import boto3

ec2 = boto3.client(
    "ec2", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret"
)
volume = ec2.describe_volumes(VolumeIds=[sys.argv[2]])["Volumes"][0]
if "detach" in sys.argv:
    ec2.detach_volume(VolumeId=sys.argv[2], InstanceId=volume["Attachments"][0]["InstanceId"])
print(json.dumps({
    "size": volume["Size"],
    "state": volume["State"],
    "type": volume["VolumeType"],
    "zone": volume["AvailabilityZone"],
    "tags": {tag["Key"]: tag["Value"] for tag in volume["Tags"]},
    "attachments": [[a["InstanceId"], a["Device"], a["State"]] for a in volume["Attachments"]],
}))
