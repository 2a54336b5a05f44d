"""The mirror in the API: how far it is, and making it anew."""

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer

from gateway.ledger.transaction import NotPossible

from . import models
from .problems import DOCUMENTED, NOT_IN_THE_CLOUD
from .store import Json, MirrorControl

NOTHING_MIRRORED: Json = {"on": False, "waiting": 0, "lag_s": 0.0, "rebuilding": False, "trouble": ""}


def mirror_routes(mirror: MirrorControl | None) -> APIRouter:
    """/api/v1/mirror."""
    router = APIRouter(
        prefix="/api/v1/mirror",
        responses=DOCUMENTED,
        dependencies=[Security(HTTPBearer(auto_error=False))],
        tags=["mirror"],
    )

    @router.get("", response_model=models.Mirror)
    def show_mirror() -> Json:
        """How far the table elsewhere is behind."""
        return mirror.state() if mirror is not None else NOTHING_MIRRORED

    @router.post("/rebuild", response_model=models.Mirror, status_code=202, responses=NOT_IN_THE_CLOUD)
    def rebuild_mirror() -> Json:
        """Write everything into the table anew; it is done when `rebuilding` is false again."""
        if mirror is None:
            raise NotPossible("nothing is mirrored from here")
        return mirror.rebuild()

    return router
