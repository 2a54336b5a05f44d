"""The output overlay: a picture a slice, its contours where the labels are, and what is said of it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from converter.errors import EncodingFailed
from converter.pictures import codecs
from converter.pictures.contours import contours
from converter.pictures.grey import brightness_of
from converter.pictures.overlay import encode_overlay
from converter.pictures.settings import SYNTAX_NAMES, Drawing
from converter.results.header import is_our_own
from converter.results.labelled import Labelled, QualityFlag
from converter.series import Volume, read_series
from converter.terminology import structure
from tests.pictures import NAMES, coloured, errors_of, labelled, pictures_in, place_of, settings
from tests.property.made_up_series import DIRECTIONS, Phantom, written

LIVER = structure("liver").rgb
LEANS = {"upright": (0.0, 0.0), "tilted": (0.0, 0.3)}


def phantom(direction: str, turned: tuple[float, float, float], lean: tuple[float, float]) -> Phantom:
    heights = tuple(3.0 * number for number in range(12))
    return Phantom(direction, turned, (40, 48), (1.0, 1.25), heights, lean, tuple(range(12)))


@pytest.mark.parametrize("direction", sorted(DIRECTIONS))
@pytest.mark.parametrize("turned", [(0.0, 0.0, 0.0), (20.0, -35.0, 10.0)], ids=["straight", "oblique"])
@pytest.mark.parametrize("lean", LEANS.values(), ids=LEANS)
def test_contour_lies_where_the_structure_is_in_the_patient(
    tmp_path: Path, direction: str, turned: tuple[float, float, float], lean: tuple[float, float]
) -> None:
    marked = phantom(direction, turned, lean)
    volume = written(marked, tmp_path / "series")
    encode_overlay(labelled(volume, lambda hu: hu > 0), settings(), Drawing(), tmp_path)
    found = []
    for picture in pictures_in(tmp_path):
        found.append(place_of(picture, *coloured(picture, LIVER, volume.columns)))
    places = np.concatenate(found)
    distances = np.linalg.norm(places - marked.blob_mm, axis=1)
    assert len(places) > 50
    assert distances.max() <= marked.radius_mm + 1e-6
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    assert np.abs(middle - marked.blob_mm).max() < marked.coarsest_mm


@pytest.mark.parametrize("direction", ["HFS", "HFP", "FFDL", "sagittal", "coronal"])
@pytest.mark.parametrize("cut", ["axial", "coronal", "sagittal"])
def test_other_planes_show_the_structure_where_it_is_and_the_left_on_the_right(
    tmp_path: Path, direction: str, cut: str
) -> None:
    marked = phantom(direction, (0.0, 0.0, 0.0), (0.0, 0.0))
    volume = written(marked, tmp_path / "series")
    found = labelled(volume, lambda hu: hu > 0)
    own = encode_overlay(found, settings(), Drawing(), tmp_path / "own")
    strip = dcmread(own[0].path).Columns - volume.columns
    encode_overlay(found, settings(), Drawing.named(cut), tmp_path)
    pictures = pictures_in(tmp_path)
    places = np.concatenate(
        [place_of(picture, *coloured(picture, LIVER, picture.Columns - strip)) for picture in pictures]
    )
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    assert np.abs(middle - marked.blob_mm).max() < marked.coarsest_mm
    across, down = np.reshape([float(v) for v in pictures[0].ImageOrientationPatient], (2, 3))
    axis = {"axial": 2, "coronal": 1, "sagittal": 0}[cut]
    assert abs(np.cross(across, down)[axis]) == pytest.approx(1)
    if len(pictures) != len(volume.frames):  # not the source's own slices
        assert across[1 if cut == "sagittal" else 0] == pytest.approx(1)
        assert down[1 if cut == "axial" else 2] == pytest.approx(1 if cut == "axial" else -1)


def test_leaning_slices_have_no_other_planes_than_their_own(tmp_path: Path) -> None:
    volume = written(phantom("HFS", (0.0, 0.0, 0.0), (0.0, 0.3)), tmp_path / "series")
    with pytest.raises(EncodingFailed, match="lean or are unevenly spaced"):
        encode_overlay(
            labelled(volume, lambda hu: hu > 0), settings(), Drawing.named("coronal"), tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


@pytest.fixture
def body(small_study: Path) -> Labelled:
    return labelled(read_series(small_study), lambda hu: hu > 300)


def test_pictures_scroll_along_with_the_slices(body: Labelled, tmp_path: Path) -> None:
    volume = body.volume
    made = encode_overlay(body, settings(), Drawing(), tmp_path / "out")
    pictures = pictures_in(tmp_path / "out")
    assert len(made) == len(pictures) == len(volume.frames)
    assert made[0].sop_instance_uid == "2.25.1"
    assert len({one.sop_instance_uid for one in made}) == len(made)
    sources = [dcmread(frame.path) for frame in volume.frames]
    for picture, source in zip(pictures, sorted(sources, key=lambda one: one.InstanceNumber), strict=True):
        for keyword in (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "FrameOfReferenceUID",
            "StudyInstanceUID",
            "PatientName",
            "InstanceNumber",
        ):
            assert picture[keyword].value == source[keyword].value, keyword
        assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        (series,) = picture.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == source.SeriesInstanceUID
        assert picture.Modality == "OT"
        assert picture.ImageType == ["DERIVED", "SECONDARY"]
        assert picture.ConversionType == "WSD"
        assert picture.SeriesInstanceUID == "2.25.2"
        assert "research use" in picture.DerivationDescription
        assert is_our_own(picture)


def test_grey_is_the_image_and_only_borders_are_drawn(body: Labelled, tmp_path: Path) -> None:
    encode_overlay(body, settings(), Drawing(), tmp_path)
    picture = pictures_in(tmp_path)[3].pixel_array[: body.volume.rows, : body.volume.columns]
    image = dcmread(body.volume.frames[3].path)
    hu = image.pixel_array * image.RescaleSlope + image.RescaleIntercept
    is_grey = (picture == picture[..., :1]).all(axis=-1)
    expected = np.rint(np.clip((hu + 160) / 400, 0, 1) * 255)
    letters = (picture < 40).all(axis=-1) | (picture > 230).all(axis=-1)
    assert (picture[..., 0] == expected)[is_grey & ~letters].all()
    inside = body.labels[3] > 0
    drawn = (picture == LIVER).all(axis=-1)
    assert drawn.any()
    assert not drawn[~inside].any()
    assert not drawn[contours(body.labels[3], 1) == 0].any()
    assert inside[~drawn].any()  # not filled


@pytest.mark.parametrize("width", [1, 2])
def test_contours_are_as_wide_as_asked_and_stay_open_at_the_edge(width: int) -> None:
    labels = np.zeros((16, 16), np.uint8)
    labels[4:16, 3:13] = 5
    edge = contours(labels, width)
    assert np.flatnonzero(edge[10]).tolist() == [*range(3, 3 + width), *range(13 - width, 13)]
    assert np.flatnonzero(edge[:, 8]).tolist() == [*range(4, 4 + width)]


def test_touching_structures_have_each_its_own_line() -> None:
    labels = np.zeros((12, 12), np.uint8)
    labels[:, 2:6], labels[:, 6:10] = 1, 2
    assert np.flatnonzero(contours(labels, 1)[5]).tolist() == [2, 5, 6, 9]


@pytest.mark.parametrize("syntax", SYNTAX_NAMES)
def test_every_transfer_syntax_shows_the_same_pixels(body: Labelled, tmp_path: Path, syntax: str) -> None:
    encode_overlay(body, settings(), Drawing(), tmp_path / "plain")
    encode_overlay(body, settings(), Drawing.named(syntax=syntax), tmp_path / syntax)
    plain, packed = pictures_in(tmp_path / "plain"), pictures_in(tmp_path / syntax)
    assert packed[0].file_meta.TransferSyntaxUID == SYNTAX_NAMES[syntax]
    for one, other in zip(plain, packed, strict=True):
        assert np.array_equal(one.pixel_array, other.pixel_array)
    assert errors_of(tmp_path / syntax / "2.25.1.dcm") == []


@pytest.mark.parametrize("syntax", ["rle", "jpegls", "jpeg2000"])
def test_picture_that_does_not_read_back_as_it_was_drawn_is_not_written(
    monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    """One pixel in one colour is another one."""
    picture = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    other = picture.copy()
    other[5, 6, 1] ^= 1
    for name in ("_run_lengths", "_compressed"):
        real = getattr(codecs, name)
        monkeypatch.setattr(codecs, name, lambda _, *said, real=real: real(other, *said))
    with pytest.raises(EncodingFailed, match="does not read back"):
        codecs.pixel_data(picture, SYNTAX_NAMES[syntax])


def test_same_labels_give_the_same_bytes(body: Labelled, tmp_path: Path) -> None:
    one, two = (encode_overlay(body, settings(), Drawing(), tmp_path / name) for name in "ab")
    assert [(made.sop_instance_uid, made.sha256) for made in one] == [
        (made.sop_instance_uid, made.sha256) for made in two
    ]
    assert [made.path.read_bytes() for made in one] == [made.path.read_bytes() for made in two]


def test_legend_of_a_flagged_result_warns_and_names_the_structure_in_that_colour(
    body: Labelled, tmp_path: Path
) -> None:
    name = body.names[body.values[0]]
    flags = {
        "none": (),
        "image": (QualityFlag("gap", None, 1, "", "one is missing"),),
        "structure": (QualityFlag("fragments", name, 53, "%", "it comes in 2 pieces"),),
    }
    warning = {}
    for what, said in flags.items():
        encode_overlay(replace(body, flags=said), settings(), Drawing(), tmp_path / what)
        strips = [one.pixel_array[:, body.volume.columns :] for one in pictures_in(tmp_path / what)]
        warning[what] = max(_yellow(strip) for strip in strips)
    assert warning["none"] < warning["image"] < warning["structure"]


def _yellow(picture: np.ndarray) -> int:
    """Pixels about the colour of warnings."""
    red, _, blue = np.moveaxis(picture.astype(int), 2, 0)
    return int(np.count_nonzero(red - blue > 80))


def test_mark_of_a_series_of_every_nth_slice_stays_its_first_word(body: Labelled, tmp_path: Path) -> None:
    marked = replace(settings(), series_description="CHECK: Overlay IRIS total (research)")
    encode_overlay(body, marked, Drawing.named(most_mb=0.5), tmp_path)
    (said,) = {one.SeriesDescription for one in pictures_in(tmp_path)}
    assert re.fullmatch(r"CHECK: 1 of \d: Overlay IRIS total \(research\)", said)


@pytest.mark.parametrize("syntax", ["explicit", "rle"])
def test_series_that_would_be_too_large_shows_every_nth_slice_and_says_so(
    body: Labelled, tmp_path: Path, syntax: str
) -> None:
    whole = encode_overlay(body, settings(), Drawing.named(syntax=syntax), tmp_path / "whole")
    most_mb = sum(made.path.stat().st_size for made in whole) / 1e6 * 0.45
    made = encode_overlay(body, settings(), Drawing.named("source", syntax, most_mb), tmp_path / "part")
    pictures = pictures_in(tmp_path / "part")
    assert len(pictures) == len(made) == 3
    assert sum(one.path.stat().st_size for one in made) / 1e6 <= most_mb
    assert "every 3rd slice" in made[0].warnings[0]
    assert pictures[0].SeriesDescription.startswith("1 of 3: ")
    assert pictures[0].DerivationDescription.startswith("Every 3rd slice only")


def test_nothing_is_drawn_of_an_empty_label_map(body: Labelled, tmp_path: Path) -> None:
    with pytest.raises(EncodingFailed, match="nothing to draw"):
        encode_overlay(Labelled(body.volume, body.labels * 0, NAMES), settings(), Drawing(), tmp_path)
    assert list(tmp_path.glob("*.dcm")) == []


def windowed(modality: str, window: Any) -> Callable[[Dataset, int], None]:
    """Edits a header: centre and width, or none."""

    def edit(header: Dataset, _: int) -> None:
        header.Modality = modality
        del header.WindowCenter, header.WindowWidth
        if window is not None:
            header.WindowCenter, header.WindowWidth = window

    return edit


@pytest.mark.parametrize(
    ("modality", "window", "black", "white"),
    [
        ("CT", None, -160, 240),
        ("CT", (0, 500), -250, 250),
        ("CT", ([0, 40], [500, 400]), -250, 250),
        ("CT", (5000, 10), -160, 240),
        ("MR", (100, 400), -100, 300),
    ],
    ids=["CT without one", "its own", "the first of two", "one that shows nothing", "MR with one"],
)
def test_grey_goes_through_the_images_own_window(
    make_series: Callable[..., Path], modality: str, window: Any, black: int, white: int
) -> None:
    volume = read_series(make_series(edit=windowed(modality, window)))
    with brightness_of(volume) as grey:
        assert grey.window == (black, white)
        image = dcmread(volume.frames[2].path)
        hu = image.pixel_array * image.RescaleSlope + image.RescaleIntercept
        assert np.array_equal(grey.plane(2) < 128, hu < (black + white) / 2)


def test_mr_without_a_window_shows_the_middle_of_its_values(make_series: Callable[..., Path]) -> None:
    volume = read_series(make_series(edit=windowed("MR", None)))
    with brightness_of(volume) as grey:
        low, high = grey.window
        assert -1000 < low < -900
        assert 900 < high < 1000


def large(volume: Volume, count: int) -> Labelled:
    """Many structures, all of them on every slice."""
    labels = np.zeros((len(volume.frames), volume.rows, volume.columns), np.uint8)
    for value in range(1, count + 1):
        row, column = divmod(value - 1, 12)
        labels[:, row * 5 : row * 5 + 4, column * 5 : column * 5 + 4] = value
    names = {value: f"vertebrae_body_number_{value}_left" for value in range(1, count + 1)}
    return Labelled(volume, labels, names)


def test_many_structures_get_more_columns_and_all_pictures_one_size(
    small_study: Path, tmp_path: Path
) -> None:
    volume = read_series(small_study)
    few = encode_overlay(large(volume, 5), settings(), Drawing(), tmp_path / "few")
    many = encode_overlay(large(volume, 117), settings(), Drawing(), tmp_path / "many")
    narrow, wide = (dcmread(made[0].path).Columns for made in (few, many))
    assert wide > 2 * (narrow - volume.columns)
    assert len({picture.pixel_array.shape for picture in pictures_in(tmp_path / "many")}) == 1


def test_patients_name_is_not_drawn(body: Labelled, tmp_path: Path) -> None:
    """The same images of another patient give the same pixels."""
    headers = []
    for header in body.volume.headers:
        other = Dataset()
        other.update(header)
        other.file_meta = header.file_meta
        other.PatientName, other.PatientID = "Somebody^Else", "4711"
        headers.append(other)
    changed = replace(body, volume=replace(body.volume, headers=tuple(headers)))
    for name, which in (("one", body), ("other", changed)):
        encode_overlay(which, settings(), Drawing(), tmp_path / name)
    one, other = (pictures_in(tmp_path / name) for name in ("one", "other"))
    assert other[0].PatientName == "Somebody^Else"
    assert all(np.array_equal(a.pixel_array, b.pixel_array) for a, b in zip(one, other, strict=True))


def test_frames_of_a_multi_frame_image_are_named_by_their_number(
    make_multiframe: Callable[..., Path], tmp_path: Path
) -> None:
    volume = read_series(make_multiframe())
    labels = np.zeros((len(volume.frames), volume.rows, volume.columns), np.uint8)
    labels[2:4, 4:9, 5:12] = 2
    made = encode_overlay(Labelled(volume, labels, NAMES), settings(), Drawing(), tmp_path)
    pictures = pictures_in(tmp_path)
    assert [picture.InstanceNumber for picture in pictures] == [1, 2, 3, 4, 5, 6]
    for picture in pictures:
        (source,) = picture.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == volume.frames[0].sop_instance_uid
        frame = volume.frames[[f.frame_number for f in volume.frames].index(source.ReferencedFrameNumber)]
        assert [float(v) for v in picture.ImagePositionPatient] == pytest.approx(frame.position_lps_mm)
        (series,) = picture.ReferencedSeriesSequence
        assert len(series.ReferencedInstanceSequence) == 1
    assert errors_of(made[0].path) == []
