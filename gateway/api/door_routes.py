"""The DICOM port in the API: how many associations are open, and who was turned away and why."""

from collections.abc import Callable

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer

from . import models
from .problems import DOCUMENTED
from .store import Json

NO_DOOR: Json = {"associations": 0, "limit": 0, "turned_away": []}
"""In the cloud, which has no DICOM port."""


def door_routes(state: Callable[[], Json] | None) -> APIRouter:
    """/api/v1/door; `state` answers in the shape of `models.Door`."""
    router = APIRouter(
        prefix="/api/v1/door",
        responses=DOCUMENTED,
        dependencies=[Security(HTTPBearer(auto_error=False))],
        tags=["door"],
    )

    @router.get("", response_model=models.Door)
    def show_door() -> Json:
        """Associations that are open, and the last that were rejected, aborted or turned away."""
        return state() if state is not None else NO_DOOR

    return router
