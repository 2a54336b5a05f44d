"""How a job's images arrived, kept beside its results: a ledger that is made anew of files does not know it.

Without that a result that was marked would be made and sent again without its mark, as another object.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from gateway.adapters.durable import remove_file, write_durably
from gateway.ledger.flags import Flag, FlagSource, flags_of, was_found_here, write_flags
from gateway.ledger.records import JobRow
from gateway.ledger.store import Ledger

KEPT_AS: Final = "results/{job_key}/arrival.json"


def keep_arrival(ledger: Ledger, data_dir: Path, job: JobRow) -> None:
    """Write down what the ledger says of it, or tell the ledger what was written down before.

    Raises
    ------
    OSError
    """
    path = data_dir / KEPT_AS.format(job_key=job.job_key)
    rows = [row for row in flags_of(ledger, job.job_key) if row.source == FlagSource.ARRIVAL]
    known = [Flag(row.code, row.structure, row.number, row.unit, row.sentence) for row in rows]
    kept = _kept(path)
    if kept and not known and was_found_here(ledger, job.study_uid):
        with ledger.transaction() as transaction:
            write_flags(transaction, job.job_key, FlagSource.ARRIVAL, kept)
    elif kept and not known:  # its sender said since that it had no more
        remove_file(path)
    elif kept != known:
        write_durably(path, json.dumps([asdict(flag) for flag in known]).encode())


def _kept(path: Path) -> list[Flag]:
    """What was written down; nothing where there is nothing that can be read."""
    try:
        return [Flag(**flag) for flag in json.loads(path.read_bytes())]
    except (FileNotFoundError, ValueError, TypeError):
        return []
