"""The simulation's arithmetic beside runs that the Batch double recorded."""

import heapq
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.fleet.assumptions import Settings, Stages
from benchmarks.fleet.simulation import simulate
from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble
from tests.quick_start import JOB, quick_python

QUICK_JOB = Path(__file__).parents[2] / "doubles" / "quick_job.py"
MACHINES = 2
A_MILLISECOND_S = 0.0011
"""To which the double tells times."""
LIKE_THE_DOUBLE = Settings(
    "the double", machines=MACHINES, takes_for_s=0.0, stays_s=0.0, unused_s=0.0, start_s=0.0, dispatch_s=0.0,
    interruptions_per_hour=0,
)  # fmt: skip


def submitted(aws_session, tmp_path: Path, number: int, seconds: float) -> str:
    folder = tmp_path / f"job{number}"
    folder.mkdir()
    (folder / "plan").write_text(json.dumps({"seconds": seconds}))
    answer = aws_session.batch_for_submitting().submit_job(
        jobName=folder.name,
        jobQueue=MAIN_QUEUE,
        jobDefinition=DEFINITION,
        containerOverrides={"command": [str(folder)], "environment": [{"name": "IRIS_RUN", "value": "1"}]},
    )
    return str(answer["jobId"])


def test_simulated_runs_begin_and_cost_as_the_recorded_ones(
    batch_double: BatchDouble, aws_session, tmp_path: Path
) -> None:
    batch_double.set_definition(command=(quick_python(JOB), str(QUICK_JOB)))
    batch_double.run_at_most(MACHINES)
    wanted = (0.3, 0.1, 0.2, 0.05, 0.1, 0.15)
    keys = [submitted(aws_session, tmp_path, number, seconds) for number, seconds in enumerate(wanted)]
    jobs = [batch_double.wait_for(key, "SUCCEEDED") for key in keys]
    came, begun, ended = (
        [(getattr(job, name) or 0) / 1000 - jobs[0].created_at / 1000 for job in jobs]
        for name in ("created_at", "started_at", "stopped_at")
    )
    stages = [
        Stages(late_s, 0.0, end - begin, 0.0)
        for late_s, begin, end in zip(lateness(came, begun, ended), begun, ended, strict=True)
    ]
    found = simulate(came, stages, LIKE_THE_DOUBLE, 1)

    assert [study.done_s for study in found.studies] == pytest.approx(ended, abs=A_MILLISECOND_S)
    in_use_s = sum(each.load_s + each.alone_s for each in stages)
    assert sum(run.ended_s - run.begun_s for run in found.runs) == pytest.approx(in_use_s)
    assert found.machine_s == pytest.approx(in_use_s + waited(found.runs), abs=0.01)


def lateness(came: Sequence[float], begun: Sequence[float], ended: Sequence[float]) -> Iterator[float]:
    """How long after it came and a machine was free each began: a load stretches the double's own time."""
    free = [-math.inf] * MACHINES
    for came_s, begun_s, ended_s in zip(came, begun, ended, strict=True):
        yield max(0.0, begun_s - max(came_s, heapq.heappop(free)))
        heapq.heappush(free, ended_s)


def waited(runs) -> float:
    """Seconds between the runs of each machine."""
    of: dict[int, list] = {}
    for run in sorted(runs, key=lambda each: each.begun_s):
        of.setdefault(run.machine, []).append(run)
    pairs = itertools.chain.from_iterable(map(itertools.pairwise, of.values()))
    return sum(later.begun_s - earlier.ended_s for earlier, later in pairs)
