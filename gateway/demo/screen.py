"""What the demo says in the terminal: one line for each step with its time."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

TITLE_WIDTH = 14
DETAIL_WIDTH = 56


class Screen:
    """Writes the steps of a demo.

    Parameters
    ----------
    console
        Where to; on a terminal what is being done is shown too, elsewhere only what is done.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._sign = "+" if console.options.ascii_only else "✓"
        self._cross = "x" if console.options.ascii_only else "✗"

    def say(self, text: str = "") -> None:
        """Write a line as it is."""
        self.console.print(escape(text))

    def heading(self, text: str) -> None:
        """Write a line that stands out."""
        self.console.print(f"[bold]{escape(text)}[/bold]")

    def done(self, title: str, detail: str, seconds: float | None = None) -> None:
        """Write a step that is done, and how long it took."""
        took = "" if seconds is None else f"{max(seconds, 0.0):6.2f} s"
        self.console.print(
            f"  [green]{self._sign}[/green] [bold]{escape(title):<{TITLE_WIDTH}}[/bold]"
            f"{escape(detail):<{DETAIL_WIDTH}}[cyan]{took}[/cyan]"
        )

    def failed(self, sentence: str, last_lines: list[str]) -> None:
        """Write why the demo failed, with the end of the log."""
        self.console.print(f"  [red]{self._cross} {escape(sentence)}[/red]")
        for line in last_lines:
            self.console.print(f"      [dim]{escape(line[:400])}[/dim]")

    @contextmanager
    def busy(self, what: str) -> Iterator["Busy"]:
        """Show what is being done, with a bar where its fraction is known, until the block ends."""
        progress = Progress(
            SpinnerColumn("dots" if not self.console.options.ascii_only else "line"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with progress:
            yield Busy(progress, what)


class Busy:
    """One thing that is being done."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(escape(what), total=None)

    def show(self, what: str, fraction: float | None = None) -> None:
        """Say something else, or how far it is (0 to 1; None: nobody knows)."""
        self._progress.update(
            self._task,
            description=escape(what),
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
        )
