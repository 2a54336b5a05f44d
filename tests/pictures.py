"""Pictures of labels read back with pydicom alone, for tests of what is drawn."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from converter.results.labelled import Labelled
from converter.results.settings import Algorithm, ResultSettings
from converter.series import Volume
from converter.terminology import Code

NAMES = {1: "liver", 2: "spleen", 3: "kidney_right"}


def settings(**more: object) -> ResultSettings:
    """What is said of pictures in tests."""
    said = {
        "sop_instance_uid": "2.25.1",
        "series_uid": "2.25.2",
        "series_number": 9003,
        "series_description": "total of 3 (research use)",
        "made_at": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        "task": "total",
        "algorithm": Algorithm("finder total", "1.2", Code("123109", "DCM", "Artificial Intelligence")),
    }
    return ResultSettings(**{**said, **more})  # type: ignore[arg-type]


def labelled(volume: Volume, find: Callable[[np.ndarray], np.ndarray]) -> Labelled:
    """Label 1 where `find` says so of each frame's Hounsfield units."""
    frames = []
    for frame in volume.frames:
        image = dcmread(frame.path)
        frames.append(find(image.pixel_array * image.RescaleSlope + image.RescaleIntercept))
    return Labelled(volume, np.stack(frames).astype(np.uint8), NAMES)


def pictures_in(folder: Path) -> list[Dataset]:
    """A series in the order of its Instance Numbers."""
    return sorted((dcmread(path) for path in folder.glob("*.dcm")), key=lambda one: int(one.InstanceNumber))


def place_of(picture: Dataset, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Where pixels are in the patient, (pixels, 3) in LPS mm (PS3.3 C.7.6.2.1.1)."""
    across, down = np.reshape([float(v) for v in picture.ImageOrientationPatient], (2, 3))
    between_rows, between_columns = (float(v) for v in picture.PixelSpacing)
    origin = np.array([float(v) for v in picture.ImagePositionPatient])
    steps = rows[:, None] * between_rows * down + columns[:, None] * between_columns * across
    return np.asarray(origin + steps)


def coloured(picture: Dataset, rgb: tuple[int, int, int], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the image's own pixels, without the strip on the right, in that colour."""
    rows, columns = np.nonzero((picture.pixel_array[:, :width] == rgb).all(axis=-1))
    return rows, columns


def errors_of(path: Path) -> list[str]:
    """What dciodvfy finds wrong."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("needs dciodvfy (apt-get install dicom3tools)")
    said = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    return [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
