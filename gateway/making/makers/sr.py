"""The output sr: a structured report of what was measured."""

import json
from dataclasses import asdict, replace

from converter.report.document import WRITER, write_report
from converter.report.groups import SegmentationReference
from converter.results.settings import ResultSettings, WrittenObject
from converter.seg.settings import Encoded
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.making.naming import titled

from . import Making, series_uid_of


class SrMaker:
    """Makes a measurement report; it refers to the job's segmentation, of which each form has its own."""

    def __init__(self, config: Config) -> None:
        """Nothing of it can be set."""

    def make(self, making: Making) -> tuple[WrittenObject, ...]:
        """Write it.

        Raises
        ------
        ConverterError, CannotGoOn, OSError
        """
        return tuple(_written(making, each) for each in _segmentations(making))


def _written(making: Making, made: Encoded | None) -> WrittenObject:
    segmentation = None
    if made is not None:
        uid = made.sop_instance_uid
        segmentation = SegmentationReference(made.sop_class_uid, uid, series_uid_of(uid))
    labelled = making.labelled
    content = (labelled.flags, labelled.measurements, segmentation)
    said = making.said("sr", WRITER.version, json.dumps(content, default=asdict), *making.compared_with())
    settings = ResultSettings(**titled(OUTPUTS["sr"].title, said))
    path = making.path_of(settings.sop_instance_uid)
    (report,) = write_report(labelled, settings, path, segmentation)
    return replace(report, form=made.form if made is not None else "")


def _segmentations(making: Making) -> list[Encoded | None]:
    """One for each form in which the job's segmentation was made; None where it was not."""
    found = [each for made in making.written.values() for each in made if isinstance(each, Encoded)]
    return [*{each.form: each for each in reversed(found)}.values()] or [None]
