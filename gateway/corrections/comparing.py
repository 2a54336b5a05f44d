"""A correction beside our result: both read onto the images of the job, named by our structures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.edited.agreement import Agreement, Edited, compare_edited
from converter.edited.origin import Origin, matching_segments
from converter.segmentation_reader import ReadSegmentation, read_segmentation
from converter.series import Volume
from gateway.files.kept import ImagesRemoved
from gateway.files.workplace import Workplace
from gateway.ledger.records import CorrectedStructure
from gateway.workers.attempts import CannotGoOn

from .linking import Source


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


def compare_with_ours(path: Path, origin: Origin, source: Source, place: Workplace) -> Comparison:
    """Read both and compare them.

    Raises
    ------
    FilesLost
        It can be done when the images are here again.
    CannotGoOn, ConverterError
        It cannot be done.
    OSError
    """
    if source.path is None or source.origin is None:
        raise CannotGoOn("the result that it was made of is not here any more")
    try:
        volume = place.volume(source.job)
    except ImagesRemoved:
        raise CannotGoOn("the images of the result were removed here before it came") from None
    ours = read_segmentation(source.path, volume)
    matching = matching_segments(origin.segments, source.origin.segments)
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
