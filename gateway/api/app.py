"""Puts the API together: routes, errors, access, page."""

from collections.abc import Callable, Sequence
from importlib import metadata

from fastapi import FastAPI
from prometheus_client.registry import Collector

from gateway.events import Bus

from .access import Access
from .action_routes import action_routes
from .dicomweb_routes import dicomweb_routes
from .door_routes import door_routes
from .guard import Guard, Policy, TokenPolicy
from .live import LiveFeed
from .mirror_routes import mirror_routes
from .nifti_routes import nifti_routes
from .page_routes import add_page
from .probe_routes import probe_routes
from .problems import add_problem_handlers
from .readiness import Readiness
from .senders import StudyDoor
from .sign_in import SignIn
from .status_routes import status_routes
from .store import Actions, JobFiles, Json, MirrorControl, StatusStore, Uploads
from .upload_gate import UploadGate, UploadRoom


def create_api(
    store: StatusStore,
    actions: Actions,
    readiness: Callable[[], Readiness],
    bus: Bus | None,
    access: Access | Policy,
    files: JobFiles,
    uploads: Uploads,
    *,
    pictures_from: str = "",
    mirror: MirrorControl | None = None,
    door: Callable[[], Json] | None = None,
    stow: StudyDoor | None = None,
    collectors: Sequence[Collector] = (),
    sign_in: SignIn | None = None,
    upload_room: UploadRoom | None = None,
) -> FastAPI:
    """The whole API as one ASGI app.

    Parameters
    ----------
    store, actions, files, uploads
        What is known, what can be asked for, where job folders are, and how images come as NIfTI files.
    readiness
        Asked at every /readyz.
    bus
        Whose events the live stream tells; None: there is no stream. `api.state.live.close()` ends every
        stream; `ApiServer.stop` calls it.
    access
        Who may ask. With a policy other than the token's the page has no sign-in of its own.
    pictures_from
        The origin of the URLs that `files` gives: the page may show pictures from there, and put uploads.
    mirror
        None where this app has no part in mirroring.
    door
        What is known of the DICOM port; None where there is none.
    stow
        Takes DICOM objects that come by STOW-RS; None: they are refused.
    collectors
        Make the metrics of what is not in the store; asked at every /metrics.
    sign_in
        Where the page signs in to get tokens; None: by the admin token, or whoever lets requests pass does.
    upload_room
        What uploads may come; None where files are put elsewhere.
    """
    api = FastAPI(
        title="IRIS Gateway",
        version=metadata.version("iris-gateway"),
        description="Where every study is, and why. For research use.",
        docs_url=None,  # the ready-made pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.live = live = LiveFeed(bus, store.study_key) if bus is not None else None
    add_problem_handlers(api)
    api.include_router(probe_routes(store, readiness, collectors))
    api.include_router(status_routes(store, actions, live, files))
    api.include_router(action_routes(actions))
    api.include_router(nifti_routes(uploads))
    api.include_router(mirror_routes(mirror))
    api.include_router(door_routes(door))
    api.include_router(dicomweb_routes(stow))
    policy = TokenPolicy(access, stow) if isinstance(access, Access) else access
    add_page(api, access if isinstance(access, Access) else Access(None), sign_in)
    if upload_room is not None:
        api.add_middleware(UploadGate, room=upload_room)
    api.add_middleware(
        Guard, policy=policy, pictures_from=pictures_from, sign_in_at=sign_in.url if sign_in else ""
    )
    return api
