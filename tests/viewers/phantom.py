"""A patient whose organs are balls of known places, cut into slices of any direction, and its results."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from pydicom import dcmread

from benchmarks.geometry.phantoms import MIDDLE_MM, Ball, Phantom
from converter.results.labelled import Labelled, Writer
from converter.results.settings import Algorithm, ResultSettings
from converter.series import Volume, read_series
from converter.terminology import Code, structure
from converter.uids import derived_uid

BODY_HU = -500
"""What is more is patient."""
ORGANS = ("liver", "spleen", "kidney_right", "kidney_left", "aorta")
"""Each is as bright as no other; no flip or turn maps them onto themselves."""
_PLACES_MM = ((-33, -12, 4, 22), (38, -10, -3, 15), (-26, 26, 2, 11), (30, 24, -2, 13), (4, 14, 0, 8))
"""To the left, the back and up from the middle, and the radius."""
_BALLS = tuple(
    Ball((MIDDLE_MM[0] + x, MIDDLE_MM[1] + y, MIDDLE_MM[2] + z), radius, 40 * number)
    for number, (x, y, z, radius) in enumerate(_PLACES_MM, start=1)
)
LEAST_PIXELS = 40
"""Of an organ that is to be seen: edges of smaller ones are as large as they are."""
NAMES = dict(enumerate(ORGANS, start=1))
WORDS = tuple(structure(name).words for name in ORGANS)
RGB = tuple(structure(name).rgb for name in ORGANS)


@dataclass(frozen=True)
class Slice:
    """One slice as it was written: the patient, and the organs' numbers, both (rows, columns)."""

    is_body: np.ndarray
    labels: np.ndarray

    def shows(self, number: int) -> bool:
        """Whether an organ is on it, and more than its cap."""
        return int((self.labels == number).sum()) >= LEAST_PIXELS


@dataclass(frozen=True)
class Patient:
    """The phantom as a series in a folder."""

    folder: Path

    @cached_property
    def volume(self) -> Volume:
        """The series."""
        return read_series(self.folder)

    @cached_property
    def slices(self) -> Mapping[int, Slice]:
        """The slices by Instance Number."""
        found = {}
        for path in self.folder.iterdir():
            image = dcmread(path)
            hu = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
            labels = sum((hu == ball.hu) * np.uint8(number) for number, ball in enumerate(_BALLS, start=1))
            found[int(image.InstanceNumber)] = Slice(hu > BODY_HU, np.asarray(labels, np.uint8))
        return found

    @cached_property
    def labelled(self) -> Labelled:
        """The series with the true labels."""
        labels = [self.slices[int(dcmread(f.path).InstanceNumber)].labels for f in self.volume.frames]
        return Labelled(self.volume, np.stack(labels), NAMES)

    @property
    def middle(self) -> int:
        """The Instance Number of the slice that shows most organs."""
        return max(self.slices, key=lambda number: len(np.unique(self.slices[number].labels)))

    @property
    def telling_slices(self) -> tuple[int, ...]:
        """Instance Numbers, ascending, of as few slices as show all organs."""
        missing, found = set(NAMES), []
        while missing:
            shown = {n: {o for o in missing if each.shows(o)} for n, each in self.slices.items()}
            best = max(shown, key=lambda number: len(shown[number]))
            found.append(best)
            missing -= shown[best]
        return tuple(sorted(found))

    def write(self, name: str, writer: Writer, number: int) -> list[Path]:
        """Make a result of the true labels; its series is called by `name`."""
        uid = derived_uid("viewers", self.volume.study_uid, name)
        said = ResultSettings(
            sop_instance_uid=uid,
            series_uid=derived_uid(uid, "series"),
            series_number=9000 + number,
            series_description=name,
            made_at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
            task="total",
            algorithm=Algorithm("finder total", "1.2", Code("123109", "DCM", "Artificial Intelligence")),
        )
        target = self.folder.with_name(f"{self.folder.name}-{number}")
        made = writer.write(self.labelled, said, target)
        return [each.path for each in made]


def patient(folder: Path, phantom: Phantom) -> Patient:
    """Write the phantom with these organs."""
    folder.mkdir(parents=True)
    replace(phantom, balls=_BALLS).write(folder)
    return Patient(folder)
