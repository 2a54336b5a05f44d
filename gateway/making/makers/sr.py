"""The output sr: a structured report of what was measured."""

import json
from dataclasses import asdict

from converter.report.document import WRITER, write_report
from converter.report.groups import SegmentationReference
from converter.results.settings import ResultSettings, WrittenObject
from converter.seg.settings import Encoded
from gateway.config import Config
from gateway.making.naming import titled

from . import Making, series_uid_of


class SrMaker:
    """Makes one measurement report; it refers to the job's segmentation where there is one."""

    def __init__(self, config: Config) -> None:
        """Nothing of it can be set."""

    def make(self, making: Making) -> tuple[WrittenObject]:
        """Write it.

        Raises
        ------
        ConverterError, CannotGoOn, OSError
        """
        segmentation = _segmentation(making)
        labelled = making.labelled
        content = (labelled.flags, labelled.measurements, segmentation)
        said = making.said("sr", WRITER.version, json.dumps(content, default=asdict))
        settings = ResultSettings(**titled("Measurements", said))
        return write_report(labelled, settings, making.path_of(settings.sop_instance_uid), segmentation)


def _segmentation(making: Making) -> SegmentationReference | None:
    for written in (each for made in making.written.values() for each in made):
        if isinstance(written, Encoded):
            return SegmentationReference(
                written.sop_class_uid,
                written.sop_instance_uid,
                series_uid_of(written.sop_instance_uid),
            )
    return None
