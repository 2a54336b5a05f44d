"""Results as most tests need them: of one object, or of several."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.ledger.results import Result, ResultObject
from gateway.ledger.run_cost import RunCost

COST = RunCost(
    machine="g4dn.xlarge",
    is_spot=True,
    machine_s=100.0,
    gpu_s=62.0,
    shared_s=350.0,
    usd_per_hour=0.216,
    is_spot_price=True,
)
"""What a run on a Spot machine cost."""
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


def result_of_several(outputs: Sequence[str], sop_instance_uid: str, header_sha256: str) -> Result:
    """Give a job's result with an object each time that an output is named, in that order."""
    one = result_of_one("results/a.dcm", sop_instance_uid, header_sha256, ("a warning",))
    objects = (
        replace(one.objects[0], output=output, sop_instance_uid=f"{sop_instance_uid}{number}")
        for number, output in enumerate(outputs)
    )
    return replace(one, objects=tuple(objects))
