"""What was delivered is sent again, and what is asked of many things at once; by the API and by `iris`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from gateway.api.callers.access import TOKEN_NAME, Access
from gateway.api.ledger_actions import LedgerActions
from gateway.cli import app
from gateway.files.names import API_ADDRESS_NAME
from gateway.ledger.bulk import AT_ONCE, Action, Wanted, act, selected
from gateway.ledger.records import utc_now
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.transaction import NotPossible

TOKEN = "a-token-of-this-test"
BINARY, LABELMAP = (f"1.2.840.10008.5.1.4.1.1.66.{number}" for number in (4, 7))
LONG_AGO = "2026-03-04T00:00:00.000000Z"


@pytest.fixture
def client(world, tmp_path: Path) -> Iterator[httpx.Client]:
    """A program with the token, of a gateway with two destinations; `iris` finds it, too."""
    server = world.serve(
        Access(TOKEN), LedgerActions(world.ledger, destinations={"pacs": "PACS@h:104", "archive": "A@h:104"})
    )
    server.start()
    address = "http://{}:{}".format(*server.address)
    (tmp_path / API_ADDRESS_NAME).write_text(address)
    (tmp_path / TOKEN_NAME).write_text(TOKEN)
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=60) as client:
        yield client
    server.stop()


@pytest.fixture
def iris(client: httpx.Client, tmp_path: Path) -> Callable[..., Any]:
    """Run `iris` here; an answer to its question is given by `input`."""
    config = ["--config", str(tmp_path / "iris.toml")]
    return lambda *words, **given: CliRunner().invoke(app, [*words, *config], **given)


def _delivered(world, number: int = 1, outputs: tuple[str, ...] = ("seg",)) -> tuple[str, str]:
    """A job whose result is at the PACS, and the key of its first delivery."""
    job_key = world.job(world.study(number))
    key = world.encode(job_key, outputs)
    for row in world.ledger.read("SELECT key FROM deliveries WHERE job_key = ?", (job_key,)):
        world.move_delivery(row["key"], DeliveryEvent.SENT)
    return job_key, key


def _deliveries(world) -> list[tuple[str, str]]:
    rows = world.ledger.read("SELECT destination, state FROM deliveries ORDER BY created_at, rowid")
    return [(row["destination"], row["state"]) for row in rows]


def _actions(client: httpx.Client, action: str, *, dry_run: bool = False, to: str = "", **said: str) -> Any:
    body = {"action": action, "filter": said, "arguments": {"to": to} if to else {}, "dry_run": dry_run}
    return client.post("/api/v1/actions", json=body)


# -- sent again ---------------------------------------------------------------------------------------------


def test_resend_of_a_delivery_that_arrived_has_it_sent_once_more_and_says_who_asked(
    world, client: httpx.Client
) -> None:
    _, key = _delivered(world)
    answer = client.post(f"/api/v1/deliveries/{key[:12]}/resend")
    assert (answer.status_code, answer.json()) == (202, {"kind": "delivery", "key": key, "state": "pending"})
    study = client.get("/api/v1/studies/key0001").json()
    assert study["state"] == "processing"
    [line] = [line for line in study["timeline"] if line["event"] == "delivery.resent"]
    assert line["detail"] == {"by": "admin-token", "destination": "pacs", "said": "a person asked for it"}
    world.move_delivery(key, DeliveryEvent.SENT)
    assert client.get("/api/v1/studies/key0001").json()["state"] == "done"


def test_resend_by_the_page_says_so(world, client: httpx.Client) -> None:
    _, key = _delivered(world)
    client.post(f"/api/v1/deliveries/{key}/resend", headers={"X-IRIS-Page": "1"})
    lines = client.get("/api/v1/studies/key0001").json()["timeline"]
    assert {line["detail"].get("by") for line in lines} == {None, "admin-token, on the page"}


def test_resend_of_what_waits_is_a_conflict_with_the_way_out(world, client: httpx.Client) -> None:
    key = world.encode(world.job(world.study()))
    answer = client.post(f"/api/v1/deliveries/{key}/resend")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "this delivery to pacs is pending; retry it"


def test_resend_to_another_destination_leaves_the_first_as_it_is(world, client: httpx.Client) -> None:
    _, key = _delivered(world)
    answer = client.post(f"/api/v1/deliveries/{key}/resend", json={"to": "archive"})
    assert answer.status_code == 202
    assert _deliveries(world) == [("pacs", "sent"), ("archive", "pending")]
    answer = client.post(f"/api/v1/deliveries/{key}/resend", json={"to": "attic"})
    assert "there is: pacs, archive" in answer.json()["detail"]


@pytest.mark.parametrize("of", ["study", "job"])
def test_resend_of_a_whole_result_sends_all_its_objects(world, client: httpx.Client, of: str) -> None:
    job_key, _ = _delivered(world, outputs=("seg", "sr"))
    answer = _actions(client, "resend", key="key0001" if of == "study" else job_key[:10])
    assert answer.status_code == 200
    assert _deliveries(world) == [("pacs", "pending")] * 2


def test_resend_of_a_whole_result_to_another_destination_sends_one_of_several_forms(
    world, client: httpx.Client
) -> None:
    job_key, _ = _delivered(world, outputs=("seg", "seg"))
    [first, second] = world.ledger.read("SELECT key, sop_instance_uid FROM deliveries ORDER BY key")
    with world.ledger.transaction() as transaction:  # each destination got its own form
        transaction.update("deliveries", "key", second["key"], {"destination": "viewer"})
        for row, sop_class in ((first, LABELMAP), (second, BINARY)):
            transaction.update(
                "result_objects", "sop_instance_uid", row["sop_instance_uid"], {"sop_class_uid": sop_class}
            )
    assert _actions(client, "resend", key=job_key, to="archive").json()["count"] == 1
    [row] = world.ledger.read("SELECT sop_instance_uid FROM deliveries WHERE destination = 'archive'")
    assert row["sop_instance_uid"] == second["sop_instance_uid"]


def test_result_that_went_nowhere_is_sent_to_whom_a_person_names(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    world.encode(job_key)
    with world.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM deliveries")
    answer = _actions(client, "resend", key=job_key)
    assert "nothing of this job arrived anywhere" in answer.json()["detail"]
    assert _actions(client, "resend", key=job_key, to="archive").status_code == 200
    assert _deliveries(world) == [("archive", "pending")]


def test_resend_of_a_job_that_is_not_encoded_is_a_conflict(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    answer = _actions(client, "resend", key=job_key)
    assert answer.status_code == 409
    assert answer.json()["detail"] == "this job is planned; it has nothing that could be sent again yet"


def test_resend_of_what_is_removed_with_its_images_says_the_way_out(world, client: httpx.Client) -> None:
    job_key, key = _delivered(world)
    with world.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", job_key, {"results_removed_at": LONG_AGO})
    assert (
        client.post(f"/api/v1/deliveries/{key}/resend").status_code == 202
    )  # it is made of its images again
    world.move_delivery(key, DeliveryEvent.SENT)
    with world.ledger.transaction() as transaction:
        transaction.update("studies", "study_key", "key0001", {"images_removed_at": LONG_AGO})
    answer = client.post(f"/api/v1/deliveries/{key}/resend")
    assert answer.status_code == 409
    assert "on 2026-03-04, and its images on 2026-03-04: it cannot be made again" in answer.json()["detail"]


# -- many at once -------------------------------------------------------------------------------------------


def test_bulk_first_says_how_many_and_does_nothing(world, client: httpx.Client) -> None:
    keys = [_delivered(world, number)[1] for number in (1, 2)]
    answer = _actions(client, "resend", destination="pacs", dry_run=True)
    assert answer.json() == {"count": 2, "studies": 2, "keys": keys, "left_alone": 0, "why": ""}
    assert _deliveries(world) == [("pacs", "sent")] * 2
    assert _actions(client, "resend", destination="archive", dry_run=True).json()["count"] == 0


def test_bulk_takes_what_is_of_the_destination_state_and_age_only(world, client: httpx.Client) -> None:
    waiting, failed = (world.encode(world.job(world.study(number))) for number in (1, 2))
    world.move_delivery(failed, DeliveryEvent.FAILED, reason="refused")
    between = utc_now()
    late = world.encode(world.job(world.study(3)))

    def meant(**said: str) -> list[str]:
        return _actions(client, "drop", dry_run=True, **said).json()["keys"]

    assert set(meant()) == {waiting, failed, late}
    assert meant(state="failed") == [failed]
    assert set(meant(until=between)) == {waiting, failed}
    assert meant(since=between) == [late]
    assert meant(key="key0001") == [waiting]
    assert _actions(client, "retry", dry_run=True).json()["keys"] == [failed]


def test_bulk_redirect_moves_all_that_waits_for_a_destination_that_is_gone(
    world, client: httpx.Client
) -> None:
    for number in (1, 2):
        world.encode(world.job(world.study(number)))
    assert _actions(client, "redirect", destination="pacs").status_code == 409  # where to?
    assert _actions(client, "redirect", destination="pacs", to="archive").json()["count"] == 2
    assert sorted(_deliveries(world)) == [("archive", "pending")] * 2 + [("pacs", "cancelled")] * 2


def test_bulk_of_jobs_and_studies(world, client: httpx.Client) -> None:
    held, open_job = world.job(world.study(1), hold="One slice is missing."), world.job(world.study(2))
    world.study(3)
    assert _actions(client, "release").json()["keys"] == [held]
    assert _actions(client, "complete").json()["keys"] == ["key0003"]
    assert set(_actions(client, "cancel").json()["keys"]) == {held, open_job}
    assert _actions(client, "retry", state="cancelled").json()["count"] == 2


@pytest.mark.parametrize(
    ("action", "said", "why"),
    [
        ("retry", {"state": "sent"}, "retry is for a job that is failed or cancelled, a delivery that is"),
        ("cancel", {"destination": "pacs"}, "only deliveries have a destination"),
        ("complete", {"key": "DELIVERY"}, "this is a delivery: complete is for a study that is receiving"),
        ("drop", {"key": "key0001", "state": "pending"}, "nothing of this study can be asked for that"),
    ],
)
def test_bulk_that_can_mean_nothing_says_why(
    world, client: httpx.Client, action: str, said: dict[str, str], why: str
) -> None:
    _, delivery = _delivered(world)
    answer = _actions(
        client, action, **{name: text.replace("DELIVERY", delivery) for name, text in said.items()}
    )
    assert (answer.status_code, why in answer.json()["detail"]) == (409, True)


def test_bulk_with_an_unknown_filter_or_action_is_not_valid(client: httpx.Client) -> None:
    assert _actions(client, "retry", stat="failed").status_code == 422
    assert _actions(client, "burn").status_code == 422
    ages_ago = _actions(client, "retry", since="0001-01-01T00:00:00+14:00")
    assert ages_ago.status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("actions", {"action": "drop", "filters": {"state": "failed"}, "dry_run": False}),
        ("deliveries/DELIVERY/resend", {"too": "archive"}),
    ],
)
def test_action_with_a_misspelt_key_is_not_taken_for_one_without_it(
    world, client: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    _, delivery = _delivered(world)
    answer = client.post(f"/api/v1/{path.replace('DELIVERY', delivery)}", json=body)
    assert (answer.status_code, "a key that nothing knows" in answer.json()["detail"]) == (422, True)
    assert _deliveries(world) == [("pacs", "sent")]


def test_bulk_is_done_a_hundred_at_a_time_and_leaves_alone_what_moved_meanwhile(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = AT_ONCE + 20
    world.encode(world.job(world.study()), ("overlay",) * number)
    things = selected(world.ledger, Action.DROP, Wanted(destination="pacs"))
    world.move_delivery(things[7].key, DeliveryEvent.SENT)
    begun: list[int] = []
    transaction = world.ledger.transaction
    monkeypatch.setattr(world.ledger, "transaction", lambda: begun.append(1) or transaction())
    done = act(world.ledger, Action.DROP, things)
    assert (len(begun), len(done.keys), done.left_alone) == (2, number - 1, 1)
    assert done.refusal == "this delivery is sent; only one that failed or waits can be dropped"


# -- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["study", "uid", "job", "delivery"])
def test_study_is_found_by_the_beginning_of_any_key_of_it(world, client: httpx.Client, kind: str) -> None:
    job_key, delivery = _delivered(world)
    _delivered(world, 2)
    keys = {"study": "key0001"[:7], "uid": "1.2.826.0.1.1", "job": job_key[:9], "delivery": delivery[:9]}
    assert client.get(f"/api/v1/studies/{keys[kind]}").json()["study_key"] == "key0001"


def test_key_that_may_be_several_things_says_which(world, client: httpx.Client) -> None:
    world.study(1), world.study(2)
    answer = client.get("/api/v1/studies/key")
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        "several begin so, give more of the key: study 1.2.826.0.1.1, study 1.2.826.0.1.2"
    )


# -- the command --------------------------------------------------------------------------------------------


def test_iris_resend_says_how_many_and_exits_0(world, iris: Callable[..., Any]) -> None:
    _delivered(world, outputs=("seg", "sr"))
    result = iris("resend", "key0001", "--to", "archive")
    assert (result.exit_code, result.stdout) == (0, "1 delivery is sent to archive\n")
    assert sorted(_deliveries(world)) == [("archive", "pending")] * 2 + [("pacs", "sent")] * 2


def test_iris_asks_before_it_does_something_to_all(world, iris: Callable[..., Any]) -> None:
    for number in (1, 2):
        _delivered(world, number)
    asked = iris("resend", "--all", "--destination", "pacs", input="n\n")
    assert (asked.exit_code, "2 deliveries are to be sent again. Go on?" in asked.stdout) == (1, True)
    assert _deliveries(world) == [("pacs", "sent")] * 2
    done = iris("resend", "--all", "--destination", "pacs", "--yes")
    assert (done.exit_code, done.stdout) == (0, "2 deliveries are sent again\n")
    none = iris("drop", "--all", "--since", "2200-01-01")
    assert (none.exit_code, none.stdout) == (0, "there is nothing of that kind\n")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("retry", "--all", "--state", "bogus", "--yes"), 2, "'bogus' is none of planned, converted"),
        (("retry", "--all", "--state", "encoded", "--yes"), 1, "nothing that is encoded can be asked for"),
        (("redirect", "key0001", "--to", "bogus"), 1, "there is: pacs, archive"),
        (("drop", "none"), 1, "no study, job or delivery whose key begins so"),
        (("resend", "1.2.826.0.1."), 1, "several begin so, give more of the key: study 1.2.826.0.1.1, study"),
        (("drop",), 2, "give a KEY, or --all"),
        (("drop", "key0001", "--state", "failed"), 2, "go with --all"),
    ],
)
def test_iris_that_is_asked_for_what_cannot_be_says_why(
    world, iris: Callable[..., Any], words: tuple[str, ...], code: int, says: str
) -> None:
    world.study(1), world.study(2)
    result = iris(*words)
    assert (result.exit_code, says in " ".join(result.output.split())) == (code, True), result.output


def test_iris_retry_of_a_study_takes_up_all_that_failed_of_it(world, iris: Callable[..., Any]) -> None:
    delivery = world.encode(world.job(world.study()))
    world.move_delivery(delivery, DeliveryEvent.FAILED, reason="refused")
    result = iris("retry", "1.2.826.0.1.1")
    assert (result.exit_code, result.stdout) == (0, "1 job or delivery is taken up again\n")
    assert _deliveries(world) == [("pacs", "pending")]
    assert iris("retry", "--all").stdout == "there is nothing of that kind\n"


def test_refusal_of_one_key_is_what_it_says_itself(world) -> None:
    job_key = world.job(world.study())
    world.move(job_key, JobEvent.CANCELLED)
    actions = LedgerActions(world.ledger)
    with pytest.raises(NotPossible, match="there is nothing to cancel"):
        actions.cancel(job_key)
