"""Slices of other directions in OHIF: organs are where they are however the patient lay and slices lean."""

from pathlib import Path

import pytest

from benchmarks.geometry.phantoms import Phantom
from converter.seg.encoder import Encoding, SegmentationType, segmentation_writer
from gateway.demo.orthanc import Orthanc
from tests.conftest import ROOT
from tests.viewers.comparing import overlaps
from tests.viewers.driving import Ohif, seen
from tests.viewers.phantom import RGB, WORDS, patient
from tests.viewers.serving import store

pytestmark = [
    pytest.mark.peer("orthanc", "orthanc-dicomweb", "chromium", "ohif"),
    pytest.mark.long,
]
PICTURES = ROOT / "build" / "viewers"
"""What was seen is kept there, to be looked at."""
SAME = 0.9
ENCODINGS = {
    "bits": Encoding(),
    "numbers": Encoding(SegmentationType.LABELMAP, has_background_item=False),
    "numbers and background": Encoding(SegmentationType.LABELMAP),
}
DIRECTIONS = {
    "axial": (Phantom(pixel_spacing_mm=(2.0, 1.7), steps_mm=(4.0,)), ("R", "A")),
    "prone": (
        Phantom(
            orientation_lps=(-1, 0, 0, 0, -1, 0),
            patient_position="HFP",
            pixel_spacing_mm=(2.0, 1.7),
            steps_mm=(4.0,),
        ),
        ("L", "P"),
    ),
    "sagittal": (
        Phantom(orientation_lps=(0, 1, 0, 0, 0, -1), pixel_spacing_mm=(2.0, 1.25), steps_mm=(6.0,)),
        ("A", "H"),
    ),
    "tilted": (Phantom(pixel_spacing_mm=(2.0, 1.7), steps_mm=(4.0,), lean=(0, 0.2)), ("R", "A")),
    "feet first": (
        Phantom(
            orientation_lps=(-1, 0, 0, 0, 1, 0),
            patient_position="FFS",
            pixel_spacing_mm=(2.0, 1.7),
            steps_mm=(4.0,),
        ),
        ("L", "A"),
    ),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_segmentation_of_a_direction_shows_each_organ_at_its_place(
    pacs: Orthanc, ohif: Ohif, tmp_path: Path, direction: str
) -> None:
    phantom, sides = DIRECTIONS[direction]
    one = patient(tmp_path / "ct", phantom)
    store(pacs.rest, list(one.folder.iterdir()))
    for number, (name, encoding) in enumerate(ENCODINGS.items(), start=1):
        store(pacs.rest, one.write(name, segmentation_writer(encoding), number))
    ohif.open_study(one.volume.study_uid)
    ohif.open_segment_list()
    for name, encoding in ENCODINGS.items():
        ohif.open_series(name)
        segments = ohif.segments(name, "Background" if encoding.describes_background else WORDS[0])
        colours = dict(enumerate(RGB, start=1))
        if encoding.describes_background:
            colours = {n: rgb for n, (_, rgb) in enumerate(segments) if max(rgb) > min(rgb)}
        assert ohif.sides() == sides
        for slice_number in one.telling_slices:
            here = {n: rgb for n, rgb in colours.items() if one.slices[slice_number].shows(n)}
            found = seen(
                lambda number=slice_number, rgb=here: overlaps(ohif.slice(number), one.slices[number], rgb),
                lambda found: min(found.values()) > SAME,
            )
            ohif.shoot(PICTURES / f"{direction}, {name}, {slice_number}.png")
            assert min(found.values()) > SAME, (direction, name, slice_number, found)
