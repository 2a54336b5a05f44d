"""Whether Batch runs a failed attempt again: the retry strategy of a job, and what SubmitJob takes as one."""

import re
from collections.abc import Sequence
from typing import Any

from .batch_jobs import Attempt

CONDITIONS = ("onStatusReason", "onReason", "onExitCode")
PATTERNS = {
    "onStatusReason": re.compile(r"[a-zA-Z0-9.:\s]*\*?"),
    "onReason": re.compile(r"[a-zA-Z0-9.:\s]*\*?"),
    "onExitCode": re.compile(r"[0-9]*\*?"),
}


def is_retried(strategy: dict[str, Any], attempts: Sequence[Attempt]) -> bool:
    """The first entry all of whose conditions match decides; where none does, it is retried."""
    if len(attempts) >= strategy["attempts"]:
        return False
    last = attempts[-1]
    said = {
        "onStatusReason": last.status_reason,
        "onReason": last.reason,
        "onExitCode": "" if last.exit_code is None else str(last.exit_code),
    }
    for entry in strategy["evaluateOnExit"]:
        if all(_matches(entry[name], said[name]) for name in CONDITIONS if name in entry):
            return str(entry["action"]).upper() == "RETRY"
    return True


def mistake_in(strategy: dict[str, Any]) -> str:
    """Why SubmitJob refuses a strategy; empty where it takes it."""
    if not 1 <= strategy.get("attempts", 1) <= 10:
        return "attempts must be between 1 and 10"
    entries = strategy.get("evaluateOnExit", [])
    if entries and "attempts" not in strategy:
        return "attempts must be given with evaluateOnExit"
    if len(entries) > 5:
        return "evaluateOnExit has more than 5 entries"
    for entry in entries:
        for name, pattern in PATTERNS.items():
            if name in entry and not pattern.fullmatch(entry[name]):
                return f"{name} is not a pattern"
    return ""


def _matches(pattern: str, said: str) -> bool:
    return said.startswith(pattern[:-1]) if pattern.endswith("*") else said == pattern
