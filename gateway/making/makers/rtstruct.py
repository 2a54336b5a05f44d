"""The output rtstruct: contours for radiotherapy."""

from converter.contours.document import WRITER, write_structure_set
from converter.results.settings import ResultSettings, WrittenObject
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.making.naming import titled

from . import Making


class RtStructMaker:
    """Makes one structure set with every label that occurs."""

    def __init__(self, config: Config) -> None:
        """Nothing of it can be set."""

    def make(self, making: Making) -> tuple[WrittenObject]:
        """Write it.

        Raises
        ------
        ConverterError, CannotGoOn, OSError
        """
        settings = ResultSettings(
            **titled(OUTPUTS["rtstruct"].title, making.said("rtstruct", WRITER.version))
        )
        return write_structure_set(making.labelled, settings, making.path_of(settings.sop_instance_uid))
