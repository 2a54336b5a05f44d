"""Made-up series for the converter's tests: small, with any direction, positions and header."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dcm2niix
import numpy as np
import pytest
from pydicom import Dataset, config, dcmread

from converter.derived.multiframe import write_multiframe
from converter.derived.series import MadeUpStudy, SliceStack, write_slices
from converter.results.settings import Algorithm
from converter.seg.encoder import SegmentationSettings
from converter.terminology import Code

MORPHOLOGICAL_OPERATIONS = Code("123104", "DCM", "Morphological Operations")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROWS, COLUMNS = 16, 24

MakeSeries = Callable[..., Path]


@pytest.fixture
def make_series(tmp_path: Path) -> MakeSeries:
    """Writes a CT of noise, by default 6 axial slices 2 mm apart, and edits each header."""
    count = 0

    def make(
        heights_mm: Sequence[float] = tuple(2.0 * k for k in range(6)),
        *,
        lean: float = 0.0,
        orientation: Sequence[float] = AXIAL,
        edit: Callable[[Dataset, int], None] | None = None,
        study: MadeUpStudy | None = None,
        seed: int = 0,
    ) -> Path:
        nonlocal count
        count += 1
        folder = tmp_path / f"series-{count}"
        pixels = np.random.default_rng(seed).integers(-1000, 1000, (len(heights_mm), ROWS, COLUMNS))
        row, column = np.array(orientation[:3]), np.array(orientation[3:])
        step = np.cross(row, column) + lean * column
        stack = SliceStack(
            pixels.astype(np.int16), orientation, (1.5, 1.25), [(step * h).tolist() for h in heights_mm]
        )
        for number, path in enumerate(write_slices(stack, folder, study)):
            if edit is not None:
                with config.disable_value_validation():
                    dataset = dcmread(path)
                    edit(dataset, number)
                    dataset.save_as(path)
        return folder

    return make


@pytest.fixture
def make_multiframe(tmp_path: Path) -> Callable[..., Path]:
    """Writes an enhanced object of noise, by default 6 axial frames 2 mm apart, edits it, gives its folder.

    `heights_mm` may be in any order and several times the same: that is the order of the frames.
    """
    count = 0

    def make(
        heights_mm: Sequence[float] = tuple(2.0 * k for k in range(6)),
        *,
        lean: float = 0.0,
        orientation: Sequence[float] = AXIAL,
        edit: Callable[[Dataset], None] | None = None,
        study: MadeUpStudy | None = None,
        seed: int = 0,
    ) -> Path:
        nonlocal count
        count += 1
        path = tmp_path / f"multiframe-{count}" / "object.dcm"
        pixels = np.random.default_rng(seed).integers(-1000, 1000, (len(heights_mm), ROWS, COLUMNS))
        row, column = np.array(orientation[:3]), np.array(orientation[3:])
        step = np.cross(row, column) + lean * column
        positions = [(step * height + (5, -7, 11)).tolist() for height in heights_mm]
        stack = SliceStack(pixels.astype(np.int16), orientation, (1.5, 1.25), positions)
        image = write_multiframe(stack, path, study)
        if edit is not None:
            with config.disable_value_validation():
                edit(image)
                image.save_as(path, enforce_file_format=True)
        return path.parent

    return make


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in dcm2niix's place; in it `real` is dcm2niix with its arguments."""
    real = dcm2niix.bin

    def put(script: str) -> None:
        path = tmp_path / "dcm2niix"
        path.write_text(f'#!/bin/sh\nreal() {{ "{real}" "$@"; }}\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setattr(dcm2niix, "bin", path)

    return put


@pytest.fixture
def settings() -> SegmentationSettings:
    return SegmentationSettings(
        sop_instance_uid="2.25.1",
        series_uid="2.25.2",
        series_number=9003,
        series_description="tissue of 3 (research use)",
        made_at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        task="tissue",
        algorithm=Algorithm("threshold tissue", "1.0.0", MORPHOLOGICAL_OPERATIONS),
    )


@pytest.fixture
def two_boxes() -> np.ndarray:
    """Labels 1 and 6 on the default series' frames."""
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[1:4, 3:9, 4:9] = 1
    labels[2, 10:12, 15:20] = 6
    return labels
