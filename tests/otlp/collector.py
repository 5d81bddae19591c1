"""A collector of traces: says on which port it listens, then each span that it is sent, a JSON object a line."""

import json
import sys
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services
from opentelemetry.proto.trace.v1 import trace_pb2


def told(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs if pair.value.WhichOneof("value")}


class Collector(services.TraceServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_spans:
            service = attributes(resource.resource.attributes).get("service.name")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    told({
                        "service": service,
                        "name": span.name,
                        "kind": trace_pb2.Span.SpanKind.Name(span.kind),
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "begun": span.start_time_unix_nano,
                        "ended": span.end_time_unix_nano,
                        "failed": span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                        "attributes": {key: str(value) for key, value in attributes(span.attributes).items()},
                    })
        return messages.ExportTraceServiceResponse()


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
services.add_TraceServiceServicer_to_server(Collector(), server)
told({"port": server.add_insecure_port("127.0.0.1:0")})
server.start()
server.wait_for_termination()
