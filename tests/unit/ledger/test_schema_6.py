"""A ledger of schema 5 keeps its jobs and volumes, and what is new in them says that nothing is known."""

import sqlite3
from pathlib import Path

from gateway.ledger.choices import choices_of, choose_volume
from gateway.ledger.completion import jobs_of
from gateway.ledger.migrations import migrate
from gateway.ledger.store import Ledger

NOW = "2026-11-01T10:00:00.000000Z"


def test_ledger_of_schema_5_lets_its_volumes_be_chosen_and_its_jobs_be_known_by_their_images(
    tmp_path: Path,
) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None) as connection:
        migrate(connection, 5)
        connection.execute(
            "INSERT INTO studies (study_uid, study_key, state, received_at, last_instance_at, updated_at)"
            " VALUES ('1.2.3', 'key', 'done', ?, ?, ?)",
            (NOW, NOW, NOW),
        )
        connection.execute(
            "INSERT INTO jobs (job_key, study_uid, series_uid, slot, rule, task, options, engine, priority,"
            " send_to, state, header_sha256, created_at, updated_at)"
            " VALUES ('k', '1.2.3', 's', 's#1#t', 'ct', 't', '{}', 'threshold', 0, '[]', 'delivered', 'h',"
            " ?, ?)",
            (NOW, NOW),
        )
        connection.execute(
            "INSERT INTO volumes (study_uid, series_uid, number, images, why) VALUES ('1.2.3', 's', 1, 5, '')"
        )
    connection.close()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert [job.volume_sha256 for job in jobs_of(ledger, "1.2.3")] == [""]
        with ledger.transaction() as transaction:
            choose_volume(transaction, "1.2.3", "s", 1)
        (choice,) = choices_of(ledger, "1.2.3")
        assert (choice.number, choice.image, choice.is_open) == (1, "", 1)
