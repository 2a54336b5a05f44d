"""What is measured: the cases, and in each who competes and how he is called."""

import importlib.util
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from benchmarks.case_files import CaseFiles
from benchmarks.measuring import ROOT

IRIS: Final = "iris"
LOWER_BOUND: Final = "lower bound"


class Clock(StrEnum):
    """Which of a run's times counts."""

    LIBRARY = "library"
    """The call inside the process, after imports."""
    PROCESS = "process"
    """The whole process."""


class Check(StrEnum):
    """What an output is compared as, outside the clocks."""

    SEGMENTATION = "segmentation"
    LABELS = "labels"
    IMAGE = "image"
    ARRAY = "array"
    SIZE = "size"
    COMPRESSED_SIZE = "compressed size"


@dataclass(frozen=True)
class Contender:
    """Who is measured, and by which command.

    Parameters
    ----------
    command
        Words; `{series}` and the like become the paths of the case, `{out}` the folder to write into.
    clocks
        Which times count. A program (`is_program`) has no library call: its process stands against the
        library call of ours too.
    """

    name: str
    command: str
    clocks: tuple[Clock, ...] = (Clock.LIBRARY, Clock.PROCESS)
    check: Check | None = None
    is_program: bool = False

    def words(self, files: CaseFiles, out: Path) -> list[str]:
        """The command as it is run."""
        places = {
            **_programs(),
            "series": files.series,
            "labels": files.labels,
            "segments": files.segments,
            "dcmqi_metadata": files.dcmqi_metadata,
            "segmentation": files.segmentation,
            "out": out,
        }
        return [word.format_map(places) for word in self.command.split()]

    def is_installed(self) -> bool:
        """Whether its program, or its Python, is there."""
        program = self.command.split()[0].format_map(_programs())
        return Path(program).exists()


@dataclass(frozen=True)
class Case:
    """Contenders that do the same work."""

    name: str
    title: str
    check: Check
    contenders: tuple[Contender, ...]


def _programs() -> dict[str, Path]:
    """Programs inside Python packages are called without the package's Python around them."""
    binaries = Path(sys.executable).parent
    return {
        "python": Path(sys.executable),
        "iris": binaries / "iris",
        "peers_python": ROOT / ".venv-peers" / "bin" / "python",
        "dcmqi": _folder_of("dcmqi") / "bin",
        "dcm2niix": _folder_of("dcm2niix") / "dcm2niix",
    }


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else Path("not-installed")


def _program(name: str, command: str) -> Contender:
    return Contender(name, command, (Clock.PROCESS,), is_program=True)


_OURS: Final = "{python} -m benchmarks.ours"
_HIGHDICOM: Final = "{python} -m benchmarks.with_highdicom"
_DCMQI_ENCODES: Final = (
    "{dcmqi}/itkimage2segimage --inputImageList {labels} --inputDICOMDirectory {series} "
    "--inputMetadata {dcmqi_metadata} --outputDICOM {out}/seg.dcm"
)

CASES: Final = (
    Case(
        "encode-binary",
        "label map to BINARY DICOM-SEG",
        Check.SEGMENTATION,
        (
            Contender(IRIS, _OURS + " BINARY {series} {labels} {out}/seg.dcm", (Clock.LIBRARY,)),
            Contender(IRIS, "{iris} encode {series} {labels} {out}/seg.dcm", (Clock.PROCESS,)),
            Contender("highdicom", _HIGHDICOM + " BINARY {series} {labels} {segments} {out}/seg.dcm"),
            _program("dcmqi", _DCMQI_ENCODES),
            Contender(
                LOWER_BOUND,
                "{python} -m benchmarks.lower_bound encode {labels} {segmentation} {out}/bits",
                check=Check.SIZE,
            ),
        ),
    ),
    Case(
        "encode-labelmap",
        "label map to LABELMAP DICOM-SEG: RLE (dcmqi has deflate only)",
        Check.SEGMENTATION,
        (
            Contender(IRIS, _OURS + " LABELMAP {series} {labels} {out}/seg.dcm", (Clock.LIBRARY,)),
            Contender(
                IRIS, "{iris} encode {series} {labels} {out}/seg.dcm --type labelmap", (Clock.PROCESS,)
            ),
            Contender("highdicom", _HIGHDICOM + " LABELMAP {series} {labels} {segments} {out}/seg.dcm"),
            _program("dcmqi", _DCMQI_ENCODES + " --segmentationType labelmap --compress deflate"),
        ),
    ),
    Case(
        "read",
        "BINARY DICOM-SEG to an array on the slices of the series",
        Check.ARRAY,
        (
            Contender(IRIS, _OURS + " read {segmentation} {series} {out}/frames.npy", (Clock.LIBRARY,)),
            Contender(
                "highdicom", _HIGHDICOM + " read {segmentation} {series} {out}/frames.npy", (Clock.LIBRARY,)
            ),
        ),
    ),
    Case(
        "decode",
        "BINARY DICOM-SEG to a label map NIfTI",
        Check.LABELS,
        (
            Contender(IRIS, _OURS + " decode {segmentation} {series} {out}/labels.nii.gz", (Clock.LIBRARY,)),
            Contender(IRIS, "{iris} decode {segmentation} {series} {out}/labels.nii.gz", (Clock.PROCESS,)),
            Contender(
                "highdicom", _HIGHDICOM + " decode {segmentation} {series} {labels} {out}/labels.nii.gz"
            ),
            _program(
                "dcmqi",
                "{dcmqi}/segimage2itkimage --inputDICOM {segmentation} --outputDirectory {out} "
                "--outputType nii --prefix labels --mergeSegments",
            ),
        ),
    ),
    Case(
        "convert",
        "DICOM series to NIfTI, compressed",
        Check.IMAGE,
        (
            Contender(IRIS, _OURS + " convert {series} {out}/image.nii.gz", (Clock.LIBRARY,)),
            Contender(IRIS, "{iris} convert {series} {out}/image.nii.gz", (Clock.PROCESS,)),
            _program("dcm2niix -z y", "{dcm2niix} -z y -f image -o {out} {series}"),
            Contender(
                "dicom2nifti",
                "{peers_python} -m benchmarks.with_dicom2nifti {series} {out}/image.nii.gz",
            ),
            Contender(
                "dicom2nifti, axes as they lie",
                "{peers_python} -m benchmarks.with_dicom2nifti {series} {out}/image.nii.gz --as-they-lie",
                (Clock.LIBRARY,),
            ),
            Contender(
                LOWER_BOUND,
                "{python} -m benchmarks.lower_bound convert {series} {out}/voxels.gz {dcm2niix}",
                check=Check.COMPRESSED_SIZE,
            ),
        ),
    ),
)
