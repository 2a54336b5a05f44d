"""The output seg: DICOM-SEG on the original slices."""

from dataclasses import replace

from converter.results.settings import WrittenObject
from converter.segmentation import ENCODER_VERSION, Encoding, SegmentationSettings, encode_segmentation
from gateway.config import Config

from . import Making


class SegMaker:
    """Makes one segmentation with every label that occurs, in each encoding that a destination gets."""

    def __init__(self, config: Config) -> None:
        """How it is encoded is decided for each job (`Making.encodings`)."""

    def make(self, making: Making) -> tuple[WrittenObject, ...]:
        """Write it and read it back.

        Raises
        ------
        ConverterError, OSError
        """
        return tuple(_made(making, encoding) for encoding in making.encodings)


def _made(making: Making, encoding: Encoding) -> WrittenObject:
    said = making.said("seg", str(encoding), ENCODER_VERSION)
    settings = SegmentationSettings(encoding=encoding, flags=making.flags, **said)
    path = making.path_of(settings.sop_instance_uid)
    made = encode_segmentation(making.volume, making.labels, making.manifest.labels, settings, path)
    return replace(made, form=str(encoding))
