"""`iris`, which looks before each commit whether the files that the ledger then speaks of are there for good.

What is not, and what was looked at, is written to the file that IRIS_TEST_RECORD names.
"""

import os
from pathlib import Path

import pytest

from batch_job.contract import REQUEST_NAME
from gateway.cli import main
from gateway.ledger.states import JobState
from gateway.ledger.transaction import Transaction
from tests.durability import SyncRecorder

DATA_DIR = Path(os.environ["IRIS_TEST_DATA_DIR"])
RECORD = Path(os.environ["IRIS_TEST_RECORD"])
FILES = {
    "instance": "SELECT path FROM instances",
    "quarantined": "SELECT path FROM quarantine",
    "result": "SELECT path FROM result_objects",
}

recorder = SyncRecorder(DATA_DIR.parent)
recorder.install(pytest.MonkeyPatch())
settle = Transaction.settle
looked_at: set[tuple[str, str]] = set()


def say(kind: str, name: str, lacks: str) -> None:
    """Write one line for each thing, once."""
    if (kind, name) not in looked_at or lacks:
        looked_at.add((kind, name))
        with RECORD.open("a") as record:
            record.write(f"{kind} {lacks or 'ok'}\n")


def look(transaction: Transaction) -> None:
    """Look at every file that the rows of this transaction speak of."""
    settle(transaction)
    for kind, sql in FILES.items():
        for (path,) in transaction.execute(sql).fetchall():
            say(kind, path, recorder.lacks(DATA_DIR / path))
    if transaction.one("SELECT 1 FROM facts WHERE name = 'secret_digest'"):
        say("secret", "", recorder.lacks(DATA_DIR / "site-secret"))
    staged = transaction.execute("SELECT job_key FROM jobs WHERE state = ?", (JobState.STAGED,))
    for (job_key,) in staged.fetchall():
        folder = DATA_DIR / "objects" / "jobs" / job_key
        (image,) = folder.glob("input.nii*")
        is_late = recorder.became_durable(image) > recorder.appeared(folder / REQUEST_NAME)
        lacks = recorder.lacks(image) or recorder.lacks(folder / REQUEST_NAME)
        say("staged", job_key, lacks or ("the request was there before its input" if is_late else ""))


Transaction.settle = look  # type: ignore[method-assign]

main()
