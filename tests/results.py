"""A result of one object, as most tests need it."""

from gateway.ledger.results import Result, ResultObject

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def result_of_one(
    path: str,
    sop_instance_uid: str,
    header_sha256: str,
    warnings: tuple[str, ...] = (),
    sha256: str = "s" * 64,
) -> Result:
    """Give a job's result that is one DICOM-SEG."""
    made = ResultObject("seg", path, sha256, SEGMENTATION_STORAGE, sop_instance_uid)
    return Result((made,), header_sha256, warnings)
