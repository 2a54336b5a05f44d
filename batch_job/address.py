"""From a job's address to the place where it lies."""

from pathlib import Path

from .errors import BadInput
from .folder import JobFolder
from .place import JobPlace


def open_place(address: str) -> JobPlace:
    """The place with that address: a path, or `s3://bucket/prefix/`.

    Raises
    ------
    BadInput
        No address of either kind, or boto3 is missing.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return JobFolder(Path(address))
    if scheme != "s3":
        raise BadInput("the address is neither a path nor s3://bucket/prefix/")
    try:
        from .bucket import BucketPlace
    except ModuleNotFoundError:
        raise BadInput("boto3 is missing for s3:// addresses: pip install boto3") from None
    return BucketPlace.at(rest)
