"""Real jobs at the local queue, one after the other in one process."""

from pathlib import Path
from typing import Any

from batch_job.contract import EXIT_BAD_INPUT, EXIT_DONE, read_manifest
from gateway.adapters.queue import JobTicket, RunEnded
from gateway.adapters.subprocess_queue import SubprocessQueue
from tests.quick_start import JOB, quick_python

PARTS_JOB = Path(__file__).parent / "parts_job.py"


def test_jobs_at_the_local_queue_end_as_each_would_in_a_process_of_its_own(
    staged: Any, tmp_path: Path, small_ct: bytes, wait_until: Any
) -> None:
    log = tmp_path / "log"
    command = (quick_python(JOB), str(PARTS_JOB))
    queue = SubprocessQueue(1, command, environment={"PARTS_LOG": str(log)}, keep_warm_s=600)
    queue.start(lambda: None)

    def end_of(name: str, run: int) -> RunEnded:
        wait_until(lambda: queue.look(name)[-1].is_over)
        ended = queue.look(name)[-1].news[-1]
        assert isinstance(ended, RunEnded)
        assert ended.run == run
        return ended

    for name, content in (("damaged", b"no NIfTI"), ("first", small_ct), ("second", small_ct)):
        staged(tmp_path / name, content)
    try:
        for name, run in (("damaged", 1), ("first", 3), ("second", 1)):
            queue.submit(JobTicket(name, run, f"{tmp_path / name}/", 0))
        assert end_of("damaged", 1).exit_code == EXIT_BAD_INPUT
        assert "NIfTI" in end_of("damaged", 1).reason
        assert end_of("first", 3) == RunEnded("first", 3, EXIT_DONE, "")
        assert end_of("second", 1) == RunEnded("second", 1, EXIT_DONE, "")
        made = {name: read_manifest(tmp_path / name) for name in ("first", "second")}
        assert [manifest.attempt for manifest in made.values() if manifest] == [3, 1]
    finally:
        queue.stop()
