"""Signs a request as botocore does: reads {"headers": …, "body": …} from standard input and prints the signature."""

import hashlib
import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

heard = json.load(sys.stdin)
# botocore believes this header where it is given; EC2 does not.
assert heard["headers"]["x-amz-content-sha256"] == hashlib.sha256(heard["body"].encode()).hexdigest()
signed = heard["headers"]["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
request = AWSRequest("POST", f"http://{heard['headers']['host']}/", data=heard["body"])
for name in signed:
    request.headers[name] = heard["headers"][name]
request.context["timestamp"] = heard["headers"]["x-amz-date"]
auth = SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "ec2", "us-east-1")
to_sign = auth.string_to_sign(request, auth.canonical_request(request))
print(auth.signature(to_sign, request))
