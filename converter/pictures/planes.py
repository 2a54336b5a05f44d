"""Where a volume's pictures lie in the patient, and what of grey and labels they show.

They are the source's own slices, or planes across another of the stack's axes, which then are looked at as
radiologists do: the patient's left on the right side, and head or front above.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from converter.errors import EncodingFailed
from converter.reading.headers import numbers_of
from converter.series import Volume
from converter.voxels.geometry import directions_lps, positions_lps_mm
from converter.voxels.grid import needs_another_grid

from .grey import Brightness
from .settings import Cut

Vector = NDArray[np.float64]

ACROSS: Final = {Cut.SAGITTAL: 0, Cut.CORONAL: 1, Cut.AXIAL: 2}
"""The patient axis (to the left, to the back, up) that planes lie across."""
TO_THE_RIGHT: Final = {Cut.SAGITTAL: (0, 1, 0), Cut.CORONAL: (1, 0, 0), Cut.AXIAL: (1, 0, 0)}
"""Where their columns go, in LPS."""
DOWN: Final = {Cut.SAGITTAL: (0, 0, -1), Cut.CORONAL: (0, 0, -1), Cut.AXIAL: (0, 1, 0)}
"""Where their rows go."""
_ENDS: Final = (("R", "L"), ("A", "P"), ("F", "H"))
LEAST_SHARE: Final = 0.1
"""A direction of which less goes along an axis does not name it."""


class Planes(Protocol):
    """Pictures to be, in order; `plane` may be called from several threads."""

    shape: tuple[int, int]
    """Rows, columns."""
    orientation_lps: Sequence[float]
    pixel_spacing_mm: tuple[float, float]
    thickness_mm: float | None
    """None: the source's."""
    numbers: Sequence[int]
    """Instance Numbers."""

    def __len__(self) -> int: ...

    def position_lps_mm(self, number: int) -> tuple[float, float, float]:
        """Centre of the first pixel."""
        ...

    def sources(self, number: int) -> Sequence[int]:
        """Which of the volume's frames it shows."""
        ...

    def plane(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Grey and labels, each (rows, columns)."""
        ...

    def labels(self, number: int) -> NDArray[np.uint8]:
        """Labels only."""
        ...


def planes_of(volume: Volume, labels: NDArray[np.uint8], grey: Brightness, cut: Cut) -> Planes:
    """The planes that are asked for; where the stack's slices lie across that axis they are the slices.

    Raises
    ------
    EncodingFailed
        Slices lean or are uneven: other planes than theirs would not be where they say.
    """
    if cut is Cut.SOURCE or patient_axes(volume)[ACROSS[cut]] == 2:
        return Slices(volume, labels, grey)
    if needs_another_grid(volume):
        raise EncodingFailed(
            f"slices that lean or are unevenly spaced cannot be shown as {cut} planes; choose their own"
        )
    return Reformatted(volume, labels, grey, cut)


class Slices:
    """The source's own slices, pixel by pixel."""

    def __init__(self, volume: Volume, labels: NDArray[np.uint8], grey: Brightness) -> None:
        self.shape = (volume.rows, volume.columns)
        self.orientation_lps: Sequence[float] = volume.orientation_lps
        self.thickness_mm: float | None = None
        self.pixel_spacing_mm = volume.pixel_spacing_mm
        self.numbers = _instance_numbers(volume)
        self._volume, self._labels, self._grey = volume, labels, grey

    def __len__(self) -> int:
        return len(self._volume.frames)

    def position_lps_mm(self, number: int) -> tuple[float, float, float]:
        """The slice's own."""
        return self._volume.frames[number].position_lps_mm

    def sources(self, number: int) -> Sequence[int]:
        """That slice."""
        return (number,)

    def plane(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Grey and labels, each (rows, columns)."""
        return self._grey.plane(number), self._labels[number]

    def labels(self, number: int) -> NDArray[np.uint8]:
        """Labels only."""
        plane: NDArray[np.uint8] = self._labels[number]
        return plane


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a stack as a picture's axis or as that across it."""

    stack: int
    """0 columns, 1 rows, 2 frames."""
    direction: Vector
    step_mm: float
    count: int

    def is_turned(self, wanted: Sequence[int]) -> bool:
        """Whether it runs the other way than wanted."""
        return float(self.direction @ np.array(wanted)) < 0


class Reformatted:
    """Planes across columns or rows of a straight stack, with square pixels where slices are the thicker."""

    def __init__(self, volume: Volume, labels: NDArray[np.uint8], grey: Brightness, cut: Cut) -> None:
        axes, order = stack_axes(volume), patient_axes(volume)
        through = axes[order[ACROSS[cut]]]
        across, down = (
            axes[order[int(np.argmax(np.abs(wanted)))]] for wanted in (TO_THE_RIGHT[cut], DOWN[cut])
        )
        corner = positions_lps_mm(volume)[0]
        finest = min(across.step_mm, down.step_mm)
        self._columns, column_dir, corner = _samples(across, TO_THE_RIGHT[cut], finest, corner)
        self._rows, row_dir, corner = _samples(down, DOWN[cut], finest, corner)
        self._corner, self._through, self._down = corner, through, down
        self.shape = (len(self._rows), len(self._columns))
        self.orientation_lps: Sequence[float] = (*column_dir.tolist(), *row_dir.tolist())
        spacings = [_step(axis, finest) for axis in (down, across)]
        self.pixel_spacing_mm = (spacings[0], spacings[1])
        self.thickness_mm: float | None = through.step_mm
        self.numbers: Sequence[int] = range(1, through.count + 1)
        self._labels, self._frames = labels, range(len(volume.frames))
        self._grey = np.stack([grey.plane(number) for number in self._frames])
        self._across = across

    def __len__(self) -> int:
        return self._through.count

    def position_lps_mm(self, number: int) -> tuple[float, float, float]:
        """On the line through the corner, across the planes."""
        x, y, z = (self._corner + self._through.direction * (self._through.step_mm * number)).tolist()
        return x, y, z

    def sources(self, number: int) -> Sequence[int]:
        """All of the stack."""
        return self._frames

    def plane(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Grey, linear between slices, and labels, of the nearest one."""
        return self._resampled(self._section(self._grey, number)), self.labels(number)

    def labels(self, number: int) -> NDArray[np.uint8]:
        """Labels of the nearest voxel."""
        section = self._section(self._labels, number)
        return np.asarray(section[np.rint(self._rows).astype(int)][:, np.rint(self._columns).astype(int)])

    def _section(self, array: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """(down, across) as they lie in the stack."""
        section = array.transpose(2, 1, 0)  # columns, rows, frames
        order = (self._through.stack, self._down.stack, self._across.stack)
        plane: NDArray[np.uint8] = section.transpose(order)[number]
        return plane

    def _resampled(self, section: NDArray[np.uint8]) -> NDArray[np.uint8]:
        values = section.astype(np.float32)
        for axis, at in enumerate((self._rows, self._columns)):
            low = np.minimum(at.astype(int), max(0, values.shape[axis] - 2))
            high = np.minimum(low + 1, values.shape[axis] - 1)
            weight = (at - low).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
            values = np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight
        return np.rint(values).astype(np.uint8)


def ends_of(orientation_lps: Sequence[float]) -> tuple[str, str, str, str]:
    """What lies left, right, above and below in a picture: of R, L, A, P, F (feet), H (head)."""
    right, down = (_end(np.array(orientation_lps[k : k + 3])) for k in (0, 3))
    return right[0], right[1], down[0], down[1]


def patient_orientation(orientation_lps: Sequence[float]) -> list[str]:
    """Where rows and columns go (Patient Orientation, PS3.3 C.7.6.1.1.1): the main direction first."""
    words = []
    for k in (0, 3):
        direction = np.array(orientation_lps[k : k + 3])
        order = np.argsort(-np.abs(direction), kind="stable").tolist()
        words.append(
            "".join(
                _ENDS[axis][int(direction[axis] > 0)] for axis in order if abs(direction[axis]) > LEAST_SHARE
            )
        )
    return words


def _end(direction: Vector) -> tuple[str, str]:
    axis = int(np.abs(direction).argmax())
    low, high = _ENDS[axis]
    return (low, high) if direction[axis] > 0 else (high, low)


def stack_axes(volume: Volume) -> list[Axis]:
    """Columns, rows and frames, as if the stack were straight."""
    across, down = directions_lps(volume)
    row_mm, column_mm = volume.pixel_spacing_mm
    positions = positions_lps_mm(volume)
    way = positions[-1] - positions[0]
    count = len(positions)
    step_mm = float(np.linalg.norm(way)) / max(count - 1, 1)
    return [
        Axis(0, across, column_mm, volume.columns),
        Axis(1, down, row_mm, volume.rows),
        Axis(2, volume.normal_lps, step_mm or 1.0, count),
    ]


def patient_axes(volume: Volume) -> list[int]:
    """For each patient axis the stack's axis that follows it; each is taken once."""
    left = np.abs(np.stack([axis.direction for axis in stack_axes(volume)]))
    order = [-1, -1, -1]
    for _ in range(3):
        stack, patient = np.unravel_index(int(left.argmax()), left.shape)
        order[int(patient)] = int(stack)
        left[stack, :] = left[:, patient] = -1
    return order


def _step(axis: Axis, finest_mm: float) -> float:
    """The distance of samples: slices that are thicker than pixels are wide are sampled as pixels are."""
    return finest_mm if axis.stack == 2 else axis.step_mm


def _samples(
    axis: Axis, wanted: Sequence[int], finest_mm: float, corner: Vector
) -> tuple[Vector, Vector, Vector]:
    """Indices along an axis in the order of a picture, its direction there, and the corner moved to it."""
    step = _step(axis, finest_mm) / axis.step_mm
    count = int(np.floor((axis.count - 1) / step + 1e-6)) + 1
    at = np.minimum(np.arange(count) * step, axis.count - 1)
    if not axis.is_turned(wanted):
        return at, axis.direction, corner
    return at[::-1].copy(), -axis.direction, corner + axis.direction * (at[-1] * axis.step_mm)


def _instance_numbers(volume: Volume) -> Sequence[int]:
    """The slices' own; where these are not one each, places in the stack from 1."""
    found = [
        (frame.frame_number,) if frame.frame_number is not None else numbers_of(header, "InstanceNumber", 1)
        for frame, header in zip(volume.frames, volume.headers, strict=True)
    ]
    numbers = [int(number[0]) for number in found if number is not None]
    if len(set(numbers)) == len(volume.frames):
        return numbers
    return range(1, len(volume.frames) + 1)
