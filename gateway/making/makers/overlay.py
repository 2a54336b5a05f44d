"""The output overlay: a series of colour pictures, the slices with the structures' contours."""

from collections.abc import Sequence

from converter.pictures.overlay import encode_overlay, overlay_version
from converter.pictures.settings import Drawing
from converter.results.settings import ResultSettings, WrittenObject
from gateway.config import Config
from gateway.making.naming import titled

from . import Making


class OverlayMaker:
    """Makes a picture of each slice."""

    def __init__(self, config: Config) -> None:
        overlay = config.overlay
        self._drawing = Drawing.named(overlay.plane, overlay.transfer_syntax, overlay.max_mb)

    def make(self, making: Making) -> Sequence[WrittenObject]:
        """Draw and write them.

        Raises
        ------
        ConverterError, OSError
        """
        said = making.said("overlay", overlay_version(self._drawing))
        settings = ResultSettings(**titled("Overlay", said))
        folder = making.path_of(settings.sop_instance_uid).parent
        return encode_overlay(making.labelled, settings, self._drawing, folder)
