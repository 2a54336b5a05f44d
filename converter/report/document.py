"""The report as a file: its title and context, what was measured of what, and the objects it refers to."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian

from converter.explicit_vr import sequence
from converter.reading.headers import text_of
from converter.results.file import write_object
from converter.results.header import ObjectKind, code_item, of_this_header, private_scheme, result_header
from converter.results.labelled import Labelled, Writer
from converter.results.settings import MANUFACTURER, MODEL_NAME, ResultSettings, WrittenObject, made_with
from converter.series import Volume
from converter.source_header import source_header
from converter.uids import derived_uid

from . import concepts
from .groups import CONTAINS, MODIFIES, SegmentationReference, flag_items, measurement_groups
from .items import CONTENT_SEQUENCE, Items, Relation
from .library import image_library
from .over_time import comparison_items, prior_evidence

KIND = ObjectKind(Comprehensive3DSRStorage, "SR", ExplicitVRLittleEndian)
REPORT = "1500"


def write_report(
    labelled: Labelled,
    settings: ResultSettings,
    out: Path,
    segmentation: SegmentationReference | None = None,
) -> tuple[WrittenObject]:
    """Write a measurement report; where nothing was found it says so.

    Parameters
    ----------
    segmentation
        That of the same labels, to which the report refers; without one it refers to the images.

    Raises
    ------
    ConverterError, OSError
    """
    with of_this_header("a report"):
        report = result_header(source_header(labelled.volume), settings, KIND)
        _add_document(report, labelled.volume, segmentation)
        if labelled.comparison is not None and labelled.comparison.prior is not None:
            report.PertinentOtherEvidenceSequence = [prior_evidence(labelled.comparison.prior)]
        items = Items(tuple(convert_encodings(report.get("SpecificCharacterSet", "ISO_IR 6"))))
        content = sequence(CONTENT_SEQUENCE, _content(items, labelled, settings, segmentation))
    return (write_object(report, out, tail=content),)


WRITER = Writer(made_with("4"), write_report)


def _add_document(report: Dataset, volume: Volume, segmentation: SegmentationReference | None) -> None:
    """What a report is as a document (PS3.3 C.17.1 to C.17.3): whole, and looked at by nobody."""
    report.ReferencedPerformedProcedureStepSequence = []
    report.PerformedProcedureCodeSequence = []
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.CodingSchemeIdentificationSequence = [private_scheme()]
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.ConceptNameCodeSequence = [code_item(concepts.IMAGING_MEASUREMENT_REPORT)]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", REPORT
    report.ContentTemplateSequence = [template]
    images = dict.fromkeys((frame.sop_class_uid, frame.sop_instance_uid) for frame in volume.frames)
    series = [_series(volume.series_uid, list(images))]
    if segmentation is not None:
        drawn = (segmentation.sop_class_uid, segmentation.sop_instance_uid)
        series.append(_series(segmentation.series_uid, [drawn]))
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = volume.study_uid, series
    report.CurrentRequestedProcedureEvidenceSequence = [study]


def _series(series_uid: str, objects: Sequence[tuple[str, str]]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, []
    for sop_class_uid, sop_instance_uid in objects:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
        series.ReferencedSOPSequence.append(item)
    return series


def _content(
    items: Items, labelled: Labelled, settings: ResultSettings, segmentation: SegmentationReference | None
) -> Iterator[bytes]:
    """What the root of the content tree holds (TID 1500)."""
    modality = text_of(labelled.volume.header, "Modality")
    yield items.code(MODIFIES, concepts.LANGUAGE, concepts.ENGLISH)
    yield from _observer(items, settings)
    yield items.code(MODIFIES, concepts.PROCEDURE_REPORTED, concepts.procedure(modality))
    yield image_library(items, labelled.volume)
    for name, within in (
        (concepts.IMAGING_MEASUREMENTS, list(measurement_groups(items, labelled, settings, segmentation))),
        (concepts.QUALITATIVE_EVALUATIONS, list(_evaluations(items, labelled, settings))),
    ):
        if within:
            yield items.container(name, within)


def _observer(items: Items, settings: ResultSettings) -> Iterator[bytes]:
    """The gateway, not a person, looked at the images (TID 1004)."""
    context = Relation.HAS_OBSERVATION_CONTEXT
    uid = derived_uid(MANUFACTURER, MODEL_NAME, "device", settings.device_serial_number)
    yield items.code(context, concepts.OBSERVER_TYPE, concepts.DEVICE)
    yield items.uid(context, concepts.DEVICE_UID, uid)
    yield items.text(context, concepts.DEVICE_NAME, MODEL_NAME)
    yield items.text(context, concepts.DEVICE_MANUFACTURER, MANUFACTURER)
    yield items.text(context, concepts.DEVICE_MODEL_NAME, MODEL_NAME)
    yield items.text(context, concepts.DEVICE_SERIAL_NUMBER, settings.device_serial_number)


def _evaluations(items: Items, labelled: Labelled, settings: ResultSettings) -> Iterator[bytes]:
    """What is said of the whole: that nothing was found, flags of nothing that has a group, the prior."""
    if not labelled.values:
        yield items.code(CONTAINS, concepts.FINDING, concepts.NOTHING_FOUND)
    measured = {labelled.names[value] for value in labelled.values}
    for flag in labelled.flags:
        if flag.structure not in measured:
            yield from flag_items(items, flag)
    if labelled.comparison is not None:
        yield from comparison_items(items, labelled.comparison, settings)
