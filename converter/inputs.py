"""The files that somebody gives as a series: a folder, a file, a list of files, a zip, what a DICOMDIR lists.

Whichever it is, the same files come out, and so the same volumes.
"""

import os
import shutil
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from pydicom import Dataset, dcmread

from .errors import UnusableSeries, is_the_machines
from .reading.header_file import HeaderReader

AnyPath = str | os.PathLike[str]
Source = AnyPath | Iterable[AnyPath]
"""One path of a folder (not its subfolders), a DICOM file, a zip or a DICOMDIR; or paths of DICOM files."""

DICOMDIR: Final = "DICOMDIR"
_SUFFIXES_OF_IMAGES: Final = ("", ".dcm", ".ima")
"""What has one of these and is no DICOM is a mistake; of other files in a folder nobody expects it."""


class SeriesFiles:
    """The files of a source; what had to be unpacked goes with this object.

    Raises
    ------
    UnusableSeries
        There are none, or they cannot be unpacked; the text says why.
    OSError
        Something cannot be read.
    """

    def __init__(self, source: Source) -> None:
        self._must_be_dicom = not isinstance(source, str | os.PathLike)
        if not isinstance(source, str | os.PathLike):
            self.paths: Sequence[Path] = [Path(path) for path in source]
        else:
            self.paths = self._of_one(Path(source))
        if not self.paths:
            raise UnusableSeries("there are no files; give the folder of one DICOM series, or its files")

    def _of_one(self, path: Path) -> list[Path]:
        if path.name.upper() == DICOMDIR and path.is_file():
            path = path.parent
        if path.is_dir():
            return self._of_folder(path)
        if zipfile.is_zipfile(path):
            return self._unpacked(path)
        self._must_be_dicom = True
        return [path]

    @staticmethod
    def _of_folder(folder: Path) -> list[Path]:
        beside = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
        if not beside:
            raise UnusableSeries("the folder holds no files; give the folder of one DICOM series")
        listings = [path for path in beside if path.name.upper() == DICOMDIR]
        files = [path for path in beside if path not in listings]
        return list(dict.fromkeys([*files, *(path for listing in listings for path in _listed_in(listing))]))

    def _unpacked(self, path: Path) -> list[Path]:
        folder = Path(tempfile.mkdtemp(prefix="iris-zip-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        files = []
        try:
            with zipfile.ZipFile(path) as archive:
                for number, member in enumerate(archive.infolist(), start=1):
                    name = PurePosixPath(member.filename)
                    if member.is_dir() or name.name.startswith(".") or name.name.upper() == DICOMDIR:
                        continue
                    is_image = name.suffix.lower() in _SUFFIXES_OF_IMAGES
                    files.append(folder / f"{number:06d}{'.dcm' if is_image else '.other'}")
                    with archive.open(member) as packed, files[-1].open("xb") as target:
                        shutil.copyfileobj(packed, target)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
            raise UnusableSeries("the zip cannot be unpacked, it is damaged or has a password") from None
        return files

    def keep(self) -> None:
        """Do nothing: whoever may yet call this holds on to what was unpacked."""

    def headers(self) -> list[tuple[Path, Dataset]]:
        """Read each file's header.

        Raises
        ------
        UnusableSeries
            One that should be DICOM is not; others are left out.
        OSError
        """
        reader, headers = HeaderReader(), []
        for path in self.paths:
            try:
                headers.append((path, reader.read(path)))
            except UnusableSeries:
                if self._must_be_dicom or path.suffix.lower() in _SUFFIXES_OF_IMAGES:
                    raise
        return headers


def _listed_in(dicomdir: Path) -> list[Path]:
    """The files that a DICOMDIR names (PS3.3 F.3.2.2).

    Its names are in capitals, which those of a copied medium are not always.
    """
    try:
        records = dcmread(dicomdir).DirectoryRecordSequence
        named = [record.ReferencedFileID for record in records if record.get("ReferencedFileID")]
    except Exception as error:  # whatever a parser raises on bytes from outside
        if is_the_machines(error):
            raise
        raise UnusableSeries("the DICOMDIR cannot be read; give the folder of one series") from None
    paths = []
    for components in named:
        parts = [components] if isinstance(components, str) else list(components)
        path = dicomdir.parent.joinpath(*parts)
        if ".." in parts or path.is_absolute() != dicomdir.parent.is_absolute():
            raise UnusableSeries("the DICOMDIR names files outside its folder; give the folder of one series")
        found = next((each for each in (path, path.parent / path.name.lower()) if each.is_file()), None)
        found = found or dicomdir.parent.joinpath(*(part.lower() for part in parts))
        if not found.is_file():
            raise UnusableSeries("a file that the DICOMDIR names is not there; copy the whole medium")
        paths.append(found)
    return paths
