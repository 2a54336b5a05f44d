"""Entity tags: an answer that whoever asks has already is not sent again (RFC 9110, section 8.8.3)."""

import hashlib
import json
from typing import Annotated, Any, Final

from fastapi import Header
from fastapi.responses import Response

from ..store import Json

IfNoneMatch = Annotated[str, Header(max_length=1024, description="The `ETag` of the answer that is known")]
TAGGED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": {"ETag": {"description": "Of what it says", "schema": {"type": "string"}}}},
    304: {"description": "It says what `If-None-Match` knows"},
}


def tag_of(content: Json) -> str:
    """The tag of an answer; a weak one: it is of what it says, and not of its bytes."""
    said = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return f'W/"{hashlib.blake2b(said.encode(), digest_size=12).hexdigest()}"'


def is_known(tag: str, if_none_match: str) -> bool:
    """Whether whoever asks has that answer."""
    return tag in (one.strip() for one in if_none_match.split(","))


def not_modified(tag: str) -> Response:
    """The answer to whoever has it."""
    return Response(status_code=304, headers={"ETag": tag})
