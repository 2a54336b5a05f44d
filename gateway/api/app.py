"""Puts the API together: routes, errors, access, page."""

from collections.abc import Callable, Sequence
from importlib import metadata

from fastapi import FastAPI
from prometheus_client.registry import Collector

from .action_routes import action_routes
from .callers.access import Access
from .callers.attempts import Attempts
from .callers.guard import Guard, Policy
from .callers.sign_in import People, SignIn
from .callers.token_policy import TokenPolicy
from .callers.token_routes import Tokens, token_routes
from .door_routes import door_routes
from .languages.middleware import Languages
from .live.live import LiveFeed
from .mirror_routes import NOTHING_MIRRORED, mirror_routes
from .nifti_routes import nifti_routes
from .overview.overview import Overviews
from .overview.premises import Premises
from .overview.routes import overview_routes
from .page_routes import add_page
from .probes.metrics import FiguresCollector
from .probes.readiness import Readiness
from .probes.routes import probe_routes
from .problems import add_problem_handlers
from .quarantine.routes import quarantine_routes
from .store import Actions, JobFiles, Json, MirrorControl, PutAside, StatusStore, Uploads
from .stow.routes import dicomweb_routes
from .stow.senders import StudyDoor
from .studies.routes import status_routes
from .upload_gate import UploadGate, UploadRoom


def create_api(
    store: StatusStore,
    actions: Actions,
    readiness: Callable[[], Readiness],
    live: LiveFeed | None,
    access: Access | Policy,
    files: JobFiles,
    uploads: Uploads,
    *,
    pictures_from: str = "",
    mirror: MirrorControl | None = None,
    door: Callable[[], Json] | None = None,
    stow: StudyDoor | None = None,
    premises: Premises | None = None,
    put_aside: PutAside | None = None,
    collectors: Sequence[Collector] = (),
    sign_in: SignIn | None = None,
    upload_room: UploadRoom | None = None,
    tokens: Tokens | None = None,
    people: People | None = None,
) -> FastAPI:
    """The whole API as one ASGI app.

    Parameters
    ----------
    store, actions, files, uploads
        What is known, what can be asked for, where job folders are, and how images come as NIfTI files.
    readiness
        Asked at every /readyz.
    live
        What the live streams tell; None: there are none. `ApiServer.stop` ends them.
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
    premises
        What a gateway alone knows of itself; None where there is none.
    put_aside
        Where the objects in quarantine lie; None: elsewhere.
    collectors
        Make the metrics of what is not in the store; asked at every /metrics.
    sign_in
        Where the page signs in to get tokens; None: by the admin token, or whoever lets requests pass does.
    upload_room
        What uploads may come; None where files are put elsewhere.
    tokens
        Those that are kept; None: there are none here.
    people
        Who signs in at an identity provider, as the page then does by itself; None: nobody does.
    """
    api = FastAPI(
        title="IRIS Gateway",
        version=metadata.version("iris-gateway"),
        description="Where every study is, and why. For research use.",
        docs_url=None,  # the ready-made pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.live = live
    add_problem_handlers(api)
    attempts = Attempts()
    own = access if isinstance(access, Access) else None
    api.include_router(probe_routes(store, readiness, (*collectors, FiguresCollector(attempts.figures))))
    api.include_router(status_routes(store, actions, live, files))
    api.include_router(quarantine_routes(store, actions, put_aside))
    api.include_router(action_routes(actions))
    mirrored = mirror.state if mirror is not None else lambda: NOTHING_MIRRORED
    overviews = Overviews(store, actions, readiness, mirrored, door, premises)
    api.include_router(overview_routes(overviews, premises))
    api.include_router(nifti_routes(uploads))
    api.include_router(mirror_routes(mirror))
    api.include_router(door_routes(door))
    api.include_router(dicomweb_routes(stow))
    api.include_router(token_routes(tokens, own.new_code if own is not None and people is None else None))
    policy = TokenPolicy(access, attempts, stow, people) if isinstance(access, Access) else access
    sign_in = sign_in or people
    add_page(api, own or Access(None), attempts, sign_in)
    api.add_middleware(Languages)
    if upload_room is not None:
        api.add_middleware(UploadGate, room=upload_room)
    api.add_middleware(
        Guard, policy=policy, pictures_from=pictures_from, sign_in_at=sign_in.origin if sign_in else ""
    )
    return api
