"""A blob at a known place in the patient, drawn as contours: its polygons lie around it, on its images.

The contours are read by pydicom and carried onto pixels by the images' headers, not by the converter.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from skimage.draw import polygon2mask

from converter.contours.document import write_structure_set
from converter.results.labelled import Labelled
from tests.property.made_up_series import Phantom, few, phantoms, places_by_uid, written
from tests.property.round_trip import SETTINGS

IN_PLANE_MM = 1e-3


def on_pixels(contour: Dataset, image: Dataset) -> np.ndarray:
    """Which pixels' centres a contour holds, (rows, columns)."""
    row, column = np.reshape([float(value) for value in image.ImageOrientationPatient], (2, 3))
    away = np.reshape(np.array(contour.ContourData, float), (-1, 3))
    away = away - np.array([float(value) for value in image.ImagePositionPatient])
    assert np.abs(away @ np.cross(row, column)).max() < IN_PLANE_MM
    between_rows, between_columns = (float(value) for value in image.PixelSpacing)
    points = np.stack([away @ column / between_rows, away @ row / between_columns], axis=1)
    return np.asarray(polygon2mask((image.Rows, image.Columns), points))


@few
@given(st.one_of(phantoms(), phantoms(odd=True, rounded=True)), st.booleans())
def test_blob_comes_back_as_contours_around_exactly_its_pixels(phantom: Phantom, is_hollow: bool) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        volume = written(phantom, folder / "dicom")
        places = places_by_uid(folder / "dicom")
        distance = np.stack(
            [
                np.linalg.norm(places[frame.sop_instance_uid] - phantom.blob_mm, axis=-1)
                for frame in volume.frames
            ]
        )
        marked = distance < phantom.radius_mm
        if is_hollow:
            marked &= distance > 0.5 * phantom.radius_mm
        labelled = Labelled(volume, marked.astype(np.uint8), {1: "part 1"})
        (made,) = write_structure_set(labelled, SETTINGS, folder / "rt.dcm")
        (region,) = dcmread(made.path).ROIContourSequence
        images = {image.SOPInstanceUID: image for image in map(dcmread, (folder / "dicom").iterdir())}
    found = {uid: np.zeros(place.shape[:2], bool) for uid, place in places.items()}
    for contour in region.ContourSequence:
        uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        found[uid] ^= on_pixels(contour, images[uid])
    for frame, plane in zip(volume.frames, marked, strict=True):
        assert np.array_equal(found[frame.sop_instance_uid], plane)
