"""Before an upload is read: whether it is small enough and the disk has room, at the start and as it goes on.

What comes is spooled to the disk by the form's parser. Here its size is looked at before the first byte is
taken, and counted where the sender did not say it.
"""

from typing import Final, Protocol

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import problem
from .store import NO_ROOM

UPLOAD_PATH: Final = "/api/v1/nifti"
FORM_BYTES: Final = 1 << 20
"""What the form may add to the file."""
LOOK_EVERY_BYTES: Final = 1 << 26


class UploadRoom(Protocol):
    """What may come."""

    @property
    def max_bytes(self) -> int:
        """The largest file that is taken."""

    def has_room(self, coming_bytes: int) -> bool:
        """Whether the disk has room for an upload of which so much is still to come."""


class UploadGate:
    """ASGI middleware that lets an upload pass, refuses it, or ends it midway."""

    def __init__(self, app: ASGIApp, room: UploadRoom) -> None:
        self._app = app
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != UPLOAD_PATH:
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        said_bytes = int(length) if length.isascii() and length.isdecimal() else 0
        refusal = self._refusal(said_bytes, said_bytes)
        if refusal is not None:
            await problem(refusal.status_code, refusal.detail)(scope, receive, send)
            return
        await self._app(scope, self._counted(receive, said_bytes), send)

    def _counted(self, receive: Receive, said_bytes: int) -> Receive:
        """The same, but it ends with a problem where too much comes or the disk fills up."""
        came_bytes = looked_at_bytes = 0

        async def receive_some() -> Message:
            nonlocal came_bytes, looked_at_bytes
            message = await receive()
            came_bytes += len(message.get("body", b""))
            is_due = came_bytes - looked_at_bytes >= LOOK_EVERY_BYTES
            if is_due:
                looked_at_bytes = came_bytes
            left_bytes = max(0, said_bytes - came_bytes) if is_due else None
            refusal = self._refusal(came_bytes, left_bytes)
            if refusal is not None:
                raise refusal
            return message

        return receive_some

    def _refusal(self, size_bytes: int, coming_bytes: int | None) -> HTTPException | None:
        most_bytes = self._room.max_bytes
        if size_bytes > most_bytes + FORM_BYTES:
            return HTTPException(413, too_large(most_bytes))
        if coming_bytes is not None and not self._room.has_room(coming_bytes):
            return HTTPException(507, NO_ROOM)
        return None


def too_large(most_bytes: int) -> str:
    """The sentence that refuses a file."""
    return f"the file is larger than {most_bytes // 1_000_000} MB; api.max_upload_mb sets what is taken"
