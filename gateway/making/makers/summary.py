"""The outputs summary and pdf: what was found, on a page."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from converter.pictures.summary import encode_pdf, encode_summary, pdf_version, summary_version
from converter.results.settings import ResultSettings, WrittenObject
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.making.naming import titled

from . import Making


class SummaryMaker:
    """Makes pictures, one a page."""

    def __init__(self, config: Config) -> None:
        """Nothing of it can be set."""

    def make(self, making: Making) -> Sequence[WrittenObject]:
        """Draw and write them.

        Raises
        ------
        ConverterError, CannotGoOn, OSError
        """
        said = making.said("summary", summary_version(), shown_of(making), *making.compared_with())
        settings = ResultSettings(**titled(OUTPUTS["summary"].title, said))
        return encode_summary(making.labelled, settings, lambda _, uid: making.path_of(uid))


class PdfMaker:
    """Makes one document."""

    def __init__(self, config: Config) -> None:
        """Nothing of it can be set."""

    def make(self, making: Making) -> Sequence[WrittenObject]:
        """Write it.

        Raises
        ------
        ConverterError, CannotGoOn, OSError
        """
        said = making.said("pdf", pdf_version(), shown_of(making), *making.compared_with())
        settings = ResultSettings(**titled(OUTPUTS["pdf"].title, said))
        return encode_pdf(making.labelled, settings, making.path_of(settings.sop_instance_uid))


def shown_of(making: Making) -> str:
    """What such a page shows beside what every result says: figures and flags."""
    labelled = making.labelled
    figures = {name: asdict(known) for name, known in labelled.known.items()}
    return json.dumps([figures, [asdict(flag) for flag in labelled.flags]], sort_keys=True)
