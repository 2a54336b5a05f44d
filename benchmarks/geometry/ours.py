"""What the converter makes of a case: its judgement, and where the labels landed."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.geometry.cases import Case
from benchmarks.geometry.engine import NAMES, Engine
from benchmarks.geometry.landing import Slice, landing, truths
from converter.choice import Choice
from converter.errors import ConverterError
from converter.nifti.conversion import convert_volume
from converter.results.settings import Algorithm
from converter.seg.decoder import decode_segmentation
from converter.seg.encoder import SegmentationSettings, encode_segmentation
from converter.series import Judgement, Usability, Volume, judge_series, read_header
from converter.terminology import Code
from converter.voxels.geometry import labels_on_frames

SETTINGS = SegmentationSettings(
    sop_instance_uid="2.25.1",
    series_uid="2.25.2",
    series_number=9003,
    series_description="two balls (research use)",
    made_at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
    task="total",
    algorithm=Algorithm("threshold", "1", Code("123104", "DCM", "Morphological Operations")),
)


@dataclass(frozen=True)
class Outcome:
    """In the table's words: what the series was judged to be, and where the labels of each volume landed."""

    judged: str
    landed: str


def outcome(case: Case, folder: Path) -> Outcome:
    """Take a case all the way: judged, converted, marked, carried back, encoded, decoded."""
    series = folder / "series"
    series.mkdir()
    case.write(series)
    judgement = judge_series([(path, read_header(path)) for path in sorted(series.iterdir())])
    usable = [volume for volume in judgement.volumes if volume.usability is not Usability.UNUSABLE]
    if case.where:
        usable = list(Choice(where=case.where).among(usable))
    truth = truths(series, case.engine, case.decoded, case.where) if usable else []
    landed = [_landed(volume, truth, case.engine, folder) for volume in usable]
    return Outcome(counted(in_words(judgement)), counted(landed) or "no result")


def in_words(judgement: Judgement) -> list[str]:
    """Slices and findings of each volume, and why each file that is part of none is left over."""
    volumes = [_volume(volume) for volume in judgement.volumes]
    return [*volumes, *(f"left over: {finding.code}" for _, finding in judgement.left_over)]


def _volume(volume: Volume) -> str:
    findings = ", ".join(finding.code for finding in volume.findings)
    count = len(volume.frames)
    text = f"{count} slice{'s' if count > 1 else ''} {volume.usability.value}"
    return f"{text}: {findings}" if findings else text


def counted(texts: list[str]) -> str:
    """Equal texts once, with how many there are."""
    return "; ".join(f"{n} x {text}" if n > 1 else text for text, n in Counter(texts).items())


def _landed(volume: Volume, truth: list[list[Slice]], engine: Engine, folder: Path) -> str:
    nifti, labels, seg, back = (folder / name for name in ("in.nii", "labels.nii", "seg.dcm", "back.nii"))
    try:
        convert_volume(volume, nifti)
        image: Any = nib.load(nifti)
        nib.save(nib.Nifti1Image(engine.mark(np.asanyarray(image.dataobj)), image.affine), labels)
        on_frames = labels_on_frames(labels, volume)
        encode_segmentation(volume, on_frames, NAMES, SETTINGS, seg)
        decode_segmentation(seg, volume, back)
    except ConverterError as error:
        return f"refused: {type(error).__name__}"
    text = landing(seg, truth).in_words(engine)
    same = np.array_equal(labels_on_frames(back, volume), on_frames)
    return text if same else f"{text}, but decodes differently"
