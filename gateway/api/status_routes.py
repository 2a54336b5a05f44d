"""The operations under /api/v1: lists, one of each, what a person may ask for, the live stream, job files."""

import mimetypes
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Security
from fastapi.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException

from gateway.ledger.states import StudyState

from . import models
from .listings import DEFAULT_LIMIT, MAX_LIMIT
from .live import LiveFeed, TooManyWatchers
from .problems import DOCUMENTED, NOT_IN_THE_CLOUD, documented
from .store import Actions, Cut, JobFiles, Json, NotFound, NotHere, StatusStore

StudyName = Annotated[str, Path(max_length=128, description="A study_key, or a Study Instance UID")]
Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items on one page")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before")]
State = Annotated[StudyState | None, Query(description="Only studies in this state")]
Since = Annotated[
    AwareDatetime | None,
    Query(
        description="Only studies received from this time on, ISO 8601 with its zone: 2026-01-31T08:00:00Z"
    ),
]

Sought = Annotated[
    str,
    Query(
        alias="q",
        max_length=128,
        description="Only studies whose Patient ID, accession number, UID or key begins so, or the key of a"
        " job or delivery of theirs",
    ),
]

FILES = {
    "labels.nii.gz": "The label map on the grid of the job's input",
    "preview.png": "A picture of the labels on the image",
    "statistics.json": "Volume and mean intensity of each structure",
}

ASKED_FOR: Final[Json] = {
    "response_model": models.Outcome,
    "status_code": 202,
    "responses": NOT_IN_THE_CLOUD,
}
"""Of every operation by which a person asks for something."""

NO_STREAM = "changes are not streamed from the cloud; ask for the lists again, every 5 seconds or less often"


def status_routes(store: StatusStore, actions: Actions, live: LiveFeed | None, files: JobFiles) -> APIRouter:
    """Everything under /api/v1; without `live` no changes are streamed."""
    router = APIRouter(
        prefix="/api/v1", responses=DOCUMENTED, dependencies=[Security(HTTPBearer(auto_error=False))]
    )
    _add_studies(router, store, actions)
    _add_jobs(router, store, actions)
    _add_quarantine(router, store, actions)
    _add_events(router, live)
    for name, what in FILES.items():
        _add_file(router, store, files, name, what)
    return router


def _add_studies(router: APIRouter, store: StatusStore, actions: Actions) -> None:
    @router.get("/studies", response_model=models.StudyList, responses=NOT_IN_THE_CLOUD, tags=["studies"])
    def list_studies(
        state: State = None,
        since: Since = None,
        sought: Sought = "",
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Json:
        """Studies, the latest received first; the order does not change while studies come in.

        In the cloud it is the last changed first: what changes meanwhile moves to the first page, and nothing
        else moves; `q` is refused there.
        """
        return store.studies(state=state, since=since, sought=sought.strip(), cut=Cut(limit, cursor))

    @router.get("/studies/{study}", response_model=models.Study, tags=["studies"])
    def show_study(study: StudyName) -> Json:
        """One study: its series with what was decided and why, its jobs, deliveries and timeline."""
        return _found(store.study(study), "study")

    @router.post("/studies/{study}/complete", tags=["studies"], **ASKED_FOR)
    def complete_study(study: StudyName) -> Json:
        """Say that a study has arrived, so that nothing more is waited for."""
        return actions.complete(study)

    @router.post("/studies/{study}/use", tags=["studies"], **ASKED_FOR)
    def use_volume(study: StudyName, choice: models.VolumeChoice) -> Json:
        """Use this volume in the place of the others of its scan, now and at every later completion.

        What is not delivered of the others is given up; what is delivered stays where it is.
        """
        return actions.use(study, choice.series_uid, choice.number)

    @router.post("/studies/{study}/forget", tags=["studies"], **ASKED_FOR)
    def forget_study(study: StudyName) -> Json:
        """Erase a study here with all that was made of it; a tombstone of keys and times stays.

        What is open of it is cancelled first. It is gone when the study is answered by 404.
        """
        return actions.forget(study)


def _add_jobs(router: APIRouter, store: StatusStore, actions: Actions) -> None:
    @router.get("/jobs/{job_key}", response_model=models.Job, tags=["jobs"])
    def show_job(job_key: Key) -> Json:
        """One job with its deliveries and timeline."""
        return _found(store.job(job_key), "job")

    @router.post("/jobs/{job_key}/retry", tags=["jobs"], **ASKED_FOR)
    def retry_job(job_key: Key) -> Json:
        """Take up a failed or cancelled job with its failed deliveries; or one delivery, by its key."""
        return actions.retry(job_key)

    @router.post("/jobs/{job_key}/cancel", tags=["jobs"], **ASKED_FOR)
    def cancel_job(job_key: Key) -> Json:
        """Stop a job and what it has not delivered."""
        return actions.cancel(job_key)


def _add_quarantine(router: APIRouter, store: StatusStore, actions: Actions) -> None:
    @router.get("/quarantine", response_model=models.QuarantineList, tags=["quarantine"])
    def list_quarantine(limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Json:
        """What waits for a person: objects that were put aside, and jobs that are held; none in the cloud."""
        content = store.quarantine(Cut(limit, cursor))
        for item in content["items"]:
            item["releasable"] = item["kind"] == "job" or actions.can_release_objects
        return content

    @router.post("/quarantine/{key}/release", tags=["quarantine"], **ASKED_FOR)
    def release(key: Key) -> Json:
        """Let a held job go on, or take an object in after all."""
        return actions.release(key)


def _add_events(router: APIRouter, live: LiveFeed | None) -> None:
    @router.get(
        "/events",
        response_class=StreamingResponse,
        tags=["events"],
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **NOT_IN_THE_CLOUD,
        },
    )
    async def events() -> StreamingResponse:
        """Every change, as server-sent events, after it is in the ledger.

        Each `data` is one JSON object: `kind` (study, job, progress, delivery, instances, quarantine), the
        keys it is about (`study_key`, `job_key`, `key`) and its `state`. `{"kind": "reload"}`: something
        was left out, since the reader was slow; read the lists again. In the cloud there are none: ask the
        lists again from time to time.
        """
        if live is None:
            raise NotHere(NO_STREAM)
        try:
            stream = live.watch()
        except TooManyWatchers:
            raise HTTPException(503, "too many are watching; close other pages, then reload") from None
        return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _add_file(router: APIRouter, store: StatusStore, files: JobFiles, name: str, what: str) -> None:
    media_type = mimetypes.guess_type(name)[0] if not name.endswith(".gz") else "application/gzip"

    @router.get(
        f"/jobs/{{job_key}}/{name}",
        name=name,
        summary=what,
        response_class=FileResponse,
        tags=["jobs"],
        responses={
            200: {"content": {media_type or "": {}}},
            307: {
                "description": "In the cloud: `Location` is good for minutes, for whoever has it",
                "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
            },
            **documented(502, 503),
        },
    )
    def job_file(job_key: Key) -> Response:
        job = _found(store.job(job_key), "job")
        where = files.located(job_key, name)
        if where is None and job["results_removed"]:
            raise NotFound(f"this job's results were removed here on {job['results_removed'][:10]}")
        if where is None:
            raise NotFound(f"this job has no {name} (yet)")
        if isinstance(where, str):
            return RedirectResponse(where)
        attachment = name if name.endswith(".gz") else None
        return FileResponse(where, media_type=media_type, filename=attachment)


def _found(content: Json | None, what: str) -> Json:
    if content is None:
        raise NotFound(f"there is no such {what}")
    return content
