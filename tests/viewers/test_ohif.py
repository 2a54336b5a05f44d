"""Results as OHIF shows them: a real viewer over a real PACS, judged by its list and by its picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from benchmarks.geometry.phantoms import Phantom
from converter.pictures.grey import brightness_of
from converter.pictures.overlay import OVERLAY
from converter.pictures.page import CAPTION, HEAD, MARGIN, PICTURES, arranged
from converter.pictures.summary import PDF, SUMMARY
from converter.pictures.views import views_of
from converter.report.document import WRITER as REPORT
from converter.seg.encoder import Encoding, SegmentationType, segmentation_writer
from gateway.demo.orthanc import Orthanc
from tests.viewers.comparing import apart, difference, overlaps, places
from tests.viewers.driving import Ohif, seen
from tests.viewers.phantom import RGB, WORDS, Patient, patient
from tests.viewers.serving import store

pytestmark = pytest.mark.peer("orthanc", "orthanc-dicomweb", "chromium", "ohif")
LABELMAP = SegmentationType.LABELMAP
RESULTS = {
    "bits": segmentation_writer(Encoding()),
    "numbers": segmentation_writer(Encoding(LABELMAP, has_background_item=False)),
    "numbers and background": segmentation_writer(Encoding(LABELMAP)),
    "overlay": OVERLAY,
    "measurements": REPORT,
    "page": PDF,
    "summary": SUMMARY,
}
AXIAL = Phantom(pixel_spacing_mm=(2.0, 1.7), steps_mm=(6.4,))
SAME = 0.9
"""Dice coefficient of an organ and what is drawn of it: edges are drawn as lines, beside the pixels too."""
CLOSE = 3
"""By how much a channel differs after a colour was CIELab in between."""


CLOSE_BY = 0.03
"""Of the organs' spread: how far one is from where another program draws it."""
ALIKE = 15.0
"""Of 255: how much a picture differs from itself enlarged by another program."""


@dataclass(frozen=True)
class Study(Patient):
    """A patient with results; `files` has those of each series by its description."""

    files: Mapping[str, list[Path]]


@pytest.fixture(scope="module")
def shown(pacs: Orthanc, ohif: Ohif, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study with all results, open."""
    one = patient(tmp_path_factory.mktemp("patient") / "ct", AXIAL)
    results = enumerate(RESULTS.items(), start=1)
    files = {name: one.write(name, writer, number) for number, (name, writer) in results}
    store(pacs.rest, [*one.folder.iterdir(), *(path for made in files.values() for path in made)])
    ohif.open_study(one.volume.study_uid)
    ohif.open_segment_list()
    return Study(one.folder, files)


def organs_where_they_are(ohif: Ohif, shown: Study, rgb: Mapping[int, tuple[int, ...]]) -> dict[int, float]:
    """How well each organ's colour covers it, as soon as all do or after a while."""
    return seen(
        lambda: overlaps(ohif.slice(shown.middle), shown.slices[shown.middle], rgb),
        lambda found: min(found.values()) > SAME,
    )


@pytest.mark.parametrize("name", ["bits", "numbers"])
def test_segmentation_shows_each_organ_by_name_in_its_colour_at_its_place(
    ohif: Ohif, shown: Study, name: str
) -> None:
    ohif.open_series(name)
    segments = ohif.segments(name, WORDS[0])
    assert [words for words, _ in segments] == list(WORDS)
    for (_, listed), recommended in zip(segments, RGB, strict=True):
        assert listed == pytest.approx(recommended, abs=CLOSE)
    assert ohif.sides() == ("R", "A")
    found = organs_where_they_are(ohif, shown, dict(enumerate(RGB, start=1)))
    assert min(found.values()) > SAME, found


def test_label_map_with_background_shows_each_organ_by_name_at_its_place_whatever_its_colour(
    ohif: Ohif, shown: Study
) -> None:
    ohif.open_series("numbers and background")
    segments = ohif.segments("numbers and background", "Background")
    assert [words for words, _ in segments] == ["Background", *WORDS]
    coloured = {number: rgb for number, (_, rgb) in enumerate(segments) if max(rgb) > min(rgb)}
    assert {2, 3, 4, 5} <= set(coloured)  # OHIF up to 3.14.0-beta.6 draws the first one black
    found = organs_where_they_are(ohif, shown, coloured)
    assert min(found.values()) > SAME, found


def test_overlay_scrolls_slice_by_slice(ohif: Ohif, shown: Study) -> None:
    images = {int(image.InstanceNumber): image.pixel_array for image in map(dcmread, shown.files["overlay"])}
    assert set(images) == set(shown.slices)
    ohif.open_series("overlay")
    for number in (shown.middle, shown.middle - 1):
        found = seen(
            lambda number=number: {
                n: difference(shown_now, image)
                for shown_now in [ohif.slice(number)]
                for n, image in images.items()
            },
            lambda found, number=number: min(found, key=found.get) == number,
        )
        assert min(found, key=found.get) == number
        assert found[number] < ALIKE, found


def test_organs_are_where_the_summary_shows_them_and_it_is_shown_itself(ohif: Ohif, shown: Study) -> None:
    (page,) = (dcmread(path).pixel_array for path in shown.files["summary"])
    with brightness_of(shown.volume) as grey:
        views = views_of(shown.labelled, grey)
    (row, *_), scale = arranged(views, PICTURES)
    wide, high = (round(size * scale) for size in row[0].size_mm)
    axial = page[MARGIN + HEAD + CAPTION :, MARGIN:][:high, :wide]
    number = next(n for n, each in shown.slices.items() if (each.labels == row[0].labels).all())
    rgb = {n: colour for n, colour in enumerate(RGB, start=1) if shown.slices[number].shows(n)}
    expected = places(axial, rgb)
    assert len(expected) == len(rgb) >= 4
    ohif.open_series("bits")
    ohif.segments("bits", WORDS[0])
    found = seen(
        lambda: places(ohif.slice(number), rgb),
        lambda found: found.keys() == expected.keys() and apart(found, expected) < CLOSE_BY,
    )
    assert found.keys() == expected.keys()
    assert apart(found, expected) < CLOSE_BY
    mirrored = {n: at * (-1, 1) for n, at in found.items()}
    assert apart(mirrored, expected) > 10 * CLOSE_BY
    ohif.open_series("summary")
    assert seen(lambda: difference(ohif.picture(), page), lambda by: by < ALIKE) < ALIKE


def test_page_shows_figures_and_report_without_places_is_listed_only(ohif: Ohif, shown: Study) -> None:
    ohif.open_series("page")
    (page,) = map(dcmread, shown.files["page"])
    assert ohif.document() == page.EncapsulatedDocument[: page.EncapsulatedDocumentLength]
    ohif.open_series("measurements")
    ohif.shows_nothing()
