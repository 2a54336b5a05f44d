"""Voxels are the rescaled stored values of the matching frame, of every frame, in whatever way they lie."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from converter.derived.series import SliceStack, write_slices
from converter.errors import UnusableSeries
from converter.nifti.conversion import Converted, convert_volume
from converter.series import read_series
from converter.unpacking import pixels
from converter.unpacking.decoding import NoDecoder
from converter.unpacking.intensities import Rescale, Scaled, differing_frame

pytestmark = pytest.mark.usefixtures("quick_children")

Edit = Callable[[Dataset, int], None]

FRAMES, ROWS, COLUMNS = 3, 48, 80
ROW, COLUMN = np.mgrid[:ROWS, :COLUMNS]
VALUES = np.stack([(ROW * 37 + COLUMN * 101 + k * 977) % 3000 - 1000 for k in range(FRAMES)])
"""From -1000 to 1999; as in the code streams of tests/data/codestreams."""
WIDE = np.random.default_rng(0).integers(0, 1 << 16, VALUES.shape)


class Case:
    """A series of given stored values, and what became of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, values: np.ndarray, *edits: Edit) -> "Case":
        stack = SliceStack(
            values.astype(np.int16),
            (1, 0, 0, 0, 1, 0),
            (1.5, 1.25),
            [[0, 0, 2 * k] for k in range(len(values))],
        )
        for number, path in enumerate(write_slices(stack, self.folder / "series")):
            with config.disable_value_validation():
                dataset = dcmread(path)
                for edit in edits:
                    edit(dataset, number)
                dataset.save_as(path)
        return self

    def converted(self) -> Converted:
        return convert_volume(read_series(self.folder / "series"), self.folder / "out.nii")

    def frames(self) -> np.ndarray:
        """The file's voxels, (frames, rows, columns)."""
        self.converted()
        image: Any = nib.load(self.folder / "out.nii")
        assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
        return np.asanyarray(image.dataobj).transpose(2, 1, 0)[:, ::-1]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def said(**attributes: Any) -> Edit:
    """Set attributes; those that are called get the frame's number."""

    def edit(dataset: Dataset, number: int) -> None:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value(number) if callable(value) else value)

    return edit


def stored_in(
    values: np.ndarray, *, allocated: int = 16, stored: int, signed: bool, above: int | None = None
) -> Edit:
    """Lay values into bits; `above` fills the unused ones, which otherwise repeat the sign."""

    def edit(dataset: Dataset, number: int) -> None:
        bits = values[number].astype(np.int64) & ((1 << allocated) - 1)
        if above is not None:
            bits = (bits & ((1 << stored) - 1)) | (above << stored)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, stored - 1
        dataset.PixelRepresentation = int(signed)
        dataset.PixelData = bits.astype(f"<u{allocated // 8}").tobytes()
        dataset["PixelData"].VR = "OW"

    return edit


def compressed(syntax: str) -> Edit:
    return lambda dataset, number: dataset.compress(syntax, generate_instance_uid=False)


def code_stream(data: Path, name: str, syntax: str) -> Edit:
    """The pixels as an encoder that is not installed here made them."""

    def edit(dataset: Dataset, number: int) -> None:
        stream = (data / "codestreams" / f"{name}-{number}.bin").read_bytes()
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = syntax

    return edit


# -- bits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [12, 13, 14, 15, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_values_of_fewer_bits_than_are_allocated_are_the_stored_ones(
    case: Case, stored: int, signed: bool
) -> None:
    values = VALUES if signed else VALUES + 1000
    frames = case.write(VALUES, stored_in(values, stored=stored, signed=signed)).frames()
    assert np.array_equal(frames, values)


@pytest.mark.parametrize("stored", [12, 13, 15])
@pytest.mark.parametrize(("signed", "above"), [(False, 1), (True, 0)], ids=["an overlay", "no sign"])
def test_bits_above_the_stored_ones_do_not_count(case: Case, stored: int, signed: bool, above: int) -> None:
    """dcm2niix minds that for 12 bits only; then it gets copies without them."""
    values = VALUES if signed else VALUES + 1000
    frames = case.write(VALUES, stored_in(values, stored=stored, signed=signed, above=above)).frames()
    assert np.array_equal(frames, values)


def test_8_bit_values_become_int16(case: Case) -> None:
    frames = case.write(VALUES, stored_in(WIDE % 256, allocated=8, stored=8, signed=False)).frames()
    assert frames.dtype == np.int16
    assert np.array_equal(frames, WIDE % 256)


def test_signed_8_bit_values_become_int16_although_dcm2niix_takes_them_for_unsigned(case: Case) -> None:
    values = WIDE % 256 - 128
    frames = case.write(VALUES, stored_in(values, allocated=8, stored=8, signed=True)).frames()
    assert frames.dtype == np.int16
    assert np.array_equal(frames, values)


