"""Odd series through the whole converter: what docs/converter.md says of each is what comes out today.

`python -m benchmarks.geometry` writes the tables anew; the bounds below hold whatever stands there.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from benchmarks.geometry.cases import CASES, PHANTOMS, Case
from benchmarks.geometry.landing import landing, truths
from benchmarks.geometry.ours import SETTINGS, outcome
from benchmarks.geometry.phantoms import BALLS, Phantom
from benchmarks.geometry.table import about_peers, between, record, rows_in_the_document, vendor_table
from benchmarks.geometry.vendors import FOLDERS, vendor_files, vendor_rows
from converter.errors import UnusableSeries
from converter.seg.encoder import encode_segmentation
from converter.series import judge_series, read_header, read_series

LANDED = re.compile(r"(\d+ x )?(exact|0\.[0-4] mm)")
"""A usable volume's labels are where they belong; on an even grid between its slices, within half a mm."""

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


# -- the table --------------------------------------------------------------------------------------------


@cases
def test_outcome_of_a_series_is_the_one_in_the_documentation(case: Case, tmp_path: Path) -> None:
    found = outcome(case, tmp_path)
    (row,) = [row for row in rows_in_the_document("outcomes") if row[0] == case.name]
    assert row[1:3] == [found.judged, found.landed]
    if " usable" in found.judged:
        assert all(LANDED.fullmatch(text) for text in found.landed.split("; "))


def test_documentation_lists_every_series_and_no_other() -> None:
    assert [row[0] for row in rows_in_the_document("outcomes")] == [case.name for case in CASES]


def test_documentation_says_what_was_recorded_of_the_peers_and_when() -> None:
    assert set(record()["outcomes"]) == {case.name for case in CASES}
    assert between("peers") == about_peers()


ROUNDED = [
    case for case in PHANTOMS if case.name in ("positions rounded to 0.01 mm", "rounded cosines, oblique")
]


@pytest.mark.parametrize("case", ROUNDED, ids=lambda case: case.name)
def test_series_whose_header_is_rounded_as_scanners_do_lands_exactly(case: Case, tmp_path: Path) -> None:
    assert outcome(case, tmp_path).landed == "exact"


# -- the yardstick ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phantom", [Phantom(), Phantom((0, 1, 0, 0, 0, -1), lean=(0.1, 0.2))])
def test_phantom_shows_its_balls_where_they_are(phantom: Phantom, tmp_path: Path) -> None:
    phantom.write(tmp_path)
    (slices,) = truths(tmp_path, CASES[0].engine)
    for label, ball in enumerate(BALLS, start=1):
        places = np.concatenate(
            [
                np.argwhere(one.labels == label)[:, ::-1] @ one.affine[:, :2].T + one.affine[:, 2]
                for one in slices
            ]
        )
        assert np.linalg.norm(places.mean(axis=0) - ball.middle_mm) < 0.5
        assert np.linalg.norm(places - ball.middle_mm, axis=1).max() <= ball.radius_mm


@pytest.mark.parametrize(
    ("axes", "at_least_mm"), [((2,), 50), ((1,), 15), ((0,), 10), ((1, 2), 50), ((0, 1, 2), 50)]
)
def test_yardstick_tells_labels_that_were_flipped(
    tmp_path: Path, axes: tuple[int, ...], at_least_mm: float
) -> None:
    Phantom().write(tmp_path / "series")
    volume = read_series(tmp_path / "series")
    truth = truths(tmp_path / "series", CASES[0].engine)
    pixels = np.stack([dcmread(frame.path).pixel_array for frame in volume.frames])
    labels = np.where(pixels > 900, 1, np.where(pixels > 500, 2, 0)).astype(np.uint8)
    names = {1: "liver", 2: "spleen"}
    for name, array in (("right", labels), ("flipped", np.flip(labels, axes))):
        encode_segmentation(volume, np.ascontiguousarray(array), names, SETTINGS, tmp_path / f"{name}.dcm")
    assert landing(tmp_path / "right.dcm", truth).exact
    off_mm = landing(tmp_path / "flipped.dcm", truth).off_mm
    assert off_mm is not None
    assert off_mm > at_least_mm


def test_yardstick_tells_a_single_pixel(tmp_path: Path) -> None:
    Phantom().write(tmp_path / "series")
    volume = read_series(tmp_path / "series")
    truth = truths(tmp_path / "series", CASES[0].engine)
    labels = np.stack([one.labels for one in truth[0]])
    labels[0, 0, 0] = 2
    encode_segmentation(volume, labels, {1: "liver", 2: "spleen"}, SETTINGS, tmp_path / "seg.dcm")
    assert not landing(tmp_path / "seg.dcm", truth).exact


# -- real vendors' files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FOLDERS)
def test_file_that_a_vendor_made_never_makes_judging_raise(source: str, tmp_path: Path) -> None:
    judged = 0
    for path in vendor_files(FOLDERS[source], tmp_path):
        try:
            header = read_header(path)
        except UnusableSeries:
            continue
        judgement = judge_series([(path, header)])
        assert len(judgement.volumes) + len(judgement.left_over) == 1
        judged += 1
    assert judged >= 8


def test_vendors_files_are_judged_as_the_documentation_says(tmp_path: Path) -> None:
    assert vendor_table(vendor_rows(tmp_path)) == between("vendors")
