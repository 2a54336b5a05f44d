"""What machines ask: does it live, can it take studies, what does it count."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from ..models import Health, Ready
from ..problems import DOCUMENTED
from ..store import StatusStore
from .metrics import exposition, registry_of
from .readiness import Readiness


def probe_routes(
    store: StatusStore, readiness: Callable[[], Readiness], collectors: Sequence[Collector]
) -> APIRouter:
    """/healthz, /readyz and /metrics."""
    router = APIRouter(tags=["probes"])
    registry = registry_of(store.counts, collectors)

    @router.get("/healthz")
    async def healthz() -> Health:
        """The process lives."""
        return Health()

    @router.get("/readyz", response_model=Ready, responses={503: {"model": Ready}})
    def readyz() -> Response:
        """Whether instances can be accepted: 503 with reasons when not; degraded reasons leave it at 200."""
        now = readiness()
        content = Ready(ready=now.ready, reasons=list(now.reasons), degraded=list(now.degraded))
        return JSONResponse(content.model_dump(), 200 if now.ready else 503)

    texts: dict[int | str, dict[str, object]] = {200: {"content": {"text/plain": {}}}}

    @router.get("/metrics", response_class=Response, responses=texts | DOCUMENTED)
    def metrics() -> Response:
        """Prometheus metrics; needs the token."""
        return Response(exposition(registry), media_type=CONTENT_TYPE_LATEST)

    return router
