"""Figures of structures, from labels and pixels on frames."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from converter.errors import LabelsDoNotFit
from converter.measures import Measurement, measure_labels
from converter.results.labelled import Labelled
from converter.series import Volume, read_series

MakeSeries = Callable[..., Path]
PIXEL_MM2 = 1.5 * 1.25


def cube(volume: Volume) -> np.ndarray:
    labels = np.zeros((len(volume.frames), volume.rows, volume.columns), np.uint8)
    labels[2:4, 4:10, 5:15] = 7
    return labels


def stored_hounsfield(volume: Volume) -> np.ndarray:
    """Read by pydicom, in the order of the frames."""
    images = [dcmread(frame.path) for frame in volume.frames]
    return np.stack([i.pixel_array * float(i.RescaleSlope) + float(i.RescaleIntercept) for i in images])


def test_structure_within_the_images_is_measured_in_millilitres_and_hounsfield_units(
    make_series: MakeSeries,
) -> None:
    volume = read_series(make_series())
    labels = cube(volume)
    found = measure_labels(volume, labels)
    values = stored_hounsfield(volume)[labels == 7]
    assert list(found) == [7]
    assert found[7].volume_ml == pytest.approx(2 * 6 * 10 * PIXEL_MM2 * 2.0 / 1000, abs=5e-4)
    assert found[7].mean == pytest.approx(values.mean(), abs=0.01)
    assert found[7].sd == pytest.approx(values.std(), abs=0.01)
    assert found[7].unit == "HU"
    assert not found[7].is_truncated


@pytest.mark.parametrize("where", [np.s_[0, 4, 4], np.s_[5, 4, 4], np.s_[3, 0, 4], np.s_[3, 4, -1]])
def test_structure_at_any_edge_of_the_images_is_truncated(make_series: MakeSeries, where: object) -> None:
    volume = read_series(make_series())
    labels = cube(volume)
    labels[where] = 7
    assert measure_labels(volume, labels)[7].is_truncated


def test_pixels_of_unevenly_spaced_slices_stand_for_the_room_up_to_their_neighbours(
    make_series: MakeSeries,
) -> None:
    volume = read_series(make_series((0.0, 2.0, 4.0, 6.0, 11.0, 13.0)))
    labels = cube(volume)  # slices at 4 and 6 mm: from 3 to 5, and from 5 to 8.5
    assert measure_labels(volume, labels)[7].volume_ml == pytest.approx(60 * PIXEL_MM2 * 5.5 / 1000, abs=5e-4)


def test_intensities_of_another_modality_have_no_unit(make_series: MakeSeries) -> None:
    def as_mr(header: object, _: int) -> None:
        header.Modality = "MR"  # type: ignore[attr-defined]

    volume = read_series(make_series(edit=as_mr))
    assert measure_labels(volume, cube(volume))[7].unit == ""


def test_frames_of_a_multi_frame_object_are_measured_too(make_multiframe: Callable[..., Path]) -> None:
    volume = read_series(make_multiframe())
    labels = cube(volume)
    pixels = dcmread(volume.frames[0].path).pixel_array[[f.frame_number - 1 for f in volume.frames]]  # type: ignore[operator]
    inside = pixels[labels == 7]
    found = measure_labels(volume, labels)[7]
    assert found.sd == pytest.approx(inside.std(), abs=0.01)


def test_labelled_keeps_what_is_known_and_measures_what_is_not(make_series: MakeSeries) -> None:
    volume = read_series(make_series())
    labels = cube(volume)
    labels[2, 12, 12] = 9
    known = Measurement(1.25, 40.0, 3.0, "HU", is_truncated=True)
    labelled = Labelled(volume, labels, {7: "liver", 9: "spleen", 11: "brain"}, known={"liver": known})
    assert labelled.values == (7, 9)
    assert labelled.measurements[7] is known
    assert labelled.measurements[9] == measure_labels(volume, labels)[9]


def test_labelled_with_a_value_without_name_or_of_another_shape_is_refused(make_series: MakeSeries) -> None:
    volume = read_series(make_series())
    with pytest.raises(LabelsDoNotFit, match="no name for 7"):
        Labelled(volume, cube(volume), {1: "liver"})
    with pytest.raises(LabelsDoNotFit, match="have the shape"):
        Labelled(volume, cube(volume)[1:], {7: "liver"})