def test_unsigned_values_beyond_int16_are_exact_in_float32(case: Case) -> None:
    frames = case.write(VALUES, stored_in(WIDE, stored=16, signed=False)).frames()
    assert frames.dtype == np.float32
    assert np.array_equal(frames, WIDE)


def test_unsigned_values_that_fit_int16_once_they_are_rescaled_are_exact(case: Case) -> None:
    edit = stored_in(WIDE, stored=16, signed=False)
    frames = case.write(VALUES, edit, said(RescaleIntercept=-32768)).frames()
    assert frames.dtype == np.int16
    assert np.array_equal(frames, WIDE - 32768)


def test_whole_numbers_beyond_float32_are_exact_in_int32(case: Case) -> None:
    values = WIDE * 32749 - (1 << 30)
    frames = case.write(VALUES, stored_in(values, allocated=32, stored=32, signed=True)).frames()
    assert frames.dtype == np.int32
    assert np.array_equal(frames, values)


def test_high_bit_that_the_standard_does_not_allow_is_refused(case: Case) -> None:
    case.write(VALUES, said(BitsStored=12, HighBit=15))
    with pytest.raises(UnusableSeries, match="12 bits in 16 with high bit 15"):
        case.converted()


# -- rescaling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [
        (1, 0, np.int16),
        (2, -1024, np.int16),
        (-1, 500, np.int16),
        (100, 0, np.float32),
        ("0.5", -1024, np.float32),
        ("1.2345678", "-3.21", np.float32),
    ],
)
def test_intensities_are_slope_times_stored_value_plus_intercept(
    case: Case, slope: Any, intercept: Any, dtype: type
) -> None:
    frames = case.write(VALUES, said(RescaleSlope=slope, RescaleIntercept=intercept)).frames()
    assert frames.dtype == dtype
    assert np.array_equal(frames, (VALUES * float(slope) + float(intercept)).astype(dtype))


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_each_frame_is_scaled_by_its_own_slope_and_intercept(case: Case, modality: str) -> None:
    slopes, intercepts = [0.5, 0.71239, 3.75], [0, -3, 0.5]
    edit = said(Modality=modality, RescaleSlope=lambda n: slopes[n], RescaleIntercept=lambda n: intercepts[n])
    frames = case.write(VALUES, edit).frames()
    expected = VALUES * np.reshape(slopes, (-1, 1, 1)) + np.reshape(intercepts, (-1, 1, 1))
    assert np.array_equal(frames, expected.astype(np.float32))


@pytest.mark.parametrize(("keyword", "bits"), [("FloatPixelData", 32), ("DoubleFloatPixelData", 64)])
def test_floating_point_pixels_are_refused_as_what_they_are(case: Case, keyword: str, bits: int) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        values = dataset.pixel_array.astype(f"<f{bits // 8}").tobytes()
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        dataset.BitsAllocated = bits
        setattr(dataset, keyword, values)

    case.write(VALUES, edit)
    with pytest.raises(UnusableSeries, match="floating-point numbers"):
        case.converted()


def test_values_without_slope_and_intercept_are_taken_as_they_are(case: Case) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept

    assert np.array_equal(case.write(VALUES, edit).frames(), VALUES)


def test_slope_of_zero_is_refused(case: Case) -> None:
    case.write(VALUES, said(RescaleSlope=0))
    with pytest.raises(UnusableSeries, match="Rescale Slope is 0"):
        case.converted()


@pytest.mark.parametrize("text", ["one", "1\\2", "nan"])
def test_slope_that_is_not_one_number_is_refused(case: Case, text: str) -> None:
    case.write(VALUES, lambda dataset, number: dataset.__setitem__(0x00281053, slope_of(text)))
    with pytest.raises(UnusableSeries, match="RescaleSlope is not one number"):
        case.converted()


def slope_of(text: str) -> RawDataElement:
    """As a file may hold it; pydicom would not write it otherwise."""
    value = text.encode() + b" " * (len(text) % 2)
    return RawDataElement(Tag(0x00281053), "DS", len(value), value, 0, False, True)


def test_lookup_table_in_place_of_slope_and_intercept_is_refused(case: Case) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept
        dataset.ModalityLUTSequence = [Dataset()]

    case.write(VALUES, edit)
    with pytest.raises(UnusableSeries, match="lookup table"):
        case.converted()


def test_padding_value_is_a_value_as_any_other(case: Case) -> None:
    padded = VALUES.copy()
    padded[:, :5] = -2000
    edit: Edit = lambda dataset, number: dataset.add_new(0x00280120, "SS", -2000)  # noqa: E731
    assert np.array_equal(case.write(padded, edit).frames(), padded)


def test_monochrome1_which_is_shown_inverted_is_not_inverted(case: Case) -> None:
    frames = case.write(VALUES, said(PhotometricInterpretation="MONOCHROME1")).frames()
    assert np.array_equal(frames, VALUES)


