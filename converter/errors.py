"""What can go wrong in the converter; each error is one sentence for a person, without patient data.

::

    ConverterError
    ├── UnusableSeries     the images make no volume
    ├── UnusableImage      a NIfTI file that somebody gave is no image that can be segmented
    │   └── ImageTooLarge  ... or is larger than is taken
    ├── UnusableLabels     a table of what the values of a label map mean is not as it must be
    ├── LabelsDoNotFit     a label map's grid or values are not those of the series
    ├── ConversionFailed   dcm2niix made nothing that can be used
    └── EncodingFailed     no DICOM object was made, because it would not hold the labels
"""


def is_the_machines(error: BaseException) -> bool:
    """Whether the machine lacks something, whatever it was doing: no fault of the bytes that it read.

    What libraries raise of themselves as an OSError has no number.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)


class ConverterError(Exception):
    """The root of everything that the converter raises on purpose."""


class UnusableSeries(ConverterError):
    """The images cannot be stacked to a volume."""


class UnusableImage(ConverterError):
    """A NIfTI file is no image that can be segmented."""


class ImageTooLarge(UnusableImage):
    """An image unpacks to more bytes than are taken."""


class UnusableLabels(ConverterError):
    """A table of label values and names cannot be used."""


class LabelsDoNotFit(ConverterError):
    """The label map's grid or values do not fit the series."""


class ConversionFailed(ConverterError):
    """dcm2niix gave nothing that agrees with the series."""


class EncodingFailed(ConverterError):
    """The labels could not be written as DICOM, or what was read back differs."""
