"""Whose images are, and when they were taken, as far as their headers say."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from pydicom import Dataset

from converter.reading.headers import text_of

STUDY_TIME: Final = ("StudyDate", "StudyTime")
_TIMES: Final = (("AcquisitionDate", "AcquisitionTime"), ("SeriesDate", "SeriesTime"), STUDY_TIME)


def name_of(header: Dataset) -> str:
    """The name's first representation (PS3.5 6.2.1), without what writers of it differ in."""
    alphabetic = text_of(header, "PatientName").partition("=")[0]
    return "^".join(part.strip() for part in alphabetic.casefold().split("^")).rstrip("^")


def is_another_person(one: Dataset, other: Dataset) -> bool:
    """Whether name or birth date differ, where both say it."""
    pairs = (
        (name_of(one), name_of(other)),
        (text_of(one, "PatientBirthDate"), text_of(other, "PatientBirthDate")),
    )
    return any(first and second and first != second for first, second in pairs)


def acquired(header: Dataset, times: Iterable[tuple[str, str]] = _TIMES) -> str:
    """When the images were taken, 14 digits; empty where they do not say it."""
    texts = [_whole_seconds(text_of(header, "AcquisitionDateTime"))]
    for day, time in times:
        if text_of(header, day):
            texts.append(text_of(header, day) + _whole_seconds(text_of(header, time)))
    return next(filter(None, map(_fourteen_digits, texts)), "")


def _whole_seconds(text: str) -> str:
    """A time (PS3.5 6.2, DT, TM) without fraction and time zone."""
    return re.split(r"[.+-]", text)[0]


def _fourteen_digits(text: str) -> str:
    digits = text.ljust(14, "0")
    try:
        datetime.strptime(f"{digits} +0000", "%Y%m%d%H%M%S %z")
    except ValueError:
        return ""
    return digits
