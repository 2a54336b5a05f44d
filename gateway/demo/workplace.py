"""The demo's working folder, and the study that it sends."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from gateway.delivery.sending import dicom_files

from .children import DemoError

MARK_NAME = ".iris-demo"
"""Lies in every folder that a demo made, locked while it runs; a folder without it is never cleared."""
EXAMPLE_NAME = "ct-abdomen-jpeg2000"


@dataclass(frozen=True)
class Study:
    """The files of one study, in the order in which they are sent."""

    study_uid: str
    files: tuple[Path, ...]
    series_uids: frozenset[str]
    file_of_instance: dict[str, Path]


@contextmanager
def working_folder(folder: Path) -> Iterator[Path]:
    """A fresh working folder, held until the end so that no second demo clears it.

    Raises
    ------
    DemoError
        It holds something that no demo made, another demo runs in it, or it cannot be made.
    """
    folder = folder.expanduser().resolve()
    try:
        held = _hold(folder)
    except OSError as error:
        raise DemoError(f"{folder}: {error.strerror}; give --folder another one") from None
    with held:
        yield folder


def _hold(folder: Path) -> TextIO:
    """Make, lock and clear the folder; the lock lasts as long as the file is open."""
    mark = folder / MARK_NAME
    if folder.exists() and not mark.is_file() and any(folder.iterdir()):
        raise DemoError(f"{folder} holds something that no demo made; give --folder another one")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # your own study may lie in it
    held = mark.open("w", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(folder)
    except BaseException as error:
        held.close()
        if isinstance(error, BlockingIOError):
            raise DemoError(f"a demo runs in {folder}; end it, or give --folder another one") from None
        raise
    return held


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name == MARK_NAME:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def example_study() -> Path:
    """The study that comes with the demo: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve()
    for candidate in (here.parent / EXAMPLE_NAME, here.parents[2] / "examples" / EXAMPLE_NAME):
        if candidate.is_dir():
            return candidate
    raise DemoError("the example study is missing from this installation; install again, or give --study DIR")


def read_study(folder: Path) -> Study:
    """Find the DICOM files of one study.

    Raises
    ------
    DemoError
        There is no such folder, no DICOM file in it, or more than one study.
    """
    if not folder.is_dir():
        raise DemoError("--study is no folder; give the folder that holds the files of one study")
    file_of_instance: dict[str, Path] = {}
    studies: set[str] = set()
    series: set[str] = set()
    files = dicom_files([folder.resolve()])
    for path in files:
        try:
            header = dcmread(path, specific_tags=["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
        except InvalidDicomError:
            continue
        studies.add(str(header.get("StudyInstanceUID", "")))
        series.add(str(header.get("SeriesInstanceUID", "")))
        file_of_instance[str(header.get("SOPInstanceUID", ""))] = path
    if len(studies) != 1:
        what = f"{len(studies)} studies" if studies else "no DICOM file"
        raise DemoError(f"--study holds {what}; give the folder that holds the files of one study")
    return Study(studies.pop(), tuple(files), frozenset(series), file_of_instance)
