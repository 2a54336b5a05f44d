"""What can go wrong in the converter; each text is one sentence without patient data.

::

    ConverterError
    ├── UnusableSeries      the series is no volume that could be converted
    ├── ConversionFailed    dcm2niix gave nothing that agrees with the series
    ├── LabelsDoNotFit      a label map does not belong to the series, or to its label table
    └── EncodingFailed      a segmentation could not be made, or did not read back as it should
"""


class ConverterError(Exception):
    """The converter cannot do what was asked."""


class UnusableSeries(ConverterError):
    """The series is no volume that could be converted."""


class ConversionFailed(ConverterError):
    """dcm2niix gave nothing that agrees with the series."""


class LabelsDoNotFit(ConverterError):
    """A label map does not belong to the series, or to its label table."""


class EncodingFailed(ConverterError):
    """A segmentation could not be made, or did not read back as it should."""
