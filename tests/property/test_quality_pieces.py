"""The pieces of a structure are those that SciPy's labelling finds, however they lie."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from batch_job.image import Image
from batch_job.quality.pieces import pieces_of
from batch_job.quality.structures import find_structures


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(bool, st.tuples(*[st.integers(1, 7)] * 3)), st.integers(0, 3))
def test_pieces_are_those_of_labelling_with_what_touches_the_edge_as_one(
    found: np.ndarray, margin: int
) -> None:
    labels = np.pad(found, margin).astype(np.uint8) * 3
    if not found.any():
        return
    scan = find_structures(Image(labels, np.eye(4)), labels, {3: "liver"})
    pieces, count = ndimage.label(labels, np.ones((3, 3, 3)))
    inner = np.zeros(labels.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    at_edge = set(np.unique(pieces[~inner])) - {0}
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    expected = [int(sizes[n]) for n in range(1, count + 1) if n not in at_edge]
    if at_edge:
        expected.append(sum(int(sizes[n]) for n in at_edge))
    assert sorted(pieces_of(scan, scan.structures["liver"])) == sorted(expected)
