"""How long the mirror takes after a day without its table; the figure is printed, and asserted by nobody."""

import time
from pathlib import Path

import pytest

from tests.mirrored_ledger import MirroredLedger, make_table

STUDIES, EVENTS = 500, 10_000


@pytest.mark.long
@pytest.mark.usefixtures("aws_environment")
def test_ten_thousand_events_that_waited_for_the_table_are_all_in_it_afterwards(
    fresh_moto: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = MirroredLedger(tmp_path / "ledger.sqlite", fresh_moto, make_table(fresh_moto))
    ledger.open()
    for number in range(1, STUDIES + 1):
        study = ledger.study(number)
        job = ledger.job(study)
        with ledger.ledger.transaction() as transaction:
            for run in range(EVENTS // STUDIES - 4):
                transaction.note("job.queued", study_uid=study, job_key=job, run=run, attempt=1)
    assert len(ledger.event_numbers()) == EVENTS
    waiting = ledger.waiting()
    begun = time.monotonic()
    ledger.ship()
    seconds = time.monotonic() - begun
    with capsys.disabled():
        print(f"\n{EVENTS} events ({waiting} items) of {STUDIES} studies in {seconds:.1f} s")
    assert ledger.waiting() == 0
    assert len(ledger.items()) == EVENTS + 2 * STUDIES
    ledger.close()
