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
_DICOM_PREFIX: Final = b"DICM"
_DICOM_PREFIX_ENDS: Final = 132
"""PS3.10 7.1."""
_ZIP_BEGINS: Final = b"PK\x03\x04"
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
        self._in_order = ""
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
        if zipfile.is_zipfile(path) or _begins_as_a_zip(path):
            return self._unpacked(path)
        self._must_be_dicom = True
        return [path]

    def _of_folder(self, folder: Path) -> list[Path]:
        beside = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
        if not beside:
            raise UnusableSeries(
                "the folder holds no files itself (its subfolders are not read); give the folder of one "
                "DICOM series"
            )
        self._in_order = " by name"
        listings = [path for path in beside if path.name.upper() == DICOMDIR]
        files = [path for path in beside if path not in listings]
        return list(dict.fromkeys([*files, *(path for listing in listings for path in _listed_in(listing))]))

    def _unpacked(self, path: Path) -> list[Path]:
        folder = Path(tempfile.mkdtemp(prefix="iris-zip-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        files = []
        try:
            with zipfile.ZipFile(path) as archive:
                _require_room(sum(member.file_size for member in archive.infolist()), folder)
                for number, member in enumerate(archive.infolist(), start=1):
                    name = PurePosixPath(member.filename)
                    if member.is_dir() or name.name.startswith(".") or name.name.upper() == DICOMDIR:
                        continue
                    is_image = name.suffix.lower() in _SUFFIXES_OF_IMAGES
                    files.append(folder / f"{number:06d}{'.dcm' if is_image else '.other'}")
                    with archive.open(member) as packed, files[-1].open("xb") as target:
                        begin = packed.read(_DICOM_PREFIX_ENDS)
                        target.write(begin)
                        if begin.endswith(_DICOM_PREFIX):  # what is none may be large, and is not read
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
        reader, headers, count = HeaderReader(), [], len(self.paths)
        for number, path in enumerate(self.paths, start=1):
            try:
                headers.append((path, reader.read(path)))
            except UnusableSeries as error:
                if self._must_be_dicom or path.suffix.lower() in _SUFFIXES_OF_IMAGES:
                    which = f" (number {number} of {count} files{self._in_order})" if count > 1 else ""
                    raise UnusableSeries(f"{error}{which}") from None
        if not headers:
            raise UnusableSeries("none of the files is DICOM; give the folder of one series, or its files")
        return headers


def _begins_as_a_zip(path: Path) -> bool:
    """Of one that was cut off the end is missing, by which programs know it."""
    with path.open("rb") as stream:
        return stream.read(len(_ZIP_BEGINS)) == _ZIP_BEGINS


def _require_room(needed_bytes: int, folder: Path) -> None:
    """Before anything is unpacked: zips can be made that unpack to more than any disk holds."""
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise UnusableSeries(
            f"the zip unpacks to {needed_bytes / 1e6:.0f} MB, and the folder of temporary files has room for "
            f"{free_bytes / 1e6:.0f} MB; unpack it where there is room (TMPDIR), or give one series of it"
        )


_SEPARATORS: Final = frozenset({"/", "\\", "\0"})
"""No component of a file's name holds one (PS3.10 8.2)."""


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
        if any(part in ("", ".", "..") or _SEPARATORS.intersection(part) for part in parts):
            raise UnusableSeries("the DICOMDIR names files outside its folder; give the folder of one series")
        path = dicomdir.parent.joinpath(*parts)
        in_small_letters = dicomdir.parent.joinpath(*(part.lower() for part in parts))
        candidates = (path, path.parent / path.name.lower(), in_small_letters)
        found = next(filter(os.path.isfile, candidates), None)
        if found is None:
            raise UnusableSeries("a file that the DICOMDIR names is not there; copy the whole medium")
        paths.append(found)
    return paths
