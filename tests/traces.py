"""What a collector was sent, read as OpenTelemetry's own messages."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.told import Web


@dataclass(frozen=True)
class Got:
    """One span."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    seconds: float
    has_failed: bool
    attributes: dict[str, Any] = field(compare=False)


def spans(collector: Web) -> list[Got]:
    """All that came, in order."""
    return [span for _, body in collector.got for span in _read(body)]


def _read(body: bytes) -> Iterator[Got]:
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Got(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    span.status.code == 2,
                    {each.key: each.value.string_value or each.value.int_value for each in span.attributes},
                )
