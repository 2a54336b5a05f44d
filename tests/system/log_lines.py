"""What a gateway printed, which is its greeting and then lines of its log, nothing else."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

GREETING_ENDS = "Status page:"


LEVELS = ("info", "warning", "error")


def log_lines(log: Path) -> Iterator[dict[str, Any]]:
    """Each line of the log; whatever else was printed behind the greeting fails the test."""
    lines = log.read_text().splitlines()
    behind = next(number for number, line in enumerate(lines) if line.startswith(GREETING_ENDS)) + 1
    for line in lines[behind:]:
        try:
            said = json.loads(line)
        except ValueError:
            pytest.fail(f"printed, and no line of the log: {line}")
        assert said["level"] in LEVELS, line
        assert said["event"], line
        assert datetime.fromisoformat(said["at"]).tzinfo is not None, line
        assert "job_key" not in said or "study_key" in said, line
        yield said
