"""The output seg: DICOM-SEG on the original slices."""

from converter.results.settings import WrittenObject
from converter.segmentation import ENCODER_VERSION, Encoding, SegmentationSettings, encode_segmentation
from gateway.config import Config

from . import Making


class SegMaker:
    """Makes one segmentation with every label that occurs."""

    def __init__(self, config: Config) -> None:
        seg = config.seg
        self._encoding = Encoding.named(
            seg.type, seg.transfer_syntax, is_cropped=seg.crop, has_background_item=seg.background_item
        )

    def make(self, making: Making) -> tuple[WrittenObject]:
        """Write it and read it back.

        Raises
        ------
        ConverterError, OSError
        """
        said = making.said("seg", str(self._encoding), ENCODER_VERSION)
        settings = SegmentationSettings(encoding=self._encoding, flags=making.flags, **said)
        path = making.path_of(settings.sop_instance_uid)
        names = making.manifest.labels
        return (encode_segmentation(making.volume, making.labels, names, settings, path),)
