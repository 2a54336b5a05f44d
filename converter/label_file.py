"""From a label map file to result objects, without a gateway: what `iris encode` does."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from .errors import LabelsDoNotFit
from .inputs import AnyPath, Source
from .labels import Labels
from .reading.headers import numbers_of, text_of
from .results.labelled import Labelled, Writer
from .results.settings import (
    SERIES_NUMBER,
    Algorithm,
    ResultSettings,
    Terms,
    WrittenObject,
    free_series_number,
)
from .seg.encoder import Encoding, segmentation_writer
from .series import Volume, read_series
from .source_header import copied_header_digest
from .terminology import Code
from .uids import derived_uid
from .version import own_version
from .voxels.geometry import labels_on_frames
from .voxels.grid import even_volume, source_of

ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")
"""Of PS3.16 CID 7162."""
OWN_LABELS: Final = "own labels"
"""What stands for a task where a label map is of no engine's that is known here."""


@dataclass(frozen=True)
class LabelTable:
    """What the values of a label map mean, and what found them.

    `task` is what it is called in descriptions, `names` goes from label value to structure name. It is for
    images of that `modality` only, where it names one: tasks for CT and for MR have other names for a value.
    """

    task: str
    names: Mapping[int, str]
    terms: Terms
    modality: str = ""

    @classmethod
    def of_own(cls, labels: Labels) -> Self:
        """Of a model that is not known here."""
        return cls(OWN_LABELS, labels.names, Terms(ARTIFICIAL_INTELLIGENCE, labels.structures))

    def require_fits(self, volume: Volume) -> None:
        """Refuse images that it is not for.

        Raises
        ------
        LabelsDoNotFit
        """
        own = text_of(volume.header, "Modality")
        if self.modality and own and own != self.modality:
            raise LabelsDoNotFit(
                f"the task {self.task} is for {self.modality}, the series is {own}: structures may "
                "get wrong names; name the task that made the label map, or say what its values mean"
            )


@dataclass(frozen=True)
class Wording:
    """What a user may say otherwise than it is said by itself.

    `algorithm` is a name and a version. A series number that is not given is that of results, the source's
    and `number_of_kind`, so that objects of several kinds of one source differ; and a description that is not
    given begins with the `title` of the kind.
    """

    algorithm: tuple[str, str] | None = None
    series_description: str = ""
    series_number: int | None = None
    number_of_kind: int = 0
    title: str = ""


@dataclass(frozen=True, eq=False)
class LabelsOnFrames:
    """A label map, (frames, rows, columns), uint8, on the frames of a volume.

    `digest` is of what it was read from; `made_at`, aware of its time zone, is when that was made.
    """

    volume: Volume
    labels: NDArray[np.uint8]
    digest: str
    made_at: datetime


@dataclass(frozen=True)
class EncodedFile:
    """What was made of a label map: objects, the names of what was found, and warnings."""

    objects: Sequence[WrittenObject]
    found: tuple[str, ...]
    warnings: tuple[str, ...]


def encode_label_file(
    series: Source | Volume,
    labels: AnyPath,
    out: AnyPath,
    table: LabelTable,
    writer: Writer | None = None,
    wording: Wording | None = None,
    *,
    is_on_even_grid: bool = False,
) -> EncodedFile:
    """Make result objects of a label map NIfTI on the slices of a series.

    They are dated by the label map's file, so that the same files give the same objects.

    Parameters
    ----------
    series
        As `read_series` takes it, or what it gave.
    table
        What the values mean.
    writer
        What makes them; without one a BINARY segmentation is made.
    is_on_even_grid
        Whether the labels are shown on the even grid of slices that lean or are uneven, not on the slices.

    Raises
    ------
    ConverterError
        The series is no volume, or the labels do not fit it or the table.
    OSError
    """
    labels = Path(labels)
    volume = series if isinstance(series, Volume) else read_series(series)
    table.require_fits(volume)
    if is_on_even_grid:
        volume = even_volume(volume)
    made_at = datetime.fromtimestamp(labels.stat().st_mtime, UTC).astimezone()
    digest = hashlib.sha256(labels.read_bytes()).hexdigest()
    found = LabelsOnFrames(volume, labels_on_frames(labels, volume), digest, made_at)
    return encode_labels(found, out, table, writer, wording)


def encode_labels(
    found: LabelsOnFrames,
    out: AnyPath,
    table: LabelTable,
    writer: Writer | None = None,
    wording: Wording | None = None,
) -> EncodedFile:
    """Make result objects of labels that lie on frames; raises and takes what `encode_label_file` does."""
    writer, wording = writer or segmentation_writer(Encoding()), wording or Wording()
    volume = found.volume
    labelled = Labelled(volume, found.labels, table.names)
    objects = writer.write(labelled, _settings(found, table, writer, wording), Path(out))
    warnings = [finding.sentence for finding in source_of(volume).findings]
    warnings += [warning for made in objects for warning in made.warnings]
    names = tuple(table.names[value] for value in labelled.values)
    return EncodedFile(objects, names, tuple(dict.fromkeys(warnings)))


def _settings(found: LabelsOnFrames, table: LabelTable, writer: Writer, wording: Wording) -> ResultSettings:
    volume, made_at = found.volume, found.made_at
    uid = derived_uid(
        "label file",
        table.task,
        json.dumps(dict(table.names), sort_keys=True),
        table.terms.identity(),
        made_at.isoformat(),
        writer.version,
        json.dumps(asdict(wording)),
        copied_header_digest(volume),
        found.digest,
    )
    numbers = numbers_of(volume.header, "SeriesNumber", 1)
    source_number = None if numbers is None else int(numbers[0])
    source = "?" if source_number is None else source_number
    number = free_series_number(SERIES_NUMBER, source_number, ()) + wording.number_of_kind
    name, version = wording.algorithm or (f"label map {table.task}", own_version())
    return ResultSettings(
        sop_instance_uid=uid,
        series_uid=derived_uid(uid, "series"),
        series_number=number if wording.series_number is None else wording.series_number,
        series_description=wording.series_description
        or f"{wording.title} {table.task} of {source} (research)".strip(),
        made_at=made_at,
        task=table.task,
        algorithm=Algorithm(name, version, table.terms.family),
        structures=table.terms.structures,
        label_names=tuple(table.names.values()),
    )
