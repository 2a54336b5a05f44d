"""Labels of very many slices: the same results, in little memory, and a full disk as an error."""

import gzip
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from converter.errors import LabelsDoNotFit
from converter.nifti import label_reader
from converter.nifti.label_reader import read_labels
from converter.seg.decoder import decode_segmentation
from converter.seg.encoder import SegmentationSettings, encode_segmentation
from converter.series import Volume, read_series
from converter.voxels import paged
from converter.voxels.geometry import labels_on_frames
from converter.voxels.grid import grid_of

MakeSeries = Callable[..., Path]
NAMES = {3: "liver", 200: "spleen"}


@pytest.fixture
def always_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array lies in a file, and none of its pages stays in memory."""
    monkeypatch.setattr(paged, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(paged, "LET_GO_BYTES", 1)


@pytest.fixture
def volume(make_series: MakeSeries) -> Volume:
    return read_series(make_series())


@pytest.fixture
def label_map(volume: Volume, tmp_path: Path) -> Path:
    values = np.random.default_rng(4).choice(np.array([0, 0, 3, 200]), (24, 16, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, grid_of(volume).affine_ras), tmp_path / "labels.nii.gz")
    return tmp_path / "labels.nii.gz"


def test_paged_labels_give_the_same_bytes_as_labels_in_memory(
    volume: Volume,
    label_map: Path,
    settings: SegmentationSettings,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    def there_and_back(folder: Path) -> tuple[bytes, bytes]:
        labels = labels_on_frames(label_map, volume)
        encode_segmentation(volume, labels, NAMES, settings, folder / "seg.dcm")
        decode_segmentation(folder / "seg.dcm", volume, folder / "back.nii.gz")
        return (folder / "seg.dcm").read_bytes(), (folder / "back.nii.gz").read_bytes()

    in_memory = there_and_back(tmp_path / "memory")
    request.getfixturevalue("always_paged")
    assert there_and_back(tmp_path / "paged") == in_memory
    assert np.array_equal(read_labels(tmp_path / "paged" / "back.nii.gz")[0], read_labels(label_map)[0])


def test_paged_array_gone_through_stays_out_of_memory() -> None:
    """Of 400 MB that are written and read again a process holds a fraction."""
    through = """
import resource
import numpy as np
from converter.voxels.paged import paged_zeros, planes_of
array = paged_zeros((400, 1000, 1000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number, plane in enumerate(planes_of(array)):
    plane[:] = number % 256
assert sum(int(plane.max()) for plane in planes_of(array)) == sum(number % 256 for number in range(400))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    said = subprocess.run([sys.executable, "-c", through], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 100_000  # kB


def test_paged_array_without_room_is_an_error_and_ends_nothing() -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            paged.paged_zeros((paged.IN_MEMORY_BYTES + 1,))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("always_paged")
def test_labels_in_several_members_and_cut_short(volume: Volume, label_map: Path, tmp_path: Path) -> None:
    content = gzip.decompress(label_map.read_bytes())
    parts = [content[:100], content[100:400], content[400:]]
    (tmp_path / "parts.nii.gz").write_bytes(b"".join(map(gzip.compress, parts)) + bytes(512))
    assert np.array_equal(
        labels_on_frames(tmp_path / "parts.nii.gz", volume), labels_on_frames(label_map, volume)
    )
    for short in (
        gzip.compress(content[:-1]),
        label_map.read_bytes()[:-1],
        gzip.compress(content[:300]),
        b"",
    ):
        (tmp_path / "short.nii.gz").write_bytes(short)
        with pytest.raises(LabelsDoNotFit, match=r"is damaged|was cut off|no NIfTI image"):
            labels_on_frames(tmp_path / "short.nii.gz", volume)


def test_header_that_says_more_than_can_be_compressed_so_is_refused_before_room_is_taken(
    volume: Volume, label_map: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(gzip.decompress(label_map.read_bytes()))
    content[42:48] = np.array([30_000, 30_000, 30_000], "<i2").tobytes()  # dim[1] to dim[3]
    (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(bytes(content)))
    monkeypatch.setattr(label_reader, "paged_zeros", lambda *_: pytest.fail("room was taken"))
    with pytest.raises(LabelsDoNotFit, match="ends before its voxels do"):
        labels_on_frames(tmp_path / "huge.nii.gz", volume)
