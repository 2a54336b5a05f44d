"""What every result object shows: labels on the frames of a volume, their names, figures and flags."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter.errors import LabelsDoNotFit
from converter.measures import Measurement, measure_labels
from converter.seg.planes import run_starts
from converter.series import Volume
from converter.voxels.paged import planes_of

from .comparison import Comparison
from .settings import QualityFlag, ResultSettings, WrittenObject


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labels on the frames of a volume, and what is known of them.

    Parameters
    ----------
    labels
        (frames, rows, columns), uint8, on the volume's frames; all 0 where nothing was found.
    names
        Label value to structure name, for every value that occurs; others may stand there, too.
    known
        What was measured already, by structure name.

    Raises
    ------
    LabelsDoNotFit
        Another shape than the volume's, or a value without a name.
    """

    volume: Volume
    labels: NDArray[np.uint8]
    names: Mapping[int, str]
    flags: tuple[QualityFlag, ...] = ()
    known: Mapping[str, Measurement] = field(default_factory=dict)
    comparison: Comparison | None = None
    """With an earlier result; None where it was not asked for."""

    def __post_init__(self) -> None:
        expected = (len(self.volume.frames), self.volume.rows, self.volume.columns)
        if self.labels.shape != expected:
            raise LabelsDoNotFit(f"the labels have the shape {self.labels.shape}, the series {expected}")
        nameless = [value for value in self.values if value not in self.names]
        if nameless:
            raise LabelsDoNotFit(
                f"the label table has no name for {', '.join(map(str, nameless))}; add them, or "
                "take the table of the task that found them"
            )

    @cached_property
    def present(self) -> tuple[tuple[int, ...], ...]:
        """The label values on each frame, ascending."""
        found = []
        for plane in planes_of(self.labels):
            is_there = np.zeros(256, bool)
            flat = np.ascontiguousarray(plane).reshape(-1)
            is_there[flat[run_starts(flat, self.volume.columns)]] = True
            is_there[0] = False
            found.append(tuple(np.flatnonzero(is_there).tolist()))
        return tuple(found)

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The label values that occur, ascending; segments are numbered in this order, from 1."""
        return tuple(sorted({value for values in self.present for value in values}))

    @cached_property
    def measurements(self) -> Mapping[int, Measurement]:
        """Of every value that occurs: as known, else measured here, for which the pixels are read.

        Raises
        ------
        ConversionFailed, OSError
        """
        known = {value: self.known.get(self.names[value]) for value in self.values}
        measured = measure_labels(self.volume, self.labels) if None in known.values() else {}
        return {value: found or measured[value] for value, found in known.items()}

    def flags_of(self, name: str) -> tuple[QualityFlag, ...]:
        """Those that name a structure."""
        return tuple(flag for flag in self.flags if flag.structure == name)


@dataclass(frozen=True)
class Writer:
    """What makes one output of labelled images, with or without a gateway.

    Parameters
    ----------
    version
        Of `made_with`; changes whenever the bytes would.
    write
        Writes to a path, for outputs of many objects a folder; each object is durable when it returns. The
        first object has the settings' UID.
    """

    version: str
    write: Callable[[Labelled, ResultSettings, Path], Sequence[WrittenObject]]
