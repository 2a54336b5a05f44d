"""The proof in the terminal: a line for each station, what was found, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from .stations import FormFound, Report, Station, Verdict

_SIGNS: Final = {
    Verdict.PASSED: ("ok", "green"),
    Verdict.NOTED: ("note", "yellow"),
    Verdict.NOT_REACHED: ("-", "bright_black"),
    Verdict.FAILED: ("FAILED", "red"),
}


class Terminal:
    """Writes to a console; what is being waited for is shown on another one, where somebody looks.

    Parameters
    ----------
    waits
        Where to show what is waited for.
    """

    def __init__(self, console: Console, waits: Console) -> None:
        self._console = console
        spinner = SpinnerColumn("dots" if not waits.options.ascii_only else "line")
        columns = (spinner, TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._progress = Progress(*columns, console=waits, transient=True, disable=not waits.is_terminal)
        self._task = self._progress.add_task("", total=None)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show what is waited for while the block lasts."""
        with self._progress:
            yield

    def say(self, what: str) -> None:
        """Something is waited for."""
        self._progress.update(self._task, description=what)

    def told(self, station: Station) -> None:
        """A station is over."""
        sign, colour = _SIGNS[station.verdict]
        took = "" if station.seconds is None else f"{station.seconds:7.1f} s"
        head = Text.assemble(
            "  ", (f"{sign:<7}", colour), (f"{station.name:<19}", "bold"), (f"{took:>9}  ", "cyan")
        )
        self._console.print(head + Text(station.finding), soft_wrap=True)
        if station.fix:
            self._console.print(Text(f"{' ' * 39}-> {station.fix}", colour), soft_wrap=True)
        self.say("")

    def sum_up(self, report: Report, page: str) -> None:
        """What came of it."""
        console = self._console
        if report.forms:
            console.print()
            console.print(_forms(report.forms))
        console.print()
        for name, text in report.facts.items():
            console.print(f"{name:<20}{text}", soft_wrap=True)
        for sentence in report.proven:
            console.print(f"{'Proven':<20}{sentence}", soft_wrap=True)
        console.print(f"{'Page':<20}{page}", soft_wrap=True)
        console.print()
        failed = report.failed is not None
        console.print(Text(report.in_a_line, "bold red" if failed else "bold green"), soft_wrap=True)
        for sentence in report.to_do:
            console.print(f"  to do: {sentence}", soft_wrap=True)


def _forms(forms: list[FormFound]) -> Table:
    heads = ("form", "", "what the PACS does with it", "what to do")
    table = Table(*(Column(head, overflow="fold") for head in heads), box=None, pad_edge=False)
    for form in forms:
        table.add_row(form.name, Text(*_SIGNS[form.verdict]), form.finding, form.fix)
    return table
