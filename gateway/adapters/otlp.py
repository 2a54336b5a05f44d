"""Puts traces where OpenTelemetry's collector, or what speaks like it, takes them: OTLP by HTTP, protobuf.

Identities derive from what a trace and its spans are known by, so that what is put twice is the same.
Variables of OpenTelemetry (OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, ...) hold.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from .errors import Away
from .spans import Span

TIMEOUT_S: Final = 5.0
"""For all tries of one put together."""
SERVICE: Final = "iris-gateway"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class OtlpTracing:
    """One collector.

    Parameters
    ----------
    endpoint
        Where it takes traces, `http://collector:4318/v1/traces`; empty: as OpenTelemetry's variables say.
    site
        The gateway's own name.
    """

    def __init__(self, endpoint: str, site: str) -> None:
        version = metadata.version(SERVICE)
        self._resource = Resource.create(
            {"service.name": SERVICE, "service.instance.id": site, "service.version": version}
        )
        self._scope = InstrumentationScope(SERVICE, version)
        self._exporter = OTLPSpanExporter(endpoint=endpoint or None, timeout=TIMEOUT_S)

    def put(self, trace: str, spans: Sequence[Span]) -> None:
        """Put the spans of one trace."""
        if self._exporter.export([self._made(trace, span) for span in spans]) is not SpanExportResult.SUCCESS:
            raise Away("no collector takes traces; see traces.endpoint, or OTEL_EXPORTER_OTLP_ENDPOINT")

    def end(self) -> None:
        """Break off what is under way."""
        self._exporter.shutdown()

    def _made(self, trace: str, span: Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            context=_context(trace, span.key),
            parent=_context(trace, span.within) if span.within else None,
            resource=self._resource,
            attributes=dict(span.attributes),
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR) if span.has_failed else Status(StatusCode.UNSET),
            start_time=_nanoseconds(span.begun),
            end_time=_nanoseconds(span.ended),
            instrumentation_scope=self._scope,
        )


def _context(trace: str, key: str) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(_number(trace, 16), _number(f"{trace}/{key}", 8), is_remote=False, trace_flags=sampled)


def _number(text: str, length: int) -> int:
    """Of so many bytes, and never 0, which is no identity (W3C Trace Context 3.2.2)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:length], "big") or 1


def _nanoseconds(at: datetime) -> int:
    span = at - _EPOCH
    return (span.days * 86_400 + span.seconds) * 10**9 + span.microseconds * 1000
