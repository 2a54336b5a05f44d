"""What the PACS has of each study in the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydicom import dcmread

from benchmarks.geometry.landing import Slice, landing, segmented, truths

from .orthancs import Orthanc
from .studies import ENGINE, Study

Found = Literal[
    "right, once", "right, with one that is not beside it", "right, more than once", "wrong", "none"
]
FOUND: Final[Sequence[Found]] = (
    "right, once",
    "right, with one that is not beside it",
    "right, more than once",
    "wrong",
    "none",
)


@dataclass(frozen=True)
class Counted:
    """One study: what was found, and how many segmentations there are that nobody rejected."""

    study: str
    how: str
    found: Found
    segmentations: int


def counted(study: Study, pacs: Orthanc, folder: Path) -> Counted:
    """Fetch its segmentations and lay them beside the balls in its images.

    Right is one whose every labelled pixel lies on a pixel of a ball, and no pixel of a ball is left out: by
    where its frames say that they are, or by the images that they refer to: viewers go by either.
    """
    folder.mkdir(parents=True)
    files = list(pacs.results(study.uid, folder))
    rejected = {uid for path in files for uid in _rejected(path)}
    segmentations = [path for path in files if _is_current(path, rejected)]
    (truth,) = truths(study.folder, ENGINE)
    right = sum(
        landing(path, [truth]).exact or _is_exact_by_references(path, truth, study) for path in segmentations
    )
    return Counted(study.name, study.how, _found(right, len(segmentations)), len(segmentations))


def _found(right: int, all_of_them: int) -> Found:
    if not all_of_them:
        return "none"
    if not right:
        return "wrong"
    if right > 1:
        return "right, more than once"
    return "right, once" if all_of_them == 1 else "right, with one that is not beside it"


def _is_exact_by_references(path: Path, truth: Sequence[Slice], study: Study) -> bool:
    """Whether the frames show what is marked in the images that they refer to, and nothing is left out."""
    uids = [dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in sorted(study.folder.iterdir())]
    left = {uid: one.labels.copy() for uid, one in zip(uids, truth, strict=True)}
    frames = dcmread(path).PerFrameFunctionalGroupsSequence
    for found, groups in zip(segmented(path), frames, strict=True):
        derived = groups.get("DerivationImageSequence")
        labels = left.get(derived[0].SourceImageSequence[0].ReferencedSOPInstanceUID) if derived else None
        is_marked = found.labels > 0
        if labels is None or (labels[is_marked] != found.labels[is_marked]).any():
            return False
        labels[is_marked] = 0
    return not any(labels.any() for labels in left.values())


def _is_current(path: Path, rejected: set[str]) -> bool:
    header = dcmread(path, stop_before_pixels=True)
    return header.Modality == "SEG" and header.SOPInstanceUID not in rejected


def _rejected(path: Path) -> set[str]:
    """What a rejection note (Key Object Selection, PS3.3 A.35.4) names."""
    header = dcmread(path, stop_before_pixels=True)
    return {
        one.ReferencedSOPInstanceUID
        for study in header.get("CurrentRequestedProcedureEvidenceSequence", [])
        if header.Modality == "KO"
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
