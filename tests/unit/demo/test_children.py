"""Child processes of the demo."""

import sys
from pathlib import Path

import pytest

from gateway.demo.children import Child, DemoError, clean_environment

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"


def _child(tmp_path: Path, program: str) -> Child:
    return Child("the child", [sys.executable, "-c", program], tmp_path / "child.log", clean_environment())


def test_child_that_ends_while_waited_for_is_an_error_with_its_exit_code(tmp_path: Path) -> None:
    child = _child(tmp_path, "print('one'); print('two'); raise SystemExit(3)")
    with pytest.raises(DemoError, match=r"the child ended with exit code 3; its log is .*child\.log"):
        child.wait_until(lambda: False, "has not come up", 20)
    assert child.last_lines(1) == ["two"]


def test_child_whose_condition_never_holds_is_an_error_after_the_deadline(tmp_path: Path) -> None:
    child = _child(tmp_path, SLEEPER)
    try:
        with pytest.raises(DemoError, match="has not come up for 0 s"):
            child.wait_until(lambda: False, "has not come up", 0.2)
        assert child.is_running
    finally:
        child.stop()


def test_child_after_stop_has_ended(tmp_path: Path) -> None:
    child = _child(tmp_path, SLEEPER)
    child.wait_until(lambda: child.last_lines() == ["up"], "has said nothing", 20)
    child.stop()
    assert not child.is_running
    child.stop()  # once more does nothing


def test_child_of_a_program_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="cannot be started: No such file"):
        Child("the child", [str(tmp_path / "missing")], tmp_path / "log", {})


def test_clean_environment_leaves_the_callers_gateway_settings_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRIS_DICOM__PORT", "104")
    monkeypatch.setenv("KEPT", "yes")
    environment = clean_environment(MORE="1")
    assert not [name for name in environment if name.startswith("IRIS_")]
    assert (environment["KEPT"], environment["MORE"]) == ("yes", "1")
