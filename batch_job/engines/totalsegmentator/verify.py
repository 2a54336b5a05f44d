"""`python -m batch_job verify`: whether the way inside gives TotalSegmentator's labels on this machine.

One image is segmented both ways with the weights that are here: inside, and by TotalSegmentator's own
function as it is. Says in a line on standard output in how many voxels they differ; exit codes as in
`contract`.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_SOFTWARE_ERROR,
    ContractError,
    canonical_options,
    task_facts,
)
from batch_job.engines import NoCheckpoints, Work
from batch_job.errors import meaning_of
from batch_job.image import read_image
from batch_job.quiet import write_failure
from batch_job.reference import write_reference
from batch_job.resources import set_threads
from batch_job.scratch import scratch_folder

from . import NAME, TotalSegmentator

Found = TypeVar("Found")


def main(arguments: list[str]) -> int:
    """Compare; the exit code."""
    wishes = _parser().parse_args(arguments)
    set_threads()
    try:
        options = canonical_options(NAME, wishes.task, json.loads(wishes.options))
        return _verify(wishes.task, options, wishes.image)
    except (ContractError, json.JSONDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_INPUT
    except Exception as error:
        code, sentence = meaning_of(error)
        sys.stderr.write(f"{sentence}\n")
        if code == EXIT_SOFTWARE_ERROR:
            write_failure(error)
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m batch_job verify", description=__doc__.split(":")[1])
    parser.add_argument("--task", default="total", help="default: total")
    parser.add_argument("--options", default="{}", help="as JSON, such as '{\"fast\": true}'")
    parser.add_argument("image", nargs="?", type=Path, help="a NIfTI file; without it a made-up torso")
    return parser


def _verify(task: str, options: dict[str, Any], image: Path | None) -> int:
    engine = TotalSegmentator()
    engine.check(task, options)
    with scratch_folder(Path(tempfile.gettempdir())) as scratch:
        if image is None:
            image = scratch / "torso.nii.gz"
            write_reference(task_facts(NAME, task).modality, image)
        segmented, inside_s = _timed(engine.segment, _work(task, options, image, scratch / "inside"))
        from .ways import WENT_INSIDE  # late, as all that loads torch

        if WENT_INSIDE not in segmented.notes:
            sys.stdout.write(f"not compared: {'; '.join(segmented.notes)}\n")
            return EXIT_DONE
        plain, plain_s = _timed(engine.plain, _work(task, options, image, scratch / "plain"))
        differ = int((segmented.labels != plain).sum())
        what = f"{plain.size} voxels with {len(np.unique(plain)) - 1} structures"
        took = f"inside {inside_s:.1f} s, plain {plain_s:.1f} s"
        if not differ:
            sys.stdout.write(f"equal: {what}; {took}\n")
            return EXIT_DONE
        again, _ = _timed(engine.plain, _work(task, options, image, scratch / "again"))
        itself = int((again != plain).sum())
        sys.stdout.write(
            f"different: in {differ} of {what}; TotalSegmentator from itself in {itself}; {took}\n"
        )
        return EXIT_DONE if differ <= itself else EXIT_SOFTWARE_ERROR


def _work(task: str, options: dict[str, Any], image: Path, scratch: Path) -> Work:
    scratch.mkdir()
    return Work(read_image(image), image, task, options, scratch, NoCheckpoints(), lambda share, what: None)


def _timed(do: Callable[[Work], Found], work: Work) -> tuple[Found, float]:
    began = time.monotonic()
    return do(work), time.monotonic() - began
