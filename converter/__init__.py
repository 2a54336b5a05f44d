"""DICOM series to NIfTI and back: geometry, segmentations, codes, pictures. No network, no database.

What most callers need is imported from here, and loaded when it is asked for::

    read_series, Choice, Volume       a series, judged; which of its volumes is meant
    convert, encode, encode_array, decode, Labels, Encoding, Wording
                                      to NIfTI, a label map or an array to DICOM-SEG, and back
    ConverterError and its kinds      what can go wrong, each a sentence (`errors`)

Below that are the rooms::

    series        judges a series                         reading/     its parts
    nifti/        volume to NIfTI, and NIfTI read         unpacking/   its voxels
    seg/          label map to DICOM-SEG, and back        results/     what every result object says
    voxels/       where voxels lie, and labels carried from one grid to another
    terminology   what a structure is called              codes/       its tables
    contours/, pictures/, report/                         the other outputs
    edited/, earlier/                                     results that come back, and earlier ones
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .choice import Choice
    from .errors import (
        ConversionFailed,
        ConverterError,
        EncodingFailed,
        LabelsDoNotFit,
        UnusableLabels,
        UnusableSeries,
    )
    from .label_file import Wording
    from .labels import Labels
    from .library import convert, decode, encode, encode_array
    from .seg.encoder import Encoding
    from .series import Volume, read_series

    __version__: str

__all__ = [
    "Choice",
    "ConversionFailed",
    "ConverterError",
    "Encoding",
    "EncodingFailed",
    "Labels",
    "LabelsDoNotFit",
    "UnusableLabels",
    "UnusableSeries",
    "Volume",
    "Wording",
    "__version__",
    "convert",
    "decode",
    "encode",
    "encode_array",
    "read_series",
]

_MODULES = {
    "Choice": "choice",
    "Encoding": "seg.encoder",
    "Labels": "labels",
    "Volume": "series",
    "Wording": "label_file",
    "convert": "library",
    "decode": "library",
    "encode": "library",
    "encode_array": "library",
    "read_series": "series",
}
"""Where what is no error comes from."""


def _load(name: str) -> object:
    """What stands behind a name, which is kept (PEP 562).

    Raises
    ------
    AttributeError
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from .version import own_version

        found: object = own_version()
    else:
        found = getattr(import_module(f".{_MODULES.get(name, 'errors')}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:
    __getattr__ = _load  # a type checker goes by the imports above, and knows what is not there
