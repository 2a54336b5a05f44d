"""Opens what takes traces, where the configuration or OpenTelemetry's own variables name it."""

from typing import Final

import structlog

from gateway.adapters.spans import Tracing
from gateway.config import Config, ConfigError
from gateway.config.sections import OTEL_VARIABLES
from gateway.events import Bus
from gateway.ledger.store import Ledger
from gateway.ledger.traced import switch_traces

from .worker import TraceWorker

log = structlog.get_logger(__name__)

PACKAGES: Final = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
MISSING: Final = f"OpenTelemetry, which is not installed: pip install {PACKAGES}"


def trace_worker(config: Config, ledger: Ledger, bus: Bus) -> TraceWorker | None:
    """Tell the ledger whether studies are traced, and make the worker that does so; None where nobody asks.

    Raises
    ------
    ConfigError
        What `traces.endpoint` needs is not installed. Where only a variable asks for it, that is told.
    """
    tracing = _open(config) if config.traces.is_wanted else None
    switch_traces(ledger, is_on=tracing is not None)
    return TraceWorker(ledger, bus, tracing) if tracing is not None else None


def _open(config: Config) -> Tracing | None:
    try:
        from gateway.adapters.otlp import OtlpTracing
    except ModuleNotFoundError:
        if config.traces.endpoint:
            raise ConfigError(f"traces.endpoint needs {MISSING}") from None
        log.warning("traces_off", reason=f"{' or '.join(OTEL_VARIABLES)} is set, which needs {MISSING}")
        return None
    return OtlpTracing(config.traces.endpoint, config.site.name)
