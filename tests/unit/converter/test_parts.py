"""A large volume goes through dcm2niix and through memory a part at a time, and comes out the same."""

import errno
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

from converter.derived.series import SliceStack, write_slices
from converter.errors import ConversionFailed
from converter.nifti import conversion
from converter.nifti import file as nifti_file
from converter.nifti.conversion import convert_volume
from converter.series import Volume, read_series
from converter.voxels.grid import is_exact
from tests.quick_start import IRIS, quick_python

pytestmark = pytest.mark.usefixtures("quick_children")

MakeSeries = Callable[..., Path]
StandIn = Callable[[str], None]

HEIGHTS = [1.25 * k for k in range(11)]
SLICES = 4
"""In a part, about: eleven slices are three parts."""


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has what follows take a part of some slices at a time."""

    def small() -> None:
        monkeypatch.setattr(conversion, "PART_PIXELS", SLICES * 16 * 24)
        monkeypatch.setattr(conversion, "FEWEST_FRAMES", 2)

    return small


@pytest.fixture
def runs(tmp_path: Path, stand_in: StandIn) -> Callable[[], list[int]]:
    """How many files each run of dcm2niix got."""
    stand_in(f'wc -l < images.txt >> {tmp_path}/runs\nreal "$@"')
    return lambda: [int(line) for line in (tmp_path / "runs").read_text().split()]


def compressed(syntax: str) -> Callable[[Dataset, int], None]:
    return lambda dataset, _: dataset.compress(syntax, generate_instance_uid=False)


def scaled(dataset: Dataset, number: int) -> None:
    dataset.RescaleSlope, dataset.RescaleIntercept = f"0.{number + 1}", "-3.5"


def beyond_int16(dataset: Dataset, number: int) -> None:
    if number == 8:
        dataset.RescaleSlope = 100


SERIES: dict[str, dict[str, object]] = {
    "straight": {},
    "upside down": {"heights_mm": HEIGHTS[::-1]},
    "oblique": {"orientation": (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)},
    "leaning": {"lean": 0.3},
    "with a gap": {"heights_mm": [*HEIGHTS[:6], *(height + 2.5 for height in HEIGHTS[6:])]},
    "JPEG-LS": {"edit": compressed(JPEGLSLossless)},
    "RLE": {"edit": compressed(RLELossless)},
    "a scaling of its own in each slice": {"edit": scaled},
    "too large for int16 in the last part": {"edit": beyond_int16},
}


@pytest.mark.parametrize("name", SERIES)
def test_volume_in_parts_comes_out_as_it_does_whole(
    make_series: MakeSeries, tmp_path: Path, in_parts: Callable[[], None], name: str
) -> None:
    volume = read_series(make_series(**{"heights_mm": HEIGHTS, **SERIES[name]}))
    whole = convert_volume(volume, tmp_path / "whole.nii.gz")
    in_parts()
    assert convert_volume(volume, tmp_path / "parts.nii.gz").sha256 == whole.sha256


def test_each_part_is_a_run_of_dcm2niix(
    make_series: MakeSeries, tmp_path: Path, in_parts: Callable[[], None], runs: Callable[[], list[int]]
) -> None:
    in_parts()
    convert_volume(read_series(make_series(HEIGHTS)), tmp_path / "out.nii.gz")
    assert runs() == [3, 4, 4]


def test_parts_that_rounding_makes_uneven_are_left_together(
    make_series: MakeSeries,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_parts: Callable[[], None],
    runs: Callable[[], list[int]],
) -> None:
    """dcm2niix takes the step between slices from two neighbours, here the first ones of the second part."""
    heights = [1.25 * k for k in range(40)]
    heights[20] += 0.012
    heights[21] -= 0.012
    volume = read_series(make_series(heights))
    assert is_exact(volume)
    whole = convert_volume(volume, tmp_path / "whole.nii.gz")
    in_parts()
    monkeypatch.setattr(conversion, "PART_PIXELS", 20 * 16 * 24)
    assert convert_volume(volume, tmp_path / "parts.nii.gz").sha256 == whole.sha256
    assert runs() == [40, 40]


@pytest.mark.parametrize("number", [1, 4, 5, 11])
def test_pixel_that_differs_is_told_by_its_frame(
    make_series: MakeSeries, tmp_path: Path, stand_in: StandIn, in_parts: Callable[[], None], number: int
) -> None:
    volume = read_series(make_series(HEIGHTS))
    stand_in(f"""real "$@" && cat > spoil.py <<END && "{quick_python(IRIS)}" spoil.py
import nibabel as nib, numpy as np
from pydicom import dcmread
files = open("images.txt").read().split()
place = [dcmread(file).InstanceNumber for file in files].index({number})
image = nib.load("out/volume.nii")
values = np.array(image.dataobj)
values[2, 3, place] += 1
nib.save(nib.Nifti1Image(values, image.affine), "out/volume.nii")
END
exit 0""")
    in_parts()
    with pytest.raises(ConversionFailed, match=f"not the pixels of frame {number}$"):
        convert_volume(volume, tmp_path / "out" / "ct.nii.gz")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("lean", "most_volumes"), [(0.0, 0.7), (0.1, 2.9)])
def test_memory_is_that_of_some_parts_but_for_stacks_that_are_interpolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lean: float, most_volumes: float
) -> None:
    """With small buffers in the compressor and before the disk, of which a number is filled by chance."""
    pixels = np.random.default_rng(0).integers(-1000, 1000, (160, 256, 320)).astype(np.int16)
    stack = SliceStack(pixels, (1, 0, 0, 0, 1, 0), (1, 1), [[0, lean * k, k] for k in range(len(pixels))])
    write_slices(stack, tmp_path / "series")
    volume = read_series(tmp_path / "series")
    monkeypatch.setattr(conversion, "PART_PIXELS", pixels.size // 16)
    monkeypatch.setattr(nifti_file, "_BLOCK_BYTES", 1 << 16)
    tracemalloc.start()
    try:
        convert_volume(volume, tmp_path / "out.nii.gz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most_volumes * pixels.nbytes


def test_run_that_hangs_does_not_keep_a_conversion_that_failed(
    make_series: MakeSeries, tmp_path: Path, stand_in: StandIn, in_parts: Callable[[], None]
) -> None:
    stand_in("exec sleep 600")
    in_parts()
    volume: Volume = read_series(make_series(HEIGHTS))
    (tmp_path / "file").touch()
    begin = time.monotonic()
    with pytest.raises(OSError, match="exists") as failed:
        convert_volume(volume, tmp_path / "file" / "ct.nii.gz")
    assert failed.value.errno == errno.EEXIST
    volume.frames[1].path.unlink()
    with pytest.raises(ConversionFailed, match="gone"):
        convert_volume(volume, tmp_path / "ct.nii.gz")
    assert time.monotonic() - begin < 60
