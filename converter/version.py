"""Which version this is: of the gateway it came with, or of the converter installed alone."""

from importlib import metadata


def own_version() -> str:
    """The version of the package that was installed.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        None was: these are files beside a program.
    """
    try:
        return metadata.version("iris-gateway")
    except metadata.PackageNotFoundError:
        return metadata.version("iris-converter")