# -- codecs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [12, 13, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_values_are_the_stored_ones(case: Case, syntax: str, signed: bool, stored: int) -> None:
    values = VALUES if signed else VALUES + 1000
    case.write(VALUES, stored_in(values, stored=stored, signed=signed), compressed(syntax))
    assert np.array_equal(case.frames(), values)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
def test_jpeg_lossless_values_are_the_stored_ones(case: Case, data: Path, syntax: str) -> None:
    edits = (
        code_stream(data, "jpeg-lossless-unsigned-12", syntax),
        said(BitsStored=12, HighBit=11, PixelRepresentation=0, RescaleIntercept=-1000),
    )
    assert np.array_equal(case.write(VALUES, *edits).frames(), VALUES)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
def test_jpeg_lossless_values_with_a_sign_are_the_stored_ones(case: Case, data: Path, syntax: str) -> None:
    case.write(VALUES, code_stream(data, "jpeg-lossless-signed-16", syntax))
    assert np.array_equal(case.frames(), VALUES)


def test_htj2k_values_are_the_stored_ones(case: Case, data: Path) -> None:
    case.write(VALUES, code_stream(data, "htj2k-signed-16", HTJ2KLossless))
    assert np.array_equal(case.frames(), VALUES)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_values_in_other_builds_of_a_file_are_the_stored_ones(case: Case, syntax: str) -> None:
    case.write(VALUES, lambda dataset, number: setattr(dataset.file_meta, "TransferSyntaxUID", syntax))
    assert np.array_equal(case.frames(), VALUES)


def test_values_before_a_trailing_element_are_the_stored_ones(case: Case) -> None:
    case.write(VALUES, lambda dataset, number: dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 126))
    assert np.array_equal(case.frames(), VALUES)


def test_codec_that_is_missing_is_said_in_a_warning(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_installed(*_: object) -> object:
        raise NoDecoder("JPEG 2000")

    case.write(VALUES, compressed(JPEG2000Lossless), said(RescaleIntercept=-24))
    monkeypatch.setattr(pixels, "_decoded", none_installed)
    warnings = case.converted().warnings
    assert warnings == ("intensities were not verified: no decoder for JPEG 2000 is installed",)
    assert np.array_equal(case.frames(), VALUES - 24)


# -- told apart ---------------------------------------------------------------------------------------------


def rescale(slope: float = 1.0, intercept: float = 0.0, off_steps: int = 0) -> Rescale:
    return Rescale(np.full(FRAMES, slope), np.full(FRAMES, intercept), off_steps)


@pytest.mark.parametrize("frame", range(FRAMES))
def test_one_voxel_in_one_frame_that_differs_by_one_is_found(frame: int) -> None:
    values = VALUES.astype(np.int16)
    other = values.copy()
    other[frame, 20, 31] += 1
    assert differing_frame(Scaled(values, 1, 0), values, rescale()) is None
    assert differing_frame(Scaled(other, 1, 0), values, rescale()) == frame


def test_value_that_is_the_same_modulo_its_size_only_is_found() -> None:
    values = VALUES.astype(np.int16)
    assert differing_frame(Scaled(values.view(np.uint16), 1, 0), values, rescale()) == 0


@pytest.mark.parametrize(("slope", "intercept"), [(2, 0), (1, 5)])
def test_scaling_other_than_the_headers_is_found(slope: float, intercept: float) -> None:
    values = VALUES.astype(np.int16)
    assert differing_frame(Scaled(values, slope, intercept), values, rescale()) == 0


def test_values_scaled_in_float32_may_be_a_few_roundings_apart_and_no_more() -> None:
    slope, intercept = 0.0123456, -1024.5
    values = (VALUES * slope + intercept).astype(np.float32)
    theirs = VALUES.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    assert not np.array_equal(theirs, values)
    assert differing_frame(Scaled(theirs, 1, 0), values, rescale(slope, intercept)) is None
    theirs[1, 2, 3] += np.float32(slope) / 2
    assert differing_frame(Scaled(theirs, 1, 0), values, rescale(slope, intercept)) == 1


def test_decoders_of_a_lossy_codec_may_be_two_steps_apart_and_no_more() -> None:
    values = (VALUES * 3).astype(np.int16)
    theirs = VALUES + np.random.default_rng(1).integers(-2, 3, VALUES.shape)
    assert differing_frame(Scaled(theirs, 3, 0), values, rescale(3)) == 0
    assert differing_frame(Scaled(theirs, 3, 0), values, rescale(3, off_steps=2)) is None
    theirs[2] += 5
    assert differing_frame(Scaled(theirs, 3, 0), values, rescale(3, off_steps=2)) == 2


def test_voxel_that_is_no_number_agrees_with_nothing() -> None:
    values = (VALUES * 0.5).astype(np.float32)
    theirs = values.copy()
    theirs[0, 0, 0] = np.nan
    assert differing_frame(Scaled(theirs, 1, 0), values, rescale(0.5)) == 0
