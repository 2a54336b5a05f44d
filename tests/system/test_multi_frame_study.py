"""A multi-frame study through the whole gateway."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from converter.derived.multiframe import write_multiframe
from converter.derived.series import MadeUpStudy, SliceStack
from converter.seg.decoder import read_segmentation
from converter.series import read_series


def events(study: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["event"]: line["detail"] for line in study["timeline"]}


@pytest.fixture
def enhanced_study(small_study: Path, tmp_path: Path) -> Path:
    """The body of `small_study` as one Enhanced CT object, its frames in disorder."""
    images = [dcmread(path) for path in sorted(small_study.iterdir())]
    images = images[::2] + images[1::2]
    first = images[0]
    stack = SliceStack(
        pixels=np.stack([image.pixel_array for image in images]).astype(np.int16),
        orientation_lps=list(map(float, first.ImageOrientationPatient)),
        pixel_spacing_mm=(float(first.PixelSpacing[0]), float(first.PixelSpacing[1])),
        positions_lps_mm=[list(map(float, image.ImagePositionPatient)) for image in images],
    )
    folder = tmp_path / "enhanced"
    write_multiframe(stack, folder / "enhanced.dcm", MadeUpStudy(patient_name="Enhanced^Body"))
    return folder


def test_enhanced_ct_comes_back_as_a_segmentation_on_its_frames(
    make_world: Callable[..., Any], recording_pacs: Any, enhanced_study: Path
) -> None:
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.start()
    world.send(enhanced_study)
    uid = dcmread(enhanced_study / "enhanced.dcm", stop_before_pixels=True).StudyInstanceUID
    study = world.until(uid, lambda s: s["state"] in ("done", "failed"))
    assert (study["state"], study["reason"]) == ("done", "delivered")
    assert events(study)["job.converted"]["images"] == 8
    (series,) = study["series"]
    (volume,) = series["volumes"]
    assert (series["images"], volume["images"], volume["findings"]) == (1, 8, [])
    (path,) = (world.data_dir / "results").glob("*/*.dcm")
    seg = dcmread(path)
    sources = [
        group.DerivationImageSequence[0].SourceImageSequence[0]
        for group in seg.PerFrameFunctionalGroupsSequence
    ]
    assert {int(source.ReferencedFrameNumber) for source in sources} <= set(range(1, 9))
    assert read_segmentation(path, read_series(enhanced_study)).numbers.any()
