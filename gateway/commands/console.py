"""What commands have in common: what they say, and how they fail: one line that says what to do, exit code 1.

Each command imports what it needs when it runs: `iris --help` and `iris studies` should not load NumPy.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from gateway.adapters.checks import Check, Verdict

if TYPE_CHECKING:
    from .status_client import StatusClient

out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file; without one the defaults and IRIS_* variables")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]

EXPECTED_ERRORS: Final = (
    ("converter.errors", "ConverterError"),
    ("gateway.adapters.tls", "TlsError"),
    ("gateway.api.callers.access", "AccessError"),
    ("gateway.api.server", "ApiError"),
    ("gateway.config.configuration", "ConfigError"),
    ("gateway.adapters.dicom.peer", "NotReached"),
    ("gateway.adapters.dicom.retrieval", "NotAnswered"),
    ("gateway.delivery.sending", "NotSendable"),
    ("gateway.demo.children", "DemoError"),
    ("gateway.ledger.backup", "BackupError"),
    ("gateway.ledger.store", "LedgerError"),
    ("gateway.listener.door.port", "ListenerError"),
    ("gateway.commands.ledger_rebuild", "RebuildFailed"),
    ("gateway.commands.mirror_rebuild", "RebuildError"),
    ("gateway.commands.stack_config", "StackError"),
    ("gateway.commands.status_client", "StatusError"),
)
"""Exceptions whose text is for the user, by module and name: to say what is wrong, none is loaded."""


def one_of(*names: str) -> Callable[[str], str]:
    """What refuses an option's value that is none of these, unless it is empty: wrong usage, exit code 2."""

    def checked(value: str) -> str:
        if value and value not in names:
            raise typer.BadParameter(f"{value!r} is none of {', '.join(names)}")
        return value

    return checked


def fail(sentence: str) -> NoReturn:
    """Say why in one line, and end with exit code 1."""
    err.print(Text.assemble(("iris: ", "red"), sentence))
    raise typer.Exit(1)


def clock(at: str) -> str:
    """A time of the ledger (ISO 8601, UTC) by this machine's clock, as `--since` takes it."""
    return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"


def print_json(value: Any) -> None:
    """Print a value for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say_checks(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print what checks found and what to do about it; exit code 1 where one failed."""
    failed = sum(check.verdict is Verdict.FAILED for check in checks)
    if as_json:
        print_json({"items": [vars(check) for check in checks]})
    else:
        colours = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red"}
        rows = [
            (check.name, Text(check.verdict, colours[check.verdict]), check.finding, check.fix)
            for check in checks
        ]
        say_table(("check", "", "finding", "what to do"), rows)
    if failed:
        fail(f"{failed} of {len(checks)} checks failed; the table says what to do")


def say_table(names: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table that cuts nothing, whether a UID, a path or a value of the configuration.

    Where somebody looks cells are wrapped; elsewhere each row is one line, for `grep` and a log.
    """
    if out.is_terminal:
        columns = [Column(name, overflow="fold") for name in names]
        widest = max((len(str(row[0])) for row in rows), default=0)
        if widest <= out.width // 2:  # what a row is about can be copied
            columns[0].min_width = widest
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        out.print(table, soft_wrap=False)
        return
    lines = [names, *([" ".join(str(cell).split()) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        out.print("  ".join(map(str.ljust, line, widths)).rstrip())


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar, where somebody looks, that is told how much is done, and of how much."""
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def progress_of_parts() -> Iterator[Callable[[str, int, int], None]]:
    """The same for work of several parts: told what is being done, too."""
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda what, done, total: progress.update(
            task, description=what, completed=done, total=total or None
        )


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn every expected error into one line and exit code 1."""
    try:
        yield
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror}")
    except MemoryError:
        fail("this machine has no memory left for that; give it more, or stop what else runs there")
    except Exception as error:
        if is_expected(error):
            fail(str(error))
        raise


def is_expected(error: Exception) -> bool:
    """Whether an error's text is the line to print; what was not loaded was not raised."""
    return any(
        isinstance(error, getattr(sys.modules[room], name))
        for room, name in EXPECTED_ERRORS
        if room in sys.modules
    )


def client_of(config: Path | None) -> "StatusClient":
    """What answers for the gateway of a configuration."""
    from gateway.config import load_config
    from gateway.logs import silence_logging

    from .status_client import StatusClient

    silence_logging()
    return StatusClient(load_config(config).data_dir)
