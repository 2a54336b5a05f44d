"""The series that a result object lies in, as its file says it."""

from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError


def series_uid_of(path: Path) -> str:
    """The Series Instance UID of a DICOM file; empty where it is none.

    Raises
    ------
    OSError
        It cannot be read.
    """
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
    except InvalidDicomError:
        return ""
    return str(header.get("SeriesInstanceUID", ""))
