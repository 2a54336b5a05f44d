"""A measurement group for each structure: what it is, where it is drawn, figures, and what was noticed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from converter.measures import Measurement
from converter.reading.headers import text_of
from converter.results.bytes import frame_named
from converter.results.labelled import Labelled
from converter.results.settings import QualityFlag, ResultSettings
from converter.seg.segments import tracked_subject, tracking_uid
from converter.series import Volume
from converter.terminology import Structure

from . import concepts
from .items import Items, Relation, frames_meant, segment_meant
from .over_time import change_items

CONTAINS, MODIFIES = Relation.CONTAINS, Relation.HAS_CONCEPT_MODIFIER
VOLUMETRIC_ROI, ANY_MEASUREMENT = "1411", "1501"
"""The templates of a group with a segment, and of one without."""


@dataclass(frozen=True)
class SegmentationReference:
    """The segmentation of the same labels; its segments are numbered in the order of the values there."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str


def measurement_groups(
    items: Items, labelled: Labelled, settings: ResultSettings, segmentation: SegmentationReference | None
) -> Iterator[bytes]:
    """A group for each structure, in the order of the label values.

    With a segmentation it is a volumetric one that refers to the structure's segment (TID 1411), else one
    that refers to the images (TID 1501).
    """
    algorithm = list(_algorithm(items, settings))
    subject = tracked_subject(labelled.volume, settings.issuer_of_patient_id)
    images = {} if segmentation is not None else _frames_of(labelled)
    modality = text_of(labelled.volume.header, "Modality")
    for number, value in enumerate(labelled.values, start=1):
        name, measured = labelled.names[value], labelled.measurements[value]
        content = [
            items.text(Relation.HAS_OBSERVATION_CONTEXT, concepts.TRACKING_IDENTIFIER, name),
            items.uid(
                Relation.HAS_OBSERVATION_CONTEXT,
                concepts.TRACKING_UID,
                tracking_uid(name, subject, settings),
            ),
            *_finding(items, settings.structure(name)),
            *algorithm,
            *_figures(items, measured, modality),
            items.code(CONTAINS, concepts.TRUNCATED, concepts.YES if measured.is_truncated else concepts.NO),
            *(item for flag in labelled.flags_of(name) for item in flag_items(items, flag)),
            *change_items(items, labelled.comparison.of(name) if labelled.comparison else None),
        ]
        if segmentation is None:
            content += _source_images(items, labelled.volume, images[value])
        else:
            content += _segment(items, segmentation, number, labelled.volume.series_uid)
        template = ANY_MEASUREMENT if segmentation is None else VOLUMETRIC_ROI
        yield items.container(concepts.MEASUREMENT_GROUP, content, template)


def flag_items(items: Items, flag: QualityFlag) -> Iterator[bytes]:
    """A flag as a coded evaluation, and its sentence."""
    yield items.code(CONTAINS, concepts.FLAG, concepts.flag_value(flag.code))
    yield items.text(CONTAINS, concepts.COMMENT, flag.sentence)


def _algorithm(items: Items, settings: ResultSettings) -> Iterator[bytes]:
    """What found the structures (TID 4019)."""
    yield items.text(MODIFIES, concepts.ALGORITHM_NAME, settings.algorithm.name)
    yield items.text(MODIFIES, concepts.ALGORITHM_VERSION, settings.algorithm.version)
    for parameter in settings.parameters:
        yield items.text(MODIFIES, concepts.ALGORITHM_PARAMETERS, parameter)
    yield items.code(MODIFIES, concepts.ALGORITHM_FAMILY, settings.algorithm.family)


def _finding(items: Items, found: Structure) -> Iterator[bytes]:
    """What it is, and where: its region where it has one, else the structure itself; and on which side."""
    yield items.code(CONTAINS, concepts.FINDING_CATEGORY, found.category)
    yield items.code(CONTAINS, concepts.FINDING, found.type)
    place, side = found.type, found.type_modifier
    if found.region is not None:
        place, side = found.region, found.region_modifier
    within = []
    if side is not None and side.value in concepts.LATERALITIES:
        within.append(items.code(MODIFIES, concepts.LATERALITY, side))
    yield items.code(MODIFIES, concepts.FINDING_SITE, place, *within)


def _figures(items: Items, measured: Measurement, modality: str) -> Iterator[bytes]:
    yield items.number(CONTAINS, concepts.VOLUME, measured.volume_ml, concepts.MILLILITRE)
    name, unit = concepts.intensity(modality), concepts.intensity_unit(measured.unit)
    for number, derivation in (
        (measured.mean, concepts.MEAN),
        (measured.sd, concepts.STANDARD_DEVIATION),
    ):
        how = items.code(MODIFIES, concepts.DERIVATION, derivation)
        yield items.number(CONTAINS, name, number, unit, how)


def _segment(
    items: Items, segmentation: SegmentationReference, number: int, source_series_uid: str
) -> Iterator[bytes]:
    yield items.image(
        concepts.REFERENCED_SEGMENT,
        segmentation.sop_class_uid,
        segmentation.sop_instance_uid,
        segment_meant(number),
    )
    yield items.uid(CONTAINS, concepts.SOURCE_SERIES, source_series_uid)


def _source_images(items: Items, volume: Volume, numbers: Sequence[int]) -> Iterator[bytes]:
    """The images that show a structure; of a multi-frame object the frames."""
    meant: dict[tuple[str, str], list[int]] = {}
    for number in numbers:
        frame = volume.frames[number]
        of_object = meant.setdefault((frame.sop_class_uid, frame.sop_instance_uid), [])
        named = frame_named(volume, frame)
        if named is not None:
            of_object.append(named)
    for uids, frames in meant.items():
        yield items.image(concepts.SOURCE_IMAGE, *uids, frames_meant(frames))


def _frames_of(labelled: Labelled) -> Mapping[int, list[int]]:
    """The volume's frames that show each value."""
    frames: dict[int, list[int]] = {value: [] for value in labelled.values}
    for number, present in enumerate(labelled.present):
        for value in present:
            frames[value].append(number)
    return frames
