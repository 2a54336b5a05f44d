"""What is sent when, and what goes wrong when: the same for both sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from .studies import Study

STUDY_EVERY_S: Final = 12.0
AGAIN_AFTER_S: Final = 100.0
"""When the first result is there on both sides, where nothing went wrong."""
LATE_S: Final = 40.0
"""Within the time for which both sides wait for more: BOA for 60 s (Orthanc's StableAge), IRIS for the slice
that the PACS names."""
VERY_LATE_S: Final = 150.0
"""Beyond it."""

Mishap = Literal["worker killed", "destination away", "queue restarted", "disk full"]
MISHAPS: Final[Sequence[Mishap]] = (
    "worker killed",
    "queue restarted",
    "worker killed",
    "destination away",
    "disk full",
) * 4
FIRST_MISHAP_S: Final = 70.0
MISHAP_EVERY_S: Final = 36.0
AWAY_S: Final = 60.0
QUEUE_AWAY_S: Final = 10.0
FULL_S: Final = 30.0


@dataclass(frozen=True)
class Sending:
    """Files on one association, so many seconds after the start."""

    at_s: float
    files: list[Path]


def sendings(studies: Sequence[Study]) -> list[Sending]:
    """When each study goes out, by how it is to be sent."""
    planned: list[Sending] = []
    waiting: list[Path] = []
    for number, study in enumerate(studies):
        at_s, files = number * STUDY_EVERY_S, list(study.files)
        if study.how == "interleaved":
            if not waiting:
                waiting = files
                continue
            files, waiting = _alternating(waiting, files), []
        if study.how in ("late slice", "very late slice"):
            files.remove(study.late)
            late_s = LATE_S if study.how == "late slice" else VERY_LATE_S
            planned.append(Sending(at_s + late_s, [study.late]))
        planned.append(Sending(at_s, files))
        if study.how == "sent again":
            planned.append(Sending(at_s + AGAIN_AFTER_S, files))
    return sorted(planned, key=lambda one: one.at_s)


def mishaps() -> list[tuple[float, Mishap]]:
    """When each happens."""
    return [(FIRST_MISHAP_S + number * MISHAP_EVERY_S, what) for number, what in enumerate(MISHAPS)]


def _alternating(one: list[Path], other: list[Path]) -> list[Path]:
    """Slice by slice of each in turn, and what is left of the longer one."""
    paired = [path for pair in zip(one, other, strict=False) for path in pair]
    return paired + one[len(other) :] + other[len(one) :]
