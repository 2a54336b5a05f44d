"""Lines of the log: what each has, and whose study it is of, whoever writes it."""

import io
import json
import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from batch_job.contract import DIE_WITH_PARENT_VARIABLE
from gateway import logs
from gateway.adapters.queue import JobTicket
from gateway.adapters.worker_process import WorkerProcess
from gateway.events import Bus, Event
from gateway.ledger.work import study_key_of_job
from gateway.logs import configure_logging, name_studies_of_jobs
from gateway.quiet_python import _Libraries
from gateway.workers.worker import Worker
from tests.one_job import JOB_KEY, Site

log = structlog.get_logger(__name__)
PLANTED = "MUELLER"

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging()
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    name_studies_of_jobs(logs._nobody_knows)


class Restless(Worker):
    """Does what it is given, at a job."""

    def __init__(self, do: Callable[[], None]) -> None:
        super().__init__("restless", Bus())
        self._do = do

    def is_woken_by(self, event: Event) -> bool:
        return False

    def work(self) -> float | None:
        with self.at_job(JOB_KEY):
            self._do()
        return None


def test_line_that_names_a_job_names_its_study(lines: Lines, site: Site) -> None:
    name_studies_of_jobs(lambda job_key: study_key_of_job(site.ledger, job_key))
    log.info("a_step", job_key=JOB_KEY)
    log.info("another", job_key="of nobody")
    log.info("told", job_key=JOB_KEY, study_key="told")
    assert [line.get("study_key") for line in lines()] == ["key", None, "told"]


def test_line_is_written_though_the_ledger_cannot_say_whose_study_it_is(lines: Lines) -> None:
    def fail(_: str) -> str:
        raise sqlite3.OperationalError("database is locked")

    name_studies_of_jobs(fail)
    log.info("a_step", job_key=JOB_KEY)
    [line] = lines()
    assert (line["event"], line["level"], line["job_key"]) == ("a_step", "info", JOB_KEY)
    assert line["at"].endswith("Z")


def test_line_of_a_library_at_work_on_a_job_names_its_study_and_none_of_its_words(
    lines: Lines, site: Site
) -> None:
    name_studies_of_jobs(lambda job_key: study_key_of_job(site.ledger, job_key))
    library = logging.getLogger("any.library")
    handler = _Libraries(logging.WARNING)
    library.addHandler(handler)
    worker = Restless(lambda: library.warning(PLANTED))
    try:
        worker.work()
    finally:
        library.removeHandler(handler)
    log.info("afterwards")
    said, afterwards = lines()
    assert (said["event"], said["logger"], said["study_key"]) == ("library", "any.library", "key")
    assert PLANTED not in str(said)
    assert "job_key" not in afterwards


def test_log_is_text_to_read_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging()
    log.info("a_step", job_key=JOB_KEY)
    said = capsys.readouterr().err
    assert "a_step" in said
    assert not said.startswith("{")


JOB = f"""
import sys
sys.path.insert(0, "")
from batch_job.quiet import quieten_python, write_failure
quieten_python()
import warnings
sys.stdin.readline()
warnings.warn("{PLANTED}")
print("{PLANTED}", file=sys.stderr)
print('{{"event": "failed", "error": "{PLANTED} was here", "places": []}}', file=sys.stderr)
print('{{"event": "{PLANTED}"}}', file=sys.stderr)
raise ValueError("{PLANTED}")
"""


def test_what_a_job_says_of_itself_stands_in_the_log_and_what_its_engine_prints_does_not(
    lines: Lines,
) -> None:
    process = WorkerProcess((sys.executable, "-c", JOB), {DIE_WITH_PARENT_VARIABLE: ""})
    process.begin(JobTicket(JOB_KEY, run=1, address="nowhere", priority=0))
    while process.ending(0.1) is None:
        pass
    process.close()
    said = lines()
    assert [(line["event"], line["job_key"]) for line in said] == [
        ("job_warning", JOB_KEY),
        ("job_failed", JOB_KEY),
    ]
    assert (said[0]["category"], said[1]["error"]) == ("UserWarning", "ValueError")
    assert said[1]["places"]
    assert PLANTED not in str(said)
