"""The two ways to a label map: inside, where that is proven to give the same labels, and the plain one.

Both call TotalSegmentator's function for a request; they differ in what that calls.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

from batch_job.engines import Work
from batch_job.errors import BadInput, ComeBackLater, NotSetUp
from batch_job.quiet import write_failure

from .demands import Demands
from .networks import Networks
from .parts import Parts
from .prediction import Predictions, in_one_process
from .proven import VERSIONS, NotCovered, check_device, check_versions

WENT_INSIDE: Final = (
    " and ".join(f"{name} {version}" for name, version in VERSIONS.items())
    + " ran inside the job's process, which was proven to give their labels"
)

Request = Callable[[bool], Any]
"""TotalSegmentator's function for the request; True: the image is cut in three."""


def inside_or_plain(
    request: Request, work: Work, parts: Parts, networks: Networks, demands: Demands, device: str
) -> Any:
    """The label map by the way inside, else by the plain one; which, and why, is noted.

    Raises
    ------
    BadInput
        The GPU's memory does not do.
    MemoryError
    """
    try:
        check_versions()
        check_device(device)
        result = _inside(request, work, parts, networks, demands)
    except NotCovered as error:
        reason = str(error)
    except (BadInput, ComeBackLater, NotSetUp, MemoryError):
        raise
    except Exception as error:
        write_failure(error)
        reason = f"the way inside failed ({type(error).__name__})"
    else:
        parts.note(WENT_INSIDE)
        return result
    networks.forget()
    sentence = f"TotalSegmentator's own way was taken: {reason}"
    parts.note(sentence)
    sys.stderr.write(f"{sentence}\n")
    return plain(request, parts, demands)


def _inside(request: Request, work: Work, parts: Parts, networks: Networks, demands: Demands) -> Any:
    from .inside import Inside

    scratch = work.scratch / "inside"
    scratch.mkdir()
    inside = Inside(parts, networks, scratch)

    def predict(split: bool) -> Any:
        if split:
            networks.forget()
        with inside.in_place():
            return request(split)

    return _with_second_try(predict, parts, demands)


def plain(request: Request, parts: Parts, demands: Demands) -> Any:
    """The label map by TotalSegmentator's own way, with nnU-Net in one process."""
    predictions = Predictions(parts)

    def predict(split: bool) -> Any:
        with predictions.wrapped(), in_one_process():
            return request(split)

    return _with_second_try(predict, parts, demands)


def _with_second_try(predict: Request, parts: Parts, demands: Demands) -> Any:
    """Try once more in three parts where the GPU's memory does not do, and say so."""
    try:
        return predict(False)
    except RuntimeError as error:
        _tell_apart(error)
        if not demands.can_be_split:
            raise BadInput(f"the GPU's memory does not do for {demands.sizes}; use a larger GPU") from None
    try:
        result = predict(True)
    except RuntimeError as error:
        _tell_apart(error)
        raise BadInput(
            f"the GPU's memory does not do for {demands.sizes}, not even in three parts; use a larger GPU"
        ) from None
    parts.note("the GPU's memory did not do for the whole image; it was cut in three")
    return result


def _tell_apart(error: RuntimeError) -> None:
    """Return where the GPU's memory ran out; what else it is, is raised.

    Raises
    ------
    MemoryError
        The machine's own memory ran out; of nnU-Net's processes only their end is seen.
    RuntimeError
    """
    import torch

    text = str(error)
    if (
        isinstance(error, torch.cuda.OutOfMemoryError)
        or "CUDA out of memory" in text
        or "ALLOC_FAILED" in text
    ):
        return
    if "can't allocate memory" in text or ("worker" in text and ("died" in text or "alive" in text)):
        raise MemoryError from None
    raise error
