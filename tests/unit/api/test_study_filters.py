"""Which studies are meant: the same filters in the list, in what is done in bulk, and on the command line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from gateway.api.callers.access import TOKEN_NAME
from gateway.api.server import ApiServer
from gateway.cli import app
from gateway.config.roles import Role
from gateway.files.names import API_ADDRESS_NAME
from gateway.ledger.bulk import Action, Wanted, selected
from gateway.ledger.flags import Flag, FlagSource, write_flags
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.transaction import NotPossible


@pytest.fixture
def filled(world) -> list[str]:
    """A failed study with a flag, one that is held, one that is delivered, one that is receiving."""
    failed, held, delivered = (
        world.job(world.study(number), hold=hold) for number, hold in ((1, ""), (2, "a gap"), (3, ""))
    )
    world.move(failed, JobEvent.FAILED, reason="no")
    with world.ledger.transaction() as transaction:
        write_flags(transaction, failed, FlagSource.RESULT, [Flag("fragments", "liver", 3.0, "", "Three.")])
    world.move_delivery(world.encode(delivered), DeliveryEvent.SENT)
    world.study(4)
    return [failed, held, delivered]


@pytest.fixture
def iris(server: ApiServer, token: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    (tmp_path / API_ADDRESS_NAME).write_text("http://{}:{}".format(*server.address))
    (tmp_path / TOKEN_NAME).write_text(token)
    config = tmp_path / "iris.toml"
    config.write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    return lambda *words, **given: CliRunner().invoke(app, [*words, "--config", str(config)], **given)


def _listed(client: httpx.Client, **said: Any) -> list[str]:
    answer = client.get("/api/v1/studies", params=said)
    assert answer.status_code == 200, answer.text
    return [item["study_key"] for item in answer.json()["items"]]


def _asked(client: httpx.Client, action: str, *, dry_run: bool = True, **said: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/actions", json={"action": action, "filter": said, "dry_run": dry_run})
    content: dict[str, Any] = answer.json()
    return {**content, "status": answer.status_code}


def test_list_is_narrowed_and_ordered_as_it_is_asked(filled, client: httpx.Client) -> None:
    assert _listed(client, waits="person") == ["key0002", "key0001"]
    assert _listed(client, waits="sender") == ["key0004"]
    assert _listed(client, flag="fragments") == ["key0001"]
    assert _listed(client, destination="pacs", rule="ct", modality="CT", sender="PACS") == ["key0003"]
    assert _listed(client, until="2020-01-01T00:00:00Z") == []
    assert _listed(client, sort="patient_id") == ["key0001", "key0002", "key0003", "key0004"]
    assert _listed(client, sort="state") == ["key0001", "key0002", "key0004", "key0003"]
    assert _listed(client, order="asc")[0] == "key0001"
    assert client.get("/api/v1/studies", params={"count": True, "limit": 1}).json()["total"] == 4


def test_list_says_how_each_study_stands(filled, client: httpx.Client) -> None:
    items = {item["study_key"]: item for item in client.get("/api/v1/studies").json()["items"]}
    failed, delivered = items["key0001"], items["key0003"]
    assert (failed["waits"], failed["flags"], failed["modalities"]) == (["person"], ["fragments"], ["CT"])
    assert failed["last_step"]["event"] == "study.failed"
    assert failed["last_step"]["sentence"]
    assert (delivered["waits"], delivered["destinations"], delivered["destinations_reached"]) == ([], 1, 1)
    assert items["key0004"]["senders"] == ["PACS"]
    assert client.get("/api/v1/traits").json()["flag"] == ["fragments"]


@pytest.mark.parametrize(
    "said",
    [
        {"waits": "luck"},
        {"sort": "luck"},
        {"order": "up"},
        {"limit": 0},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"since": "0999-01-01T00:00:00Z"},
        {"until": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_list_asked_for_what_there_is_not_is_refused(client: httpx.Client, said: dict[str, Any]) -> None:
    assert client.get("/api/v1/studies", params=said).status_code == 422


def test_cursor_of_another_order_is_refused(filled, client: httpx.Client) -> None:
    cursor = client.get("/api/v1/studies", params={"limit": 1, "sort": "images"}).json()["next_cursor"]
    for other in ({"sort": "updated"}, {"sort": "images", "order": "asc"}):
        answer = client.get("/api/v1/studies", params={**other, "cursor": cursor})
        assert (answer.status_code, "cursor" in answer.json()["detail"]) == (422, True)


def test_list_that_is_as_it_was_is_not_sent_again(world, filled, client: httpx.Client) -> None:
    first = client.get("/api/v1/studies")
    known = {"If-None-Match": f'"other", {first.headers["etag"]}'}
    again = client.get("/api/v1/studies", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    world.study(5)
    assert client.get("/api/v1/studies", headers=known).status_code == 200


def test_bulk_is_narrowed_by_what_is_said_of_studies_as_lists_are(filled, client: httpx.Client) -> None:
    failed, held, _ = filled
    assert _asked(client, "cancel")["keys"] == [failed, held]
    for said in (
        {"q": "PID1"},
        {"flag": "fragments"},
        {"study_state": "failed"},
        {"keys": ["key0001", "key0003"]},
        {"waits": "person", "rule": "ct", "modality": "CT", "sender": "PACS", "q": "ACC1"},
    ):
        found = _asked(client, "cancel", **said)
        assert (found["keys"], found["count"], found["studies"]) == ([failed], 1, 1), said
    assert _asked(client, "cancel", received_until="2020-01-01T00:00:00Z")["count"] == 0
    assert _asked(client, "release", waits="person", dry_run=False)["keys"] == [held]
    assert _asked(client, "complete", study_state="receiving")["keys"] == ["key0004"]


def test_bulk_forgets_the_studies_that_are_named_and_never_all(world, filled, client: httpx.Client) -> None:
    with pytest.raises(NotPossible, match="say which studies"):
        selected(world.ledger, Action.FORGET, Wanted())
    assert _asked(client, "forget")["status"] == 409
    assert _asked(client, "forget", study_state="done", dry_run=False)["keys"] == ["key0003"]
    rows = world.ledger.read("SELECT study_key FROM studies WHERE forget_at IS NOT NULL")
    assert [row["study_key"] for row in rows] == ["key0003"]


def test_iris_takes_the_same_filters_for_its_list_and_with_all(filled, iris: Callable[..., Any]) -> None:
    listed = iris("studies", "--waits", "person", "--flag", "fragments", "--sort", "patient_id").stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["study", "1.2.826.0.1.1"]
    assert "fragments" in listed
    assert iris("studies", "--modality", "MR").stdout == "no study is like that\n"
    assert iris("studies", "--waits", "luck").exit_code == 2
    assert (
        iris("retry", "--all", "--flag", "none", "--yes").stdout
        == "0 jobs or deliveries are taken up again\n"
    )
    taken_up = iris("retry", "--all", "--q", "PID1", "--flag", "fragments", input="y\n").stdout
    assert taken_up.endswith("1 job or delivery is taken up again\n")
    assert iris("retry", "key0001", "--flag", "fragments").exit_code == 2


def test_iris_forgets_all_that_are_named(world, filled, iris: Callable[..., Any]) -> None:
    assert iris("forget", "--all", "--yes").exit_code == 1
    asked = iris("forget", "--all", "--q", "PID3", input="n\n")
    assert (asked.exit_code, "1 study is" in asked.stdout) == (1, True)
    assert iris("forget", "--all", "--q", "PID3", "--yes").stdout == "1 study is forgotten\n"


def test_bulk_forgets_for_an_admin_only(world, filled, stranger: httpx.Client) -> None:
    token = world.tokens.create("ward", Role.OPERATOR, None)["token"]
    wish = {"action": "forget", "filter": {"q": "PID3"}, "dry_run": False}
    answer = stranger.post("/api/v1/actions", json=wish, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, "admin" in answer.json()["detail"]) == (403, True)
    assert world.ledger.read("SELECT 1 FROM studies WHERE forget_at IS NOT NULL") == []


def test_study_is_found_by_the_key_of_a_correction_and_not_acted_on_by_it(
    world, filled, client: httpx.Client
) -> None:
    with world.ledger.transaction() as transaction:
        transaction.execute(
            "INSERT INTO corrections"
            " (sop_instance_uid, study_uid, state, key, job_key, evidence, received_at)"
            " VALUES ('1.9', '1.2.826.0.1.3', 'waiting', 'c0ffee', ?, 'labels', '2026-03-04')",
            (filled[2],),
        )
    assert client.get("/api/v1/studies/c0ff").json()["study_key"] == "key0003"
    assert _listed(client, q="c0ff") == ["key0003"]
    assert client.post("/api/v1/studies/c0ff/forget").status_code == 404
