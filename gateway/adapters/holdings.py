"""What an archive elsewhere holds of a patient: who makes results asks, who carries them answers."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sought:
    """Reports and segmentations that are wanted.

    Parameters
    ----------
    issuer_of_patient_id
        What an answer that names another issuer is not about.
    until
        No study of a later day, `20260304`.
    other_than
        Studies that are not wanted.
    """

    patient_id: str
    issuer_of_patient_id: str
    until: str
    other_than: frozenset[str]


@dataclass(frozen=True)
class Held:
    """Objects of one study as they came: nobody has looked whether they are what was asked for."""

    study_uid: str
    paths: tuple[Path, ...]


Holdings = Callable[[Sought, Path], Generator[Held, None, None]]
"""Fetches into a folder, a study after the other, the latest first, reports before segmentations; all of it
takes a few seconds at most. Raises `Away` where it cannot be asked, or does not answer in time."""
