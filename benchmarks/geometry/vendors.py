"""Files that real scanners and workstations made, where pydicom and nibabel carry them in their wheels."""

import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import pydicom
from pydicom import Dataset

from benchmarks.geometry.ours import counted, in_words
from converter.errors import UnusableSeries
from converter.reading.headers import text_of
from converter.series import judge_series, read_header

FOLDERS = {
    "pydicom": Path(pydicom.__file__).parent / "data" / "test_files",
    "pydicom, character sets": Path(pydicom.__file__).parent / "data" / "charset_files",
    "nibabel": Path(nibabel.__file__).parent / "nicom" / "tests" / "data",
}
NO_DICOM = frozenset({".txt", ".json", ".icc", ".dump", ".bin", ".gz", ".py", ".pyc"})

Instances = list[tuple[Path, Dataset]]


@dataclass(frozen=True)
class Row:
    """All series of one maker and modality, and what they were judged to be."""

    source: str
    maker: str
    modality: str
    files: int
    judged: str


def vendor_files(folder: Path, unpacked: Path) -> Iterator[Path]:
    """Everything in a wheel's folder that may be DICOM; packed files are unpacked."""
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".dcm.gz"):
            target = unpacked / path.name.removesuffix(".gz")
            target.write_bytes(gzip.decompress(path.read_bytes()))
            yield target
        elif path.is_file() and path.suffix not in NO_DICOM and path.name != "README":
            yield path


def vendor_rows(unpacked: Path) -> list[Row]:
    """Judge every series of every folder."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    files: Counter[tuple[str, str, str]] = Counter()
    for source, folder in FOLDERS.items():
        for instances in _series(folder, unpacked):
            header = instances[0][1]
            maker = text_of(header, "Manufacturer") or "not said"
            key = source, maker, text_of(header, "Modality") or "not said"
            found[key] += in_words(judge_series(instances)) if header else ["not DICOM (no DICM prefix)"]
            files[key] += len(instances)
    rows = [Row(*key, files[key], counted(sorted(texts))) for key, texts in found.items()]
    return sorted(rows, key=lambda row: (row.source, row.maker.lower(), row.modality))


def _series(folder: Path, unpacked: Path) -> Iterator[Instances]:
    series: dict[str, Instances] = defaultdict(list)
    for path in vendor_files(folder, unpacked):
        try:
            header = read_header(path)
        except UnusableSeries:
            yield [(path, Dataset())]
            continue
        series[text_of(header, "SeriesInstanceUID") or str(path)].append((path, header))
    yield from series.values()
