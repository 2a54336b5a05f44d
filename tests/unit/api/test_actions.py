"""What a person may ask for, and what is refused with the reason."""

from typing import Any

import httpx
import pytest

from gateway.api.callers.access import Access
from gateway.api.ledger_actions import LedgerActions
from gateway.events import CompletionRequested, Event, JobChanged, VolumeChosen
from gateway.ledger.choices import choices_of
from gateway.ledger.destinations import KnownDestination, KnownForm, learn
from gateway.ledger.records import utc_now
from gateway.ledger.states import DeliveryEvent, JobEvent, JobState
from gateway.ledger.transaction import NotPossible
from gateway.ledger.work import next_job

NOW = "2026-11-30T12:00:00.000000Z"


def test_retry_of_failed_job_takes_it_up(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    world.move(job_key, JobEvent.CONVERTED, JobEvent.FAILED, reason="the disk was full")
    answer = client.post(f"/api/v1/jobs/{job_key}/retry")
    assert answer.status_code == 202
    assert answer.json() == {"kind": "job", "key": job_key, "state": "converted"}
    assert client.get("/api/v1/studies/key0001").json()["state"] == "processing"


def test_retry_by_delivery_key_takes_up_that_delivery(world, client: httpx.Client) -> None:
    delivery = world.encode(world.job(world.study()))
    world.move_delivery(delivery, DeliveryEvent.FAILED, reason="refused")
    answer = client.post(f"/api/v1/jobs/{delivery}/retry")
    assert answer.json() == {"kind": "delivery", "key": delivery, "state": "pending"}


def test_retry_of_running_job_is_a_conflict_with_the_reason(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    answer = client.post(f"/api/v1/jobs/{job_key}/retry")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == (
        "this job is planned; only one that failed, waits or was cancelled can be retried"
    )


def test_cancel_of_open_job_stops_it(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    assert client.post(f"/api/v1/jobs/{job_key}/cancel").json()["state"] == "cancelled"
    again = client.post(f"/api/v1/jobs/{job_key}/cancel")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "this job is cancelled; there is nothing to cancel",
    )


def _priorities(client: httpx.Client) -> dict[str, int]:
    studies = client.get("/api/v1/studies").json()["items"]
    return {job["job_key"]: job["priority"] for study in studies for job in study["jobs"]}


def test_priority_of_a_waiting_job_is_set_shown_and_told(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    heard: list[Event] = []
    world.bus.subscribe(heard.append)
    answer = client.post(f"/api/v1/jobs/{job_key[:16]}/priority", json={"priority": 7})
    assert (answer.status_code, answer.json()["state"]) == (202, "planned")
    assert heard == [JobChanged(job_key, "1.2.826.0.1.1", "priority_set", "planned")]
    job = client.get(f"/api/v1/jobs/{job_key}").json()
    assert job["priority"] == 7
    assert job["timeline"][-1]["sentence"].startswith("Its priority was changed to 7; it was 0")


def test_job_without_a_number_goes_before_all_that_wait_in_any_step(world, client: httpx.Client) -> None:
    first, second, third = (world.job(world.study(number)) for number in (1, 2, 3))
    client.post(f"/api/v1/jobs/{second}/priority", json={"priority": 5})
    world.move(second, JobEvent.CONVERTED)
    for _ in range(2):  # said once more it stays first and climbs no further
        client.post(f"/api/v1/jobs/{third}/priority", json={})
    assert _priorities(client) == {first: 0, second: 5, third: 6}
    asked = next_job(world.ledger, JobState.PLANNED)
    assert asked is not None
    assert asked.job_key == third


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ((JobEvent.STAGED, JobEvent.SUBMITTED), "this job is submitted; the queue has it"),
        ((JobEvent.FAILED,), "this job is failed; retry or release it first"),
        ((JobEvent.SEGMENTED,), "this job is segmented; nothing of it waits for the queue any more"),
    ],
)
def test_priority_of_a_job_that_has_no_turn_to_wait_for_is_refused_with_the_way_out(
    world, client: httpx.Client, events: tuple[JobEvent, ...], says: str
) -> None:
    job_key = world.job(world.study())
    world.move(job_key, *events)
    answer = client.post(f"/api/v1/jobs/{job_key}/priority", json={"priority": 7})
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(says)
    assert _priorities(client) == {job_key: 0}


@pytest.mark.parametrize("wish", [{"priority": 10_000}, {"priority": -10_000}, {"prioritty": 1}])
def test_priority_that_no_job_can_have_is_refused(world, client: httpx.Client, wish: dict[str, int]) -> None:
    job_key = world.job(world.study())
    assert client.post(f"/api/v1/jobs/{job_key}/priority", json=wish).status_code == 422


def test_cancel_by_delivery_key_finds_no_job(world, client: httpx.Client) -> None:
    delivery = world.encode(world.job(world.study()))
    assert client.post(f"/api/v1/jobs/{delivery}/cancel").status_code == 404


def test_complete_of_receiving_study_is_requested_and_told(world, client: httpx.Client) -> None:
    uid = world.study()
    heard: list[Event] = []
    world.bus.subscribe(heard.append)
    answer = client.post("/api/v1/studies/key0001/complete")
    assert answer.status_code == 202
    assert answer.json() == {"kind": "study", "key": "key0001", "state": "receiving"}
    assert heard == [CompletionRequested(uid)]
    row = world.ledger.read("SELECT complete_requested FROM studies")[0]
    assert row["complete_requested"] == 1


def test_complete_of_finished_study_is_a_conflict(world, client: httpx.Client) -> None:
    world.job(world.study())
    answer = client.post("/api/v1/studies/key0001/complete")
    assert answer.status_code == 409
    assert "processing" in answer.json()["detail"]


def _with_a_volume_to_choose(world) -> str:
    """A complete study with one volume that a rule would take; its UID."""
    uid = world.study()
    world.job(uid)
    with world.ledger.transaction() as transaction:
        transaction.execute("UPDATE volumes SET can_be_used = 1, job_key = NULL")
    return str(uid)


def test_use_of_a_volume_is_written_down_told_and_shown(world, client: httpx.Client) -> None:
    uid = _with_a_volume_to_choose(world)
    heard: list[Event] = []
    world.bus.subscribe(heard.append)
    (series,) = client.get("/api/v1/studies/key0001").json()["series"]
    assert [volume["can_be_used"] for volume in series["volumes"]] == [True]
    body = {"series_uid": series["series_uid"], "number": 1}
    answer = client.post("/api/v1/studies/key0001/use", json=body)
    assert (answer.status_code, answer.json()) == (
        202,
        {"kind": "study", "key": "key0001", "state": "processing"},
    )
    assert heard == [VolumeChosen(uid)]
    (choice,) = choices_of(world.ledger, uid)
    assert (choice.series_uid, choice.number, choice.is_open) == (series["series_uid"], 1, 1)
    assert client.get("/api/v1/studies/key0001").json()["timeline"][-1]["event"] == "study.volume_chosen"


@pytest.mark.parametrize(
    ("study", "body", "status", "says"),
    [
        ("key0001", {"series_uid": "1.2.826.0.1.1.1", "number": 2}, 409, "no such volume"),
        ("key0001", {"series_uid": "9", "number": 1}, 409, "no such volume"),
        ("key0001", {"series_uid": "1.2.826.0.1.1.1"}, 422, "number"),
        ("none", {"series_uid": "1.2.826.0.1.1.1", "number": 1}, 404, "no such study"),
    ],
)
def test_use_of_what_is_not_there_is_refused_with_the_reason(
    world, client: httpx.Client, study: str, body: dict[str, Any], status: int, says: str
) -> None:
    _with_a_volume_to_choose(world)
    answer = client.post(f"/api/v1/studies/{study}/use", json=body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_use_of_a_volume_that_no_rule_takes_is_a_conflict(world, client: httpx.Client) -> None:
    world.job(world.study())
    body = {"series_uid": "1.2.826.0.1.1.1", "number": 1}
    answer = client.post("/api/v1/studies/key0001/use", json=body)
    assert answer.status_code == 409
    assert "change the rules" in answer.json()["detail"]


def test_release_of_held_job_lets_it_go_on(world, client: httpx.Client) -> None:
    job_key = world.job(world.study(), hold="One slice is missing.")
    answer = client.post(f"/api/v1/quarantine/{job_key}/release")
    assert (answer.status_code, answer.json()["state"]) == (202, "planned")
    assert client.post(f"/api/v1/quarantine/{job_key}/release").status_code == 409


def test_release_of_object_without_a_way_is_a_conflict(world, client: httpx.Client) -> None:
    world.refuse("object1")
    answer = client.post("/api/v1/quarantine/object1/release")
    assert answer.status_code == 409
    assert "send" in answer.json()["detail"]


def test_release_of_object_calls_whoever_can(world) -> None:
    world.refuse("object1")
    released: list[str] = []
    outcome = LedgerActions(world.ledger, released.append).release("object1")
    assert (released, outcome["kind"], outcome["state"]) == (["object1"], "object", "released")


def test_release_of_object_that_stays_bad_is_a_conflict_with_the_reason(world) -> None:
    def refuse(key: str) -> None:
        raise NotPossible("it has no Study Instance UID")

    world.refuse("object1")
    server = world.serve(Access(None), LedgerActions(world.ledger, refuse))
    server.start()
    try:
        host, port = server.address
        address = f"http://{host}:{port}/api/v1/quarantine/object1/release"
        answer = httpx.post(address, trust_env=False)
    finally:
        server.stop()
    assert (answer.status_code, answer.json()["detail"]) == (409, "it has no Study Instance UID")


@pytest.mark.parametrize(
    "address", ["jobs/none/retry", "jobs/none/cancel", "studies/none/complete", "quarantine/none/release"]
)
def test_action_on_unknown_key_is_a_404(client: httpx.Client, address: str) -> None:
    answer = client.post(f"/api/v1/{address}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_another_task_on_an_unknown_key_or_without_an_engine_is_refused(world, client: httpx.Client) -> None:
    wish = {"task": "tissue", "options": {"fast": True}}
    assert client.post("/api/v1/jobs/none/reprocess", json=wish).status_code == 404
    answer = client.post(f"/api/v1/jobs/{world.job(world.study())}/reprocess", json=wish)
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "there is no engine here to ask for another task",
    )
    assert client.post("/api/v1/jobs/none/reprocess", json={**wish, "taks": ""}).status_code == 422


@pytest.mark.parametrize("address", ["jobs/none/retry", "studies/none/complete", "quarantine/none/release"])
def test_action_by_get_is_not_allowed(client: httpx.Client, address: str) -> None:
    answer = client.get(f"/api/v1/{address}")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"


def _waiting(world) -> str:
    """The key of a delivery that waits."""
    return world.encode(world.job(world.study()))


def test_delivery_that_waits_is_tried_at_once_on_request(world, client: httpx.Client) -> None:
    delivery = _waiting(world)
    answer = client.post(f"/api/v1/deliveries/{delivery}/retry")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    events = [line["event"] for line in client.get("/api/v1/studies/key0001").json()["timeline"]]
    assert events[-1] == "delivery.tried_now"


def test_delivery_that_is_dropped_ends_its_job_and_its_study(world, client: httpx.Client) -> None:
    delivery = _waiting(world)
    answer = client.post(f"/api/v1/deliveries/{delivery}/drop")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    study = client.get("/api/v1/studies/key0001").json()
    assert (study["state"], study["reason"]) == ("done", "cancelled")
    assert client.post(f"/api/v1/deliveries/{delivery}/drop").status_code == 409


def test_delivery_that_is_redirected_goes_to_a_configured_destination_only(world) -> None:
    delivery = _waiting(world)
    actions = LedgerActions(world.ledger, destinations={"archive": "A@h:104"})
    with pytest.raises(NotPossible, match="there is: archive"):
        actions.redirect(delivery, "attic")
    assert actions.redirect(delivery, "archive")["state"] == "cancelled"
    rows = world.ledger.read("SELECT destination, state FROM deliveries ORDER BY destination")
    assert [tuple(row) for row in rows] == [("archive", "pending"), ("pacs", "cancelled")]


def test_destinations_are_listed_with_what_they_take(world) -> None:
    said = tuple(KnownForm("1.2.3.5", syntax, False, "Label Map", "allow it", utc_now()) for syntax in "12")
    with world.ledger.transaction() as transaction:
        learn(transaction, "pacs", KnownDestination("PACS@h:104", "Orthanc", "Orthanc (1.2.3)", NOW, said))
    server = world.serve(
        Access(None), LedgerActions(world.ledger, destinations={"pacs": "PACS@h:104", "archive": "A@h:104"})
    )
    server.start()
    try:
        host, port = server.address
        answer = httpx.get(f"http://{host}:{port}/api/v1/destinations", trust_env=False)
    finally:
        server.stop()
    pacs, archive = answer.json()["items"]
    assert (pacs["name"], archive["name"]) == ("pacs", "archive")
    assert (pacs["implementation"], pacs["asked"]) == ("Orthanc (1.2.3)", NOW)
    assert pacs["refuses"] == [{"what": "Label Map", "way_out": "allow it"}]  # once, in whatever syntax
    assert (archive["asked"], archive["takes"], archive["refuses"]) == (None, [], [])
    assert (pacs["address"], archive["address"]) == ("PACS@h:104", "A@h:104")


def test_destination_that_moved_is_not_said_to_take_what_was_taken_at_its_earlier_address(world) -> None:
    said = (KnownForm("1.2.3.5", "1", True, "Label Map", "", utc_now()),)
    with world.ledger.transaction() as transaction:
        learn(transaction, "pacs", KnownDestination("OLD@h:104", "Orthanc", "Orthanc (1.2.3)", NOW, said))
    (pacs,) = LedgerActions(world.ledger, destinations={"pacs": "NEW@h:104"}).destination_list()
    assert (pacs["address"], pacs["takes"], pacs["asked"]) == ("NEW@h:104", [], None)


def test_delivery_says_since_when_it_waits_and_no_more_once_it_is_over(world, client: httpx.Client) -> None:
    delivery = _waiting(world)
    [row] = world.ledger.read("SELECT pending_since FROM deliveries")
    [shown] = client.get("/api/v1/studies/key0001").json()["deliveries"]
    assert shown["waiting_since"] == row["pending_since"]
    client.post(f"/api/v1/deliveries/{delivery}/drop")
    [shown] = client.get("/api/v1/studies/key0001").json()["deliveries"]
    assert shown["waiting_since"] is None


def test_key_may_be_cut_as_far_as_it_names_one_thing(world, client: httpx.Client) -> None:
    delivery = _waiting(world)
    assert client.post(f"/api/v1/deliveries/{delivery[:16]}/drop").json()["key"] == delivery
    first, second = (world.job(world.study(number)) for number in (10, 15))
    assert first[:2] == second[:2]  # their keys happen to begin alike
    answer = client.post(f"/api/v1/jobs/{first[:2]}/cancel")
    assert (answer.status_code, "give more of the key" in answer.json()["detail"]) == (409, True)
    assert client.post(f"/api/v1/jobs/{second[:16]}/cancel").json()["key"] == second


@pytest.mark.parametrize("verb", ["drop", "retry"])
def test_delivery_that_nobody_knows_is_not_found(world, client: httpx.Client, verb: str) -> None:
    assert client.post(f"/api/v1/deliveries/nothing/{verb}").status_code == 404
