"""Results of this software that come back from a PACS: what was measured then, and what was said of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, config, dcmread
from pydicom.uid import Comprehensive3DSRStorage

from converter.errors import is_the_machines
from converter.reading.headers import text_of
from converter.results.header import FLAGS_NOT_SHOWN, is_our_own
from converter.seg.settings import SOP_CLASSES


@dataclass(frozen=True)
class EarlierResult:
    """One object, as far as it says.

    Parameters
    ----------
    header
        Patient, study and equipment.
    algorithm
        The name of what found the structures.
    parameters
        What that was told, a text each.
    volumes
        Structure to its ml, and whether the scan cuts it.
    tracking
        Structure to what tracks it over time.
    flags
        Codes of quality flags, of whatever they are about; empty where it was sent without marks, too.
    """

    header: Dataset
    algorithm: str
    parameters: frozenset[str]
    volumes: Mapping[str, tuple[float, bool]]
    tracking: Mapping[str, str]
    flags: frozenset[str]

    @property
    def says_flags(self) -> bool:
        """Whether it would say its flags if there were any."""
        equipment = self.header.get("ContributingEquipmentSequence") or ()
        said = [text_of(item, "ContributionDescription") for item in equipment if is_our_own(item)]
        return not any(FLAGS_NOT_SHOWN in each for each in said)

    @property
    def made_at(self) -> str:
        """By which the newer of two is known."""
        return text_of(self.header, "ContentDate") + text_of(self.header, "ContentTime")


def read_earlier(path: Path) -> EarlierResult | None:
    """Read a report or a segmentation; None where it is none of this software, or says too little.

    Raises
    ------
    OSError
    """
    from .report import read_report
    from .segmentation import read_segments

    try:
        with config.disable_value_validation():
            header = dcmread(path, stop_before_pixels=True)
            if not is_our_own(header):
                return None
            kind = text_of(header, "SOPClassUID")
            if kind == Comprehensive3DSRStorage:
                return read_report(header)
            return read_segments(path) if kind in map(str, SOP_CLASSES.values()) else None
    except Exception as error:  # LabelsDoNotFit, or whatever a parser raises on bytes from outside
        if is_the_machines(error):
            raise
        return None
