"""The output overlay: a series of colour pictures, the slices with the structures' contours."""

from collections.abc import Sequence
from dataclasses import replace

from converter.pictures.overlay import encode_overlay, overlay_version
from converter.pictures.settings import Drawing
from converter.results.settings import ResultSettings, WrittenObject
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.making.naming import titled

from . import Making


class OverlayMaker:
    """Makes a picture of each slice, in each transfer syntax that a destination gets."""

    def __init__(self, config: Config) -> None:
        self._overlay = config.overlay

    def make(self, making: Making) -> Sequence[WrittenObject]:
        """Draw and write them.

        Raises
        ------
        ConverterError, OSError
        """
        return [one for syntax in making.drawings for one in self._drawn(making, syntax)]

    def _drawn(self, making: Making, syntax: str) -> Sequence[WrittenObject]:
        drawing = Drawing.named(self._overlay.plane, syntax, self._overlay.max_mb)
        said = making.said("overlay", overlay_version(drawing))
        settings = ResultSettings(**titled(OUTPUTS["overlay"].title, said))
        folder = making.path_of(settings.sop_instance_uid).parent
        made = encode_overlay(making.labelled, settings, drawing, folder)
        return [replace(one, form=syntax) for one in made]
