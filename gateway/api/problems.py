"""Errors as RFC 9457 problem details: a title, a status, a sentence; never the text of an exception."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from batch_job.contract import what_is_wrong
from gateway.adapters.errors import OutsideError, Retriable
from gateway.ledger.store import LedgerError
from gateway.ledger.transaction import NotPossible

from .cursors import BadCursor
from .models import Problem
from .store import NoRoom, NotFound, NotHere, TooLarge

MEDIA_TYPE = "application/problem+json"

_SCHEMA = Problem.model_json_schema()
_SENTENCES: Final[Mapping[int, str]] = {
    400: "the body cannot be read: send it as its Content-Type says, whole and in UTF-8",
    404: "there is nothing at this address; /docs lists what there is",
    405: "this address does not take that method; Allow has those that it takes, /docs what they do",
    413: "the request is too large; send less at once",
}
_FRAMEWORKS: Final = frozenset({"There was an error parsing the body"})

INTERNAL = "this is a fault of the gateway; its log says where"


def documented(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Problems that an operation may answer, for OpenAPI."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }
        for status in statuses
    }


DOCUMENTED = documented(400, 401, 403, 404, 409, 421, 422, 429, 500, 502, 503)
"""Those that any operation may answer."""
NOT_IN_THE_CLOUD = documented(501)
"""Where the status API in the cloud says whom to ask instead."""


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """One problem as a response."""
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(content.model_dump(), status, headers, MEDIA_TYPE)


def add_problem_handlers(api: FastAPI) -> None:
    """Let every error of `api` be a problem."""
    api.add_exception_handler(NotFound, _not_found)
    api.add_exception_handler(NotPossible, _not_possible)
    api.add_exception_handler(TooLarge, _too_large)
    api.add_exception_handler(NoRoom, _no_room)
    api.add_exception_handler(NotHere, _not_here)
    api.add_exception_handler(BadCursor, _bad_cursor)
    api.add_exception_handler(OutsideError, _outside)
    api.add_exception_handler(LedgerError, _ledger)
    api.add_exception_handler(RequestValidationError, _not_valid)
    api.add_exception_handler(HTTPException, _http)


def _not_found(_: Request, error: Exception) -> Response:
    return problem(404, str(error))


def _not_possible(_: Request, error: Exception) -> Response:
    return problem(409, str(error))


def _too_large(_: Request, error: Exception) -> Response:
    return problem(413, str(error))


def _no_room(_: Request, error: Exception) -> Response:
    return problem(507, str(error))


def _not_here(_: Request, error: Exception) -> Response:
    return problem(501, str(error))


def _bad_cursor(_: Request, error: Exception) -> Response:
    return problem(422, str(error))


def _outside(_: Request, error: Exception) -> Response:
    """The object store did not do its part; its sentence is made for people."""
    return problem(503 if isinstance(error, Retriable) else 502, str(error))


def _ledger(_: Request, error: Exception) -> Response:
    """It is damaged, or the gateway is stopping."""
    return problem(503, str(error))


def _not_valid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The value that was refused stays out: it may be what a person typed about a patient.
    sentences = [
        f"{'.'.join(map(str, e['loc'][1:])) or e['loc'][0]}: {what_is_wrong(e)}" for e in error.errors()
    ]
    return problem(422, "; ".join(sentences))


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # Those whose sentence is the framework's own, which says what went wrong and not what to do.
    is_bare = error.detail in (HTTPStatus(error.status_code).phrase, *_FRAMEWORKS)
    is_bare |= isinstance(error.__context__, MultiPartException)
    detail = _SENTENCES.get(error.status_code, error.detail) if is_bare else error.detail
    return problem(error.status_code, detail, dict(error.headers) if error.headers else None)
