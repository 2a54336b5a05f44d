"""The operations under /api/v1: lists, one of each, what a person may ask for, the live stream, job files."""

import mimetypes
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Security
from fastapi.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer

from .. import models
from ..live.live import LiveFeed, LiveStream
from ..problems import DOCUMENTED, NOT_IN_THE_CLOUD
from ..store import Actions, Cut, JobFiles, Json, NotFound, NotHere, StatusStore
from .listings import MAX_LIMIT
from .study_filter import StudyQuery
from .tags import TAGGED, IfNoneMatch, is_known, not_modified, tag_of

StudyName = Annotated[str, Path(max_length=128, description="A study_key, or a Study Instance UID")]
Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items on one page")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before")]
LastHeard = Annotated[
    str, Header(max_length=64, description="The last `id` of an earlier stream; what came after it is told")
]

FILES = {
    "labels.nii.gz": "The label map on the grid of the job's input",
    "preview.png": "A picture of the labels on the image",
    "statistics.json": "Volume and mean intensity of each structure",
    "surface.glb": "The surface of each structure, glTF 2.0 in one file; where `files` of the job names it",
    "surface.obj": "The same as Wavefront OBJ, RAS mm",
    "surface.mtl": "The colours of `surface.obj`",
    "surface.json": "What the surfaces show: names, colours, volumes, statistics, flags",
}
mimetypes.add_type("model/gltf-binary", ".glb")
mimetypes.add_type("model/obj", ".obj")
mimetypes.add_type("model/mtl", ".mtl")

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
    _add_events(router, live)
    for name, what in FILES.items():
        _add_file(router, store, files, name, what)
    return router


def _add_studies(router: APIRouter, store: StatusStore, actions: Actions) -> None:
    @router.get(
        "/studies",
        response_model=models.StudyList,
        responses={**NOT_IN_THE_CLOUD, **TAGGED},
        tags=["studies"],
    )
    def list_studies(
        asked: Annotated[StudyQuery, Query()], response: Response, if_none_match: IfNoneMatch = ""
    ) -> Any:
        """Studies, the latest received first unless `sort` says another order, in which pages stay right.

        An answer that is as it was when `If-None-Match` had its `ETag` is 304. In the cloud the last changed
        is first: what changes meanwhile moves to the first page, and nothing else moves; what its table does
        not know, or has not in order, is refused there.
        """
        cut = Cut(asked.limit, asked.cursor)
        content = store.studies(asked.wanted, asked.in_order, cut, is_counted=asked.count)
        response.headers["ETag"] = tag = tag_of(content)
        return not_modified(tag) if is_known(tag, if_none_match) else content

    @router.get("/traits", response_model=models.StudyTraits, tags=["studies"])
    def list_traits() -> Json:
        """By what studies can be found: each modality, sender, rule, destination and flag that one has."""
        return store.traits()

    @router.get("/studies/{study}", response_model=models.Study, tags=["studies"])
    def show_study(study: StudyName) -> Json:
        """One study: its series with what was decided and why, its jobs, deliveries and timeline."""
        return found(store.study(study), "study")

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

    @router.delete("/studies/{study}", tags=["studies"], **ASKED_FOR)
    def delete_study(study: StudyName) -> Json:
        """Erase a study: the same as `POST /api/v1/studies/{study}/forget`.

        In the cloud an upload is erased at once, its job folder with all versions and its items in the table;
        a study of a gateway is erased there.
        """
        return actions.forget(study)


def _add_jobs(router: APIRouter, store: StatusStore, actions: Actions) -> None:
    @router.get("/jobs/{job_key}", response_model=models.Job, tags=["jobs"])
    def show_job(job_key: Key) -> Json:
        """One job with its deliveries and timeline."""
        return found(store.job(job_key), "job")

    @router.post("/jobs/{job_key}/retry", tags=["jobs"], **ASKED_FOR)
    def retry_job(job_key: Key) -> Json:
        """Take up a failed or cancelled job with its failed deliveries; or one delivery, by its key."""
        return actions.retry(job_key)

    @router.post("/jobs/{job_key}/cancel", tags=["jobs"], **ASKED_FOR)
    def cancel_job(job_key: Key) -> Json:
        """Stop a job and what it has not delivered."""
        return actions.cancel(job_key)

    @router.post("/jobs/{job_key}/priority", tags=["jobs"], **ASKED_FOR)
    def set_priority(job_key: Key, wish: models.NewPriority) -> Json:
        """Let a job have its turn sooner or later, while it is not handed to the queue yet.

        It outlives later completions of the study.
        """
        return actions.set_priority(job_key, wish.priority)

    @router.post("/jobs/{job_key}/reprocess", tags=["jobs"], **ASKED_FOR)
    def reprocess_job(job_key: Key, wish: models.AnotherTask) -> Json:
        """Run another task on the same images, as a further job: its results go where this job's go.

        What is answered is of that job; the same wish again finds the same one. It stays beside what rules
        plan until images that come late change the volume.
        """
        return actions.reprocess(job_key, wish.task, wish.options)


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
    async def events(last_event_id: LastHeard = "") -> LiveStream:
        """Every change, as server-sent events, after it is in the ledger.

        Each `data` is one JSON object: `kind` (study, job, progress, delivery, instances, quarantine), the
        keys it is about (`study_key`, `job_key`, `key`) and its `state`. An `id` is a line of the timeline,
        also after a restart: whoever comes back with it, as browsers do by themselves, is told what happened
        since, with the states of now. `{"kind": "reload"}`: something cannot be told; read the lists again.
        In the cloud there are no events: ask the lists again from time to time.
        """
        if live is None:
            raise NotHere(NO_STREAM)
        return LiveStream(live, last_event_id.strip())


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
        },
    )
    def job_file(job_key: Key) -> Response:
        job = found(store.job(job_key), "job")
        where = files.located(job_key, name)
        if where is None and job["results_removed"]:
            raise NotFound(f"this job's results were removed here on {job['results_removed'][:10]}")
        if where is None:
            raise NotFound(f"this job has no {name} (yet)")
        if isinstance(where, str):
            return RedirectResponse(where)
        attachment = name if name.endswith((".gz", ".obj", ".mtl")) else None
        return FileResponse(where, media_type=media_type, filename=attachment)


def found(content: Json | None, what: str) -> Json:
    """It, or NotFound where there is none."""
    if content is None:
        raise NotFound(f"there is no such {what}")
    return content
