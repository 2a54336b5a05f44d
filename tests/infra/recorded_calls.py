"""Every call that boto3 makes, written down: by sessions of this process, and by the job's own process.

botocore tells of each operation before it is sent or signed: a URL that is signed for somebody else counts as
the call that it allows. `python -m tests.infra.recorded_calls FILE PROGRAM.py ARGUMENTS` runs a program whose
calls go to the file.
"""

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED, handlers

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One operation of AWS as a client was asked for it."""

    service: str
    """As boto3 names the client: `s3`."""
    operation: str
    parameters: Parameters


@contextmanager
def recording() -> Iterator[list[Call]]:
    """The calls of every session that is made meanwhile; those of older sessions are not in it."""
    calls: list[Call] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handlers, "BUILTIN_HANDLERS", [*handlers.BUILTIN_HANDLERS, *_handlers(calls.append)])
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield calls


def _handlers(write: Callable[[Call], object]) -> list[Any]:
    """What botocore tells: a call's parameters, then how it is signed; what is not signed is no call."""

    def note(params: Parameters, model: Any, context: dict[str, Any], **_: object) -> None:
        context[__name__] = Call(model.service_model.service_name, model.name, dict(params))

    def on_signing(context: dict[str, Any], signature_version: object, **_: object) -> None:
        call = context.pop(__name__, None)  # gone, where the request is sent again
        if call is not None and signature_version is not UNSIGNED and context.get("auth_type") != "none":
            write(call)

    return [
        ("provide-client-params", note),
        ("choose-signer", on_signing, handlers.REGISTER_FIRST),  # others answer, and later ones are not asked
    ]


def recorded_in(path: Path) -> list[Call]:
    """What a program noted."""
    return [Call(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _run(path: Path, program: str, arguments: list[str]) -> None:
    with path.open("a", encoding="utf-8", buffering=1) as log:

        def write(call: Call) -> None:
            plain = {name: of for name, of in call.parameters.items() if isinstance(of, str | int)}
            log.write(
                json.dumps({"service": call.service, "operation": call.operation, "parameters": plain}) + "\n"
            )

        handlers.BUILTIN_HANDLERS.extend(_handlers(write))
        sys.argv = [program, *arguments]
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
