"""What the proof says in the terminal."""

import io
from datetime import UTC, datetime

from rich.console import Console

from gateway.prove.stations import FormFound, Report, Verdict
from gateway.prove.terminal import Terminal

LONG_UID = "2.25." + "1234567890" * 7


def test_forms_in_a_narrow_terminal_keep_every_character_of_a_uid() -> None:
    said = io.StringIO()
    console = Console(file=said, width=60)
    report = Report(datetime.now(UTC))
    report.forms = [FormFound("PDF", Verdict.NOTED, LONG_UID)]
    Terminal(console, console).sum_up(report, "page.pdf")
    assert LONG_UID in "".join(said.getvalue().split())


def test_what_to_do_for_several_forms_is_said_once() -> None:
    report = Report(datetime.now(UTC))
    report.forms = [
        FormFound("LABELMAP", Verdict.NOTED, "no", "allow it"),
        FormFound("LABELMAP RLE", Verdict.NOTED, "no", "allow it"),
        FormFound("SR", Verdict.PASSED, "as it was sent", ""),
    ]
    assert report.to_do == ["to have LABELMAP and LABELMAP RLE there: allow it"]
