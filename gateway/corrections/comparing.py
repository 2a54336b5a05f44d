"""A correction beside our result: both read onto the images of the job, named by our structures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.edited.agreement import Agreement, Edited, compare_edited
from converter.edited.origin import Origin, matching_segments, read_origin
from converter.errors import LabelsDoNotFit
from converter.seg.decoder import ReadSegmentation, read_segmentation
from converter.series import Volume
from converter.voxels.grid import even_volume, needs_another_grid
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
    volume
        On whose frames both lie: the job's images, or the planes of the even grid that goes with them.
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
    try:
        return _compared(path, origin, source.path, source.origin, volume)
    except LabelsDoNotFit:
        found = _on_even_grid(path, origin, source, volume) if needs_another_grid(volume) else None
        if found is None:
            raise
        return found


def _on_even_grid(path: Path, origin: Origin, source: Source, volume: Volume) -> Comparison | None:
    """The same where it is an edited one of those on an even grid; None where it is not."""
    assert source.path is not None
    even = even_volume(volume)
    for ours in (source.path, *source.others):
        try:
            return _compared(path, origin, ours, read_origin(ours), even)
        except (LabelsDoNotFit, FileNotFoundError):
            continue
    return None


def _compared(path: Path, origin: Origin, ours_path: Path, ours_origin: Origin, volume: Volume) -> Comparison:
    ours = read_segmentation(ours_path, volume)
    matching = matching_segments(origin.segments, ours_origin.segments)
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
