"""The status page and its sign-in: plain files beside this module, nothing from elsewhere."""

import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from .callers.access import SESSION_S, Access, Caller, CannotTell, NotKnown
from .callers.attempts import Attempts, TooManyFailures
from .callers.guard import OPEN_FOLDER
from .callers.sign_in import SIGN_IN_PATH, SignIn
from .callers.token_policy import cookie_in

FOLDER = Path(__file__).parent / "page"
MOST_FORM_BYTES: Final = 4096
"""Of the sign-in form, which anybody may send."""


class _PageFiles(StaticFiles):
    """The page's own files: kept by the browser, but asked after each time, so an update shows at once."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


def add_page(api: FastAPI, access: Access, attempts: Attempts, sign_in: SignIn | None = None) -> None:
    """Serve the page at /, its files under /page/, and the list of operations at /docs.

    Parameters
    ----------
    access
        Signs the page in; one that is open leaves that to whoever let the request pass.
    attempts
        What sign-ins are tried by.
    sign_in
        Where the page itself gets a token; None: nowhere.
    """
    router = APIRouter(include_in_schema=False)

    def signed_in(request: Request, way: str, offered: str, find: Callable[[str], Caller]) -> Response:
        address = request.client.host if request.client else ""
        try:
            caller = attempts.known(address, way, offered, find)
        except NotKnown as unknown:
            return _sign_in_page(401, str(unknown))
        except TooManyFailures as slowed:
            return _sign_in_page(429, str(slowed), slowed.headers)
        answer = RedirectResponse("/", 303)
        cookie = access.new_cookie(caller)
        attempts.vouch("cookie", cookie)
        answer.set_cookie(
            access.cookie_name,
            cookie,
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.get("/")
    def page(request: Request, code: str | None = None) -> Response:
        """The page; a one-time code in the address becomes a cookie and leaves the address."""
        if access.is_open or sign_in is not None:
            return FileResponse(FOLDER / "index.html")
        if code is not None:
            return signed_in(request, "code", code, access.by_code)
        if not (cookie := cookie_in(access, request.headers)):
            return _sign_in_page(401)
        try:
            attempts.known(request.client.host if request.client else "", "cookie", cookie, access.by_cookie)
        except (NotKnown, TooManyFailures) as ended:
            return _sign_in_page(401, str(ended))
        return FileResponse(FOLDER / "index.html")

    @router.post("/")
    async def sign_in_by_form(request: Request) -> Response:
        """The form of the sign-in page: a token becomes a cookie."""
        form = parse_qs((await _little_of(request)).decode("utf-8", "replace"))
        token = form.get("token", [""])[0].strip()
        return await to_thread.run_sync(signed_in, request, "token", token, access.by_token)

    @router.post("/sign-out")
    def sign_out() -> Response:
        """The browser forgets its session."""
        answer = Response(status_code=204)
        answer.delete_cookie(access.cookie_name, httponly=True, samesite="strict")
        return answer

    @router.get("/docs")
    def docs() -> Response:
        """What the API can do, drawn from /openapi.json."""
        return FileResponse(FOLDER / "docs" / "docs.html")

    @router.get(SIGN_IN_PATH)
    def sign_in_settings() -> dict[str, str | bool]:
        """Where the page signs in, or that it has a session here; nothing where it has no part in that."""
        if sign_in is None:
            return {} if access.is_open else {"session": True}
        try:
            return {**sign_in.settings()}
        except CannotTell as why:
            return {"trouble": str(why)}

    api.include_router(router)
    api.mount(OPEN_FOLDER.rstrip("/"), _PageFiles(directory=FOLDER), name="page")


def _sign_in_page(status: int, why: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """The form; with why nobody is signed in, where something was offered."""
    form = (FOLDER / "sign-in" / "sign-in.html").read_text(encoding="utf-8")
    notice = (
        f'<p class="notice bad" role="alert">{html.escape(why[:1].upper() + why[1:])}.</p>' if why else ""
    )
    return HTMLResponse(form.replace("<!-- why -->", notice), status, headers)


async def _little_of(request: Request) -> bytes:
    """A body that is as small as the form is; what is larger is not read."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_FORM_BYTES:
            raise HTTPException(413, "this is more than the form of the sign-in page sends")
    return body
