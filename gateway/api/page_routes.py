"""The status page and its sign-in: plain files beside this module, nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from .access import SESSION_S, Access
from .guard import OPEN_FOLDER, has_session
from .sign_in import SIGN_IN_PATH, SignIn

FOLDER = Path(__file__).parent / "page"


class _PageFiles(StaticFiles):
    """The page's own files: kept by the browser, but asked after each time, so an update shows at once."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


def add_page(api: FastAPI, access: Access, sign_in: SignIn | None = None) -> None:
    """Serve the page at /, its files under /page/, and the list of operations at /docs.

    Parameters
    ----------
    access
        Signs the page in; one that is open leaves that to whoever let the request pass.
    sign_in
        Where the page itself gets a token; None: nowhere.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def page(request: Request, token: str | None = None) -> Response:
        """The page; a token in the address becomes a cookie and leaves the address."""
        if access.is_open or (token is None and has_session(access, request.headers)):
            return FileResponse(FOLDER / "index.html")
        if token is None:
            return FileResponse(FOLDER / "sign-in.html", 401)
        if not access.knows_token(token):
            return FileResponse(FOLDER / "wrong-token.html", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            access.cookie_name,
            access.new_cookie(),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.get("/docs")
    def docs() -> Response:
        """What the API can do, drawn from /openapi.json."""
        return FileResponse(FOLDER / "docs.html")

    @router.get(SIGN_IN_PATH)
    def sign_in_settings() -> dict[str, str]:
        """Where the page signs in; nothing where it has no part in that."""
        return {} if sign_in is None else {"url": sign_in.url, "client": sign_in.client}

    api.include_router(router)
    api.mount(OPEN_FOLDER.rstrip("/"), _PageFiles(directory=FOLDER), name="page")
