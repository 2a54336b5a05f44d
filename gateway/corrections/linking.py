"""Which result of ours a segmentation was made of, by evidence; none where it is somebody else's.

An edited segmentation has another UID, mostly another series, and what it keeps of ours differs by viewer. A
radiologist's own segmentation of the same series, or another product's, is no correction, also where it is of
the same organ: so a name in common is not enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from converter.edited.agreement import Edited
from converter.edited.origin import Origin, matching_segments, read_origin
from converter.errors import LabelsDoNotFit
from converter.series import parse_frame_name
from gateway.ledger.completion import images_of
from gateway.ledger.corrections import SEGMENTATIONS, Evidence, SourceResults
from gateway.ledger.records import JobRow, ResultObjectRow
from gateway.ledger.store import Ledger

FEW: Final = 2
"""Fewer names in common may be chance."""


class Proof(StrEnum):
    """What its pixels have to show before it counts."""

    NONE = "none"
    EQUAL_PLANES = "equal planes"  # somewhere a segment is exactly as ours
    DIFFERENCE = "difference"  # somewhere it is not


@dataclass(frozen=True)
class Source:
    """A job, and its segmentation as it lies here; None where it is not here any more.

    Parameters
    ----------
    others
        Further ones of the same labels: in another form, or on an even grid.
    """

    job: JobRow
    path: Path | None
    origin: Origin | None
    others: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a segmentation seems to be a correction of."""

    source: Source
    evidence: Evidence
    proof: Proof = Proof.NONE

    def is_proved_by(self, edited: Edited) -> bool:
        """Whether its pixels show what they have to."""
        match self.proof:
            case Proof.EQUAL_PLANES:
                return edited.equal_planes > 0
            case Proof.DIFFERENCE:
                return any(one.dice != 1.0 for one in edited.agreements)
        return True


def find_source(origin: Origin, results: SourceResults, ledger: Ledger, data_dir: Path) -> Found | None:
    """Which job's result it was made of, the newest of several; None where it was made of none.

    Raises
    ------
    OSError
    """
    ours = [one for one in results.objects if one.sop_class_uid in SEGMENTATIONS]
    if any(one.sop_instance_uid == origin.sop_instance_uid for one in results.objects):
        return None  # it is one itself, which came before it was made here again
    sources = {job.job_key: source_of(job, ours, data_dir) for job in results.jobs}
    # A correction may have been edited once more, and names that.
    known = {**results.corrections, **{one.sop_instance_uid: one.job_key for one in ours}}
    for uid, job_key in known.items():
        if uid in origin.instance_uids:
            return Found(sources[job_key], Evidence.REFERENCE)
    found = [
        each
        for source in sources.values()
        if source.origin is not None
        and (each := _by_content(origin, source, source.origin, ledger)) is not None
    ]
    ranks = list(Evidence)
    return min(found, key=lambda each: ranks.index(each.evidence), default=None)


def source_of(job: JobRow, objects: Sequence[ResultObjectRow], data_dir: Path) -> Source:
    """A job with the segmentation that it has now, of all objects of its study.

    Raises
    ------
    OSError
    """
    paths = [
        data_dir / one.path
        for one in objects
        if one.job_key == job.job_key and one.is_current and one.sop_class_uid in SEGMENTATIONS
    ]
    for number, path in enumerate(paths, start=1):
        try:
            return Source(job, path, read_origin(path), tuple(paths[number:]))
        except (LabelsDoNotFit, FileNotFoundError):
            continue
    return Source(job, None, None)


def _by_content(origin: Origin, source: Source, ours: Origin, ledger: Ledger) -> Found | None:
    """What there is for it beside a reference."""
    if origin.series_uid == ours.series_uid:
        return Found(source, Evidence.REFERENCE)
    images = {parse_frame_name(name)[0] for name in images_of(ledger, source.job.job_key)}
    if not origin.is_of(images, source.job.series_uid):
        return None
    is_tracked = _tracking(origin) & _tracking(ours)
    if origin.is_ours:  # another gateway's own result has our tracking UIDs too
        is_copy = is_tracked and origin.made_at == ours.made_at
        return Found(source, Evidence.TRACKING, Proof.DIFFERENCE) if is_copy else None
    if is_tracked:
        return Found(source, Evidence.TRACKING)
    matching = matching_segments(origin.segments, ours.segments)
    if not matching:
        return None
    if origin.names_us:
        return Found(source, Evidence.EQUIPMENT)
    if _is_another_algorithms(origin, ours, matching):
        return None
    is_most = 2 * len(matching) >= max(len(origin.segments), len(ours.segments))
    proof = Proof.NONE if is_most and len(matching) >= FEW else Proof.EQUAL_PLANES
    return Found(source, Evidence.LABELS, proof)


def _is_another_algorithms(origin: Origin, ours: Origin, matching: Mapping[int, int]) -> bool:
    """Whether software that says another name than ours made these segments without a person."""
    names = {segment.algorithm_name.casefold() for segment in ours.segments}
    return any(
        segment.algorithm_type == "AUTOMATIC" and segment.algorithm_name.casefold() not in names
        for segment in origin.segments
        if segment.number in matching
    )


def _tracking(origin: Origin) -> set[str]:
    return {segment.tracking_uid for segment in origin.segments if segment.tracking_uid}
