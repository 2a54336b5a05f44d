"""A correction beside our result: both read onto the images of the job, named by our structures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.edited.agreement import Agreement, Edited, compare_edited
from converter.edited.origin import Origin, matching_segments
from converter.segmentation_reader import ReadSegmentation, read_segmentation
from converter.series import Volume
from gateway.files.workplace import Workplace
from gateway.ledger.records import CorrectedStructure, JobRow
from gateway.workers.attempts import CannotGoOn


@dataclass(frozen=True, eq=False)
class Comparison:
    """What there is to say, and to write down, of a correction.

    Parameters
    ----------
    matching
        Number of a segment of the correction to number of ours.
    """

    volume: Volume
    ours: ReadSegmentation
    edited: Edited
    matching: Mapping[int, int]
    structures: tuple[CorrectedStructure, ...]


def compare_with_ours(
    path: Path,
    origin: Origin,
    job: JobRow,
    our_path: Path | None,
    our_origin: Origin | None,
    place: Workplace,
) -> Comparison:
    """Read both and compare them.

    Raises
    ------
    FilesLost, ImagesRemoved
        The images are not here: it can be done when they are.
    CannotGoOn, ConverterError
        It cannot be done.
    OSError
    """
    if our_path is None or our_origin is None:
        raise CannotGoOn("our result is not here any more; retry its job, then send the correction again")
    volume = place.volume(job)
    ours = read_segmentation(our_path, volume)
    matching = matching_segments(origin.segments, our_origin.segments)
    edited = compare_edited(path, volume, ours, matching)
    names = {segment.number: segment.label for segment in ours.segments}
    new = {segment.number: segment.label for segment in origin.segments}
    structures = tuple(_structure(one, names, new) for one in edited.agreements)
    return Comparison(volume, ours, edited, matching, structures)


def _structure(one: Agreement, names: Mapping[int, str], new: Mapping[int, str]) -> CorrectedStructure:
    is_new = one.number is None
    name = new.get(one.edited_number or 0, "") if one.number is None else names[one.number]
    return CorrectedStructure(
        structure=name,
        is_new=is_new,
        dice=one.dice,
        volume_ml=one.volume_ml,
        corrected_ml=one.edited_ml,
    )
