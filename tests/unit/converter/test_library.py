"""What `import converter` gives."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

import converter
from converter import Encoding, Labels, LabelsDoNotFit, UnusableSeries, encode_array, read_series
from converter.seg.decoder import read_segmentation

MADE_AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LABELS = Labels({3: "liver", 7: "node"})

MakeSeries = Callable[..., Path]


def data_sets(folder: Path) -> list[Dataset]:
    """Its files in an order that is nobody's."""
    return [dcmread(path) for path in sorted(folder.iterdir(), key=lambda path: path.name[::-1])][::-1]


def some_labels(images: int, rows: int = 16, columns: int = 24) -> NDArray[np.uint8]:
    """Two structures; no two planes are alike, nor one its own mirror image."""
    array = np.zeros((images, rows, columns), np.uint8)
    for number, plane in enumerate(array):
        plane[1 : 3 + number, 2:5] = 3
        plane[9, : 1 + number] = 7
    return array


def test_importing_it_loads_nothing_that_takes_time() -> None:
    slow = "{'numpy', 'pydicom', 'nibabel', 'converter.errors'} & set(sys.modules)"
    program = f"import sys, converter; sys.exit({slow} or 0)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_name_that_it_promises_is_there_and_no_other() -> None:
    for name in converter.__all__:
        assert getattr(converter, name) is not None
    assert set(converter.__all__) <= set(dir(converter))
    assert converter.__version__[0].isdecimal()
    with pytest.raises(AttributeError, match="no attribute 'enc0de'"):
        converter.enc0de  # type: ignore[attr-defined]  # noqa: B018
    assert resources.files(converter).joinpath("py.typed").is_file()


def test_array_lies_on_data_sets_in_the_order_in_which_they_are_given(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    images = data_sets(make_series())
    array = some_labels(len(images))
    made = encode_array(images, array, str(tmp_path / "seg.dcm"), LABELS, made_at=MADE_AT)
    assert made.found == ("liver", "node")
    plane_on = dict(zip((image.SOPInstanceUID for image in images), array, strict=True))
    seg = dcmread(tmp_path / "seg.dcm")
    shown = 0
    for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        value = (3, 7)[frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        assert np.array_equal(pixels, plane_on[uid] == value)
        shown += np.count_nonzero(pixels)
    assert shown == np.count_nonzero(array)


def test_array_on_frames_of_an_object_lies_on_them_in_their_order(
    make_multiframe: MakeSeries, tmp_path: Path
) -> None:
    folder = make_multiframe([6, 0, 4, 2, 8, 10])
    array = some_labels(6)
    encode_array(data_sets(folder), array.astype(float), tmp_path / "seg.dcm", LABELS)
    volume = read_series(folder)
    numbers = read_segmentation(tmp_path / "seg.dcm", volume).numbers
    in_order = [(frame.frame_number or 0) - 1 for frame in volume.frames]
    assert in_order == [1, 3, 2, 0, 4, 5]
    assert np.array_equal(np.array([0, 3, 7])[numbers], array[in_order])


def test_array_on_data_sets_on_a_volume_and_in_a_file_give_the_same_segmentation(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    folder = make_series()
    volume = read_series(folder)
    array = some_labels(len(volume.frames))
    images = data_sets(folder)
    place = {frame.sop_instance_uid: number for number, frame in enumerate(volume.frames)}
    given = array[[place[image.SOPInstanceUID] for image in images]]
    encoding = Encoding.named("labelmap")
    for name, shown, on in (("one", array, volume), ("two", given, images)):
        encode_array(on, shown, tmp_path / name, LABELS, encoding=encoding, made_at=MADE_AT)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    names = converter.decode(tmp_path / "one", volume, tmp_path / "labels.nii")
    assert names == {3: "liver", 7: "node"}
    converter.convert(folder, tmp_path / "ct.nii")
    assert np.array_equal(nib.load(tmp_path / "ct.nii").affine, nib.load(tmp_path / "labels.nii").affine)
    converter.encode(str(folder), tmp_path / "labels.nii", tmp_path / "three", LABELS, encoding=encoding)
    assert np.array_equal(dcmread(tmp_path / "three").pixel_array, dcmread(tmp_path / "one").pixel_array)


def test_array_that_does_not_lie_on_its_images_is_refused(make_series: MakeSeries, tmp_path: Path) -> None:
    images, out = data_sets(make_series()), tmp_path / "seg.dcm"
    array = some_labels(6)
    with pytest.raises(LabelsDoNotFit, match=r"the shape \(6, 24, 16\), its images \(6, 16, 24\)"):
        encode_array(images, array.transpose(0, 2, 1), out, LABELS)
    with pytest.raises(LabelsDoNotFit, match="whole numbers from 0 to 255"):
        encode_array(images, array * 100.5, out, LABELS)
    with pytest.raises(LabelsDoNotFit, match="no name for 7"):
        encode_array(images, array, out, Labels({3: "liver"}))
    scout = data_sets(make_series([0.0], orientation=(0, 1, 0, 0, 0, -1)))
    with pytest.raises(UnusableSeries, match="1 of 7 images are not part of the volume"):
        encode_array([*images, *scout], some_labels(7), out, LABELS)
    assert not out.exists()
