"""A structure set as OHIF shows it: its contours lie where the organs are."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.geometry.phantoms import Phantom
from converter.contours.document import WRITER
from gateway.demo.orthanc import Orthanc
from tests.viewers.comparing import apart
from tests.viewers.driving import Ohif, seen
from tests.viewers.phantom import ORGANS, RGB, patient
from tests.viewers.serving import store
from tests.viewers.test_ohif import CLOSE_BY
from tests.viewers.test_ohif_directions import PICTURES

pytestmark = [
    pytest.mark.peer("orthanc", "orthanc-dicomweb", "chromium", "ohif"),
    pytest.mark.long,
]
ROI_NAMES = tuple(name.replace("_right", "_R").replace("_left", "_L") for name in ORGANS)


def test_structure_set_shows_each_organ_by_name_in_its_colour_at_its_place(
    pacs: Orthanc, ohif: Ohif, tmp_path: Path
) -> None:
    one = patient(tmp_path / "ct", Phantom(pixel_spacing_mm=(2.0, 1.7), steps_mm=(4.0,)))
    store(pacs.rest, list(one.folder.iterdir()))
    store(pacs.rest, one.write("contours", WRITER, 1))
    slice_ = one.slices[one.middle]
    expected = {
        colour: np.argwhere(slice_.labels == number).mean(axis=0)[::-1]
        for number, colour in enumerate(RGB, start=1)
        if slice_.shows(number)
    }
    ohif.open_study(one.volume.study_uid)
    ohif.open_segment_list()
    ohif.open_series("contours")
    segments = ohif.segments("contours", ROI_NAMES[0])
    assert tuple(name for name, _ in segments) == ROI_NAMES
    found = seen(lambda: ohif.contours(one.middle), lambda found: found.keys() >= expected.keys())
    ohif.shoot(PICTURES / "contours.png")
    assert found.keys() >= expected.keys()  # icons have lines too
    assert apart(found, expected) < CLOSE_BY
    assert apart({colour: at * (-1, 1) for colour, at in found.items()}, expected) > 10 * CLOSE_BY
