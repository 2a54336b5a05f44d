"""STOW-RS: DICOM objects by HTTP (PS3.18 10.5), read as they come, and taken as those of C-STORE are."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request, Response, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway.ledger.instances import BACKFILLED

from ..callers.guard import BACKFILL_HEADER, STOW_PATH
from ..problems import DOCUMENTED, NOT_IN_THE_CLOUD, documented
from ..store import NotHere
from .parts import Parts, UnusableType, boundary_of
from .senders import StudyDoor
from .store_response import (
    JSON_TYPE,
    XML_TYPE,
    encoded,
    http_status,
    in_words,
    media_type_of,
    response_module,
)

THREADS: Final = 8
"""So many requests write at the same time. They are others than those that answer whoever asks."""
TRY_AGAIN_S: Final = 30

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {'multipart/related; type="application/dicom"': {"schema": {"type": "string"}}},
    }
}
_ANSWERS: Final = {
    "content": {JSON_TYPE: {"schema": {"type": "object"}}, XML_TYPE: {"schema": {"type": "string"}}}
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "every instance is stored", **_ANSWERS},
    202: {
        "description": "some are stored, or kept aside: warnings or failures stand in the answer",
        **_ANSWERS,
    },
    409: {"description": "none is stored; why stands in the answer", **_ANSWERS},
    **documented(400, 406, 415, 503),
    **NOT_IN_THE_CLOUD,
}


_T = TypeVar("_T")


class _Threads:
    """Run what waits for the disk."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "stow")

    async def run(self, call: Callable[[], _T]) -> _T:
        """Run it to its end, also where its request is cancelled meanwhile, and a second time.

        The next call of the same request then finds it over: a stop cancels a request in the middle of one,
        and its `close` must be the last.
        """
        running = asyncio.get_running_loop().run_in_executor(self._pool, call)
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        return running.result()


def dicomweb_routes(door: StudyDoor | None) -> APIRouter:
    """/dicom-web/studies; without a door it says who has one."""
    router = APIRouter(
        prefix=STOW_PATH,
        responses=DOCUMENTED | _RESPONSES,
        dependencies=[Security(HTTPBearer(auto_error=False))],
        tags=["dicom-web"],
    )
    threads = _Threads()

    @router.post("", response_class=Response, openapi_extra=_BODY)
    async def store_instances(request: Request) -> Response:
        """Store DICOM objects of whatever studies (STOW-RS)."""
        return await _store(request, door, None, threads)

    @router.post("/{study_uid}", response_class=Response, openapi_extra=_BODY)
    async def store_instances_of_study(request: Request, study_uid: str) -> Response:
        """Store DICOM objects of one study; those of another one fail (STOW-RS)."""
        return await _store(request, door, study_uid, threads)

    return router


async def _store(
    request: Request, door: StudyDoor | None, study_uid: str | None, threads: _Threads
) -> Response:
    if door is None:
        raise NotHere("DICOM objects are taken by gateways only; send them to the gateway of the site")
    if study_uid is not None and not door.knows_as_uid(study_uid):
        raise HTTPException(400, "the address names no study: what follows /studies/ is no UID (PS3.5 9.1)")
    boundary, media_type = _checked(request)
    address = request.client.host if request.client else ""
    sender = BACKFILLED if BACKFILL_HEADER in request.headers else request.state.caller.name
    opened = await threads.run(lambda: door.open(sender, address, study_uid))
    if isinstance(opened, str):
        raise HTTPException(503, f"nothing is taken now: {opened}", {"Retry-After": str(TRY_AGAIN_S)})
    parts = Parts(boundary, opened)
    try:
        async for piece in request.stream():
            await threads.run(partial(parts.feed, piece))
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    finally:
        await threads.run(lambda: opened.close(whole=parts.is_whole))
    status, said = http_status(parts.stored, parts.others), in_words(parts.stored, parts.others)
    if status == 400:
        raise HTTPException(400, said)
    answer = encoded(response_module(parts.stored, parts.others), media_type)
    headers = {"Warning": f'299 iris "{said}"'} if said else None  # PS3.18 has no other place for words
    return Response(answer, status, headers, media_type)


def _checked(request: Request) -> tuple[bytes, str]:
    """The body's boundary, and the media type of the answer."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "send the body as it is, without a Content-Encoding")
    try:
        boundary = boundary_of(request.headers.get("content-type", ""))
    except UnusableType as error:
        raise HTTPException(415, str(error)) from None
    media_type = media_type_of(",".join(request.headers.getlist("accept")))
    if media_type is None:
        raise HTTPException(406, f"the answer can be had as {JSON_TYPE} or {XML_TYPE}; ask for one of them")
    return boundary, media_type
