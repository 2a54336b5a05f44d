"""How commands print tables: nothing of a cell is lost, wherever they are read."""

import io

import pytest
from rich.console import Console

from gateway.adapters.checks import Check, Verdict
from gateway.commands import console

UID = "1.2.826.0.1.3680043.8.498.24222694654806877939684038520520717689"
FIX = f"chmod 600 /srv/hospital/radiology/iris-gateway/iris-data/site-secret, of the study {UID}"


def _printed(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> str:
    screen = io.StringIO()
    monkeypatch.setattr(
        console,
        "out",
        Console(file=screen, width=60, soft_wrap=True, force_terminal=is_terminal, color_system=None),
    )
    checks = [
        Check("disk", Verdict.OK, "1 GB free"),
        Check("site secret", Verdict.WARNING, "can be\nread", FIX),
    ]
    console.say_checks(checks, as_json=False)
    return screen.getvalue()


def test_checks_that_are_piped_are_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    header, *lines = _printed(monkeypatch, is_terminal=False).splitlines()
    assert header.split() == ["check", "finding", "what", "to", "do"]
    assert lines == ["disk         ok       1 GB free", f"site secret  warning  can be read  {FIX}"]


def test_checks_on_a_narrow_terminal_are_wrapped_and_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _printed(monkeypatch, is_terminal=True)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 60
    # The last column, put together again, is the whole fix.
    last = [line[shown.splitlines()[0].index("what to do") :].rstrip() for line in shown.splitlines()[1:]]
    assert "".join("".join(last).split()).endswith("".join(FIX.split()))
