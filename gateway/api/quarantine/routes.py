"""What waits for a person: looked at, released, dismissed, under /api/v1/quarantine."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Security
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer

from ..problems import DOCUMENTED, NOT_IN_THE_CLOUD
from ..store import Actions, Cut, Json, NotFound, NotHere, PutAside, StatusStore, WhichQuarantined
from ..studies.listings import DEFAULT_LIMIT
from ..studies.routes import ASKED_FOR, Cursor, Limit, found
from . import models

Key = Annotated[
    str,
    Path(pattern=r"^[A-Za-z0-9_-]{1,128}$", description="The whole key, or a beginning that no other has"),
]
Reason = Annotated[str, Query(max_length=64, description="Only for this code; `held`: only jobs")]
From = Annotated[str, Query(alias="sender", max_length=64, description="Only objects that came from there")]
Dismissed = Annotated[bool, Query(description="Those that were dismissed, in the place of those that wait")]

THERE = "objects that were put aside lie at their gateways; look there"
_OBJECT: dict[int | str, dict[str, Any]] = {200: {"content": {"application/dicom": {}}}}


def quarantine_routes(store: StatusStore, actions: Actions, put_aside: PutAside | None) -> APIRouter:
    """Everything about it; without `put_aside` the objects themselves lie elsewhere."""
    router = APIRouter(
        prefix="/api/v1/quarantine",
        responses=DOCUMENTED,
        dependencies=[Security(HTTPBearer(auto_error=False))],
        tags=["quarantine"],
    )

    @router.get("", response_model=models.QuarantineList)
    def list_quarantine(
        reason: Reason = "",
        sender: From = "",
        dismissed: Dismissed = False,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Json:
        """What waits for a person: objects that were put aside, and jobs that are held; none in the cloud.

        What was dismissed is kept for `retention.quarantine_days`, and listed where it is asked for.
        """
        return store.quarantine(WhichQuarantined(reason, sender, dismissed), Cut(limit, cursor))

    @router.get("/{key}", response_model=models.Quarantined)
    def show_quarantined(key: Key) -> Json:
        """One of them, also one that was dismissed."""
        return found(store.quarantined(key), "object in quarantine, and no such held job")

    @router.post("/{key}/release", **ASKED_FOR)
    def release(key: Key) -> Json:
        """Let a held job go on, or take an object in after all, as what it says itself.

        What would be put aside again stays where it is, and the answer says why.
        """
        return actions.release(key)

    @router.post("/{key}/dismiss", **ASKED_FOR)
    def dismiss(key: Key) -> Json:
        """Say that nobody has to look at an object any more.

        It stays in quarantine, out of the list, until `retention.quarantine_days` after it came last.
        """
        return actions.dismiss(key)

    _add_objects(router, store, put_aside)
    return router


def _add_objects(router: APIRouter, store: StatusStore, put_aside: PutAside | None) -> None:
    def object_of(key: str) -> tuple[PutAside, str]:
        if put_aside is None:
            raise NotHere(THERE)
        return put_aside, found(store.quarantined(key), "object in quarantine")["key"]

    @router.get("/{key}/header", response_model=models.PutAsideHeader, responses=NOT_IN_THE_CLOUD)
    def show_header(key: Key) -> Json:
        """What the header of an object says, the patient's name among it; long values are left out."""
        objects, whole = object_of(key)
        return found(objects.header(whole), "object in quarantine")

    @router.get("/{key}/object", response_class=FileResponse, responses={**_OBJECT, **NOT_IN_THE_CLOUD})
    def give_object(key: Key) -> FileResponse:
        """The object as it came, whatever it is."""
        objects, whole = object_of(key)
        path = objects.file(whole)
        if path is None:
            raise NotFound("there is no such object in quarantine")
        return FileResponse(path, media_type="application/dicom", filename=f"{whole[:16]}.dcm")
