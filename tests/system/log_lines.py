"""What a gateway printed, which is its greeting and then lines of its log, nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

GREETING_ENDS = "Status page:"


def log_lines(log: Path) -> Iterator[dict[str, Any]]:
    """Each line of the log; whatever else was printed behind the greeting fails the test."""
    lines = log.read_text().splitlines()
    behind = next(number for number, line in enumerate(lines) if line.startswith(GREETING_ENDS)) + 1
    for line in lines[behind:]:
        try:
            yield json.loads(line)
        except ValueError:
            pytest.fail(f"printed, and no line of the log: {line}")
