"""What happens becomes messages: once, some together, none lost by a kill, nothing of a patient in any."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.ledger import messages
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.messages import MessageState, last_message, pending_message
from gateway.ledger.records import utc_in
from gateway.ledger.states import JobEvent
from gateway.notify import worker as telling
from tests.one_job import JOB_KEY

Webhook = Callable[..., dict[str, Any]]
PATIENT = "MUELLER"


def told(web) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in web.got]


def fail(house, job_key: str = JOB_KEY) -> None:
    with house.ledger.transaction() as transaction:
        transaction.move_job(job_key, JobEvent.FAILED, reason=f"{PATIENT} said no", exit_code=2)


def add_studies(house, count: int, rule: str = "ct") -> list[str]:
    """Complete studies of one job each, whose header names a patient; the keys of the jobs."""
    keys = [f"{number:064d}" for number in range(count)]
    for number, key in enumerate(keys):
        uid = f"1.2.840.9.{number}"
        header = StudyHeader(uid, f"study {number}", PATIENT, PATIENT, "20260102", PATIENT)
        arrived = ArrivedInstance(
            header, f"{uid}.1", f"{uid}.1.1", "1.2", "1.2", "CT", 2, PATIENT, f"instances/{uid}", 1,
            "h", "p", "g", True, "", "PACS",
        )  # fmt: skip
        planned = PlannedJob(
            key,
            f"{uid}.1",
            f"slot {uid}",
            rule,
            "tissue",
            {},
            "threshold",
            0,
            (f"{uid}.1.1",),
            (),
            ("seg",),
            "h",
        )
        with house.ledger.transaction() as transaction:
            store_instance(transaction, arrived, 1)
        with house.ledger.transaction() as transaction:
            complete_study(transaction, StudyPlan(uid, 1, (planned,), ()), evidence="test")
    return keys


def test_study_that_fails_is_told_with_keys_codes_and_a_link_and_nothing_of_a_patient(
    house, web, webhook: Webhook
) -> None:
    worker = house.start(**webhook())
    [job_key] = add_studies(house, 1)
    fail(house, job_key)
    worker.work()
    [message] = told(web)
    [item] = message["items"]
    assert message["subject"] == "IRIS test: a study failed"
    assert item["occasion"] == "failed"
    assert item["study_key"] == "study 0"
    assert item["jobs"] == [{"job_key": job_key, "task": "tissue", "rule": "ct", "code": "failed exit=2"}]
    assert item["link"] == "https://iris.example/#/studies/study 0"
    assert "iris retry" in message["text"]
    assert PATIENT not in str(web.got)
    assert "1.2.840" not in str(web.got)


def test_message_is_signed_over_its_time_and_body(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook())
    fail(house)
    worker.work()
    [(headers, body)] = web.got
    at = headers["X-IRIS-Timestamp"]
    expected = hmac.new(b"s3cret", f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-IRIS-Signature"] == f"sha256={expected}"
    assert abs(time.time() - int(at)) < 60
    assert headers["X-IRIS-Delivery"] == json.loads(body)["key"]


def test_receiver_that_is_new_is_not_told_what_was_before(house, web, webhook: Webhook) -> None:
    fail(house)
    house.start(**webhook()).work()
    assert web.got == []


def test_what_comes_after_the_first_is_told_together_and_ever_more_seldom(
    house, web, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = house.start(**webhook(), every_minutes=5)
    keys = add_studies(house, 60)
    fail(house, keys[0])
    worker.work()
    for key in keys[1:]:
        fail(house, key)
        worker.work()
    assert len(web.got) == 1, "it is told no more often than every five minutes"
    gap_s = [row["gap_s"] for row in house.ledger.read("SELECT gap_s FROM receivers")]
    with house.ledger.transaction() as transaction:
        transaction.execute("UPDATE receivers SET quiet_until = ?", (utc_in(-1.0),))
    worker.work()
    assert len(web.got) == 2
    message = told(web)[1]
    assert message["subject"] == "IRIS test: 59 studies failed"
    assert (len(message["items"]), message["further"]) == (20, {"failed": 39})
    assert "and 39 more" in message["text"]
    assert [2 * gap_s[0]] == [row["gap_s"] for row in house.ledger.read("SELECT gap_s FROM receivers")]


def test_study_that_was_settled_before_it_was_told_is_not_told(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook())
    fail(house)
    with house.ledger.transaction() as transaction:
        transaction.move_job(JOB_KEY, JobEvent.RETRIED)
    worker.work()
    assert web.got == []
    assert house.ledger.read("SELECT * FROM occasions") == []


def test_receiver_of_some_rules_is_told_of_their_studies_only(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook(rules=["mr"]))
    fail(house)  # of the rule ct
    [of_mr] = add_studies(house, 1, rule="mr")
    fail(house, of_mr)
    worker.work()
    assert [item["study_key"] for item in told(web)[0]["items"]] == ["study 0"]


def test_held_study_is_told_to_whom_that_concerns(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook(on=["held"]))
    fail(house, add_studies(house, 1)[0])
    with house.ledger.transaction() as transaction:
        transaction.move_job(JOB_KEY, JobEvent.HELD, reason="a gap")
    worker.work()
    assert [item["occasion"] for message in told(web) for item in message["items"]] == ["held"]


def test_study_that_gets_no_further_is_told_once(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook(on=["waiting"]), waiting_minutes=60)
    worker.work()
    assert web.got == []
    with house.ledger.transaction() as transaction:
        transaction.execute("UPDATE studies SET updated_at = ?", (utc_in(-3601.0),))
        transaction.execute("UPDATE receivers SET waiting_upto = ?", (utc_in(-3700.0),))
    worker.work()
    worker.work()
    [message] = told(web)
    assert message["items"][0]["jobs"][0]["code"] == "planned"


def test_disk_is_told_when_it_is_full_and_when_that_is_over(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook(on=["disk"]))
    house.complaints["disk"] = "the disk has 5 MB free"
    worker.work()
    worker.work()
    house.complaints["disk"] = ""
    worker.work()
    sentences = [item["sentence"] for message in told(web) for item in message["items"]]
    assert sentences[0] == "the disk has 5 MB free"
    assert sentences[1].startswith("over: the disk has no room, since ")
    assert len(sentences) == 2


def test_mirror_that_is_late_for_a_moment_is_not_told(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook(on=["mirror"]), waiting_minutes=60)
    house.complaints["mirror"] = "it does not answer"
    worker.work()
    assert web.got == []
    worker = house.start(**webhook(on=["mirror"]), waiting_minutes=1e-9)
    worker.work()
    assert told(web)[0]["items"][0]["sentence"] == "it does not answer"


def test_summary_is_told_at_its_time_once_a_day(
    house, web, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour_ago = house.config().site.local(datetime.now(UTC) - timedelta(hours=1))
    notify = {**webhook(on=["daily"]), "daily_at": f"{hour_ago:%H:%M}"}
    worker = house.start(**notify)
    worker.work()
    assert web.got == [], "it began after the hour"
    [failing] = add_studies(house, 1)
    fail(house, failing)
    with house.ledger.transaction() as transaction:
        transaction.execute("UPDATE receivers SET summed_up_at = ?", (utc_in(-86400.0),))
    worker.work()
    worker.work()
    [message] = told(web)
    assert message["subject"] == "IRIS test: the day's summary"
    assert message["summary"]["happened"]["studies failed"] == 1
    assert message["summary"]["standing"]["studies failed"] == 1
    assert "mirror: it is late" in message["text"]


# -- trouble ------------------------------------------------------------------------------------------------


def test_message_that_does_not_arrive_is_sent_again_under_its_key(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook())
    web.status = 500
    fail(house)
    worker.work()
    assert "ops answered with HTTP 500" in worker.complaint()
    assert "SECRET" not in worker.complaint()
    web.status = 200
    worker.work()
    assert len(set(web.keys)) == 1
    assert len(web.keys) == 2
    assert worker.complaint() == ""
    assert [figure.value for figure in worker.figures()] == [1, 1, 0]


def test_message_that_never_arrives_is_given_up_and_told(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook(), give_up_after_h=1e-9)
    web.status = 404
    fail(house)
    worker.work()
    last = last_message(house.ledger, "ops")
    assert last is not None
    assert last.state is MessageState.FAILED
    restarted = house.start(**webhook())
    restarted.work()
    assert "was given up: ops answered with HTTP 404" in restarted.complaint()
    web.status = 200
    fail(house, add_studies(house, 1)[0])
    restarted.work()
    assert restarted.complaint() == ""


def test_message_that_nobody_foresaw_to_fail_is_tried_again_and_given_up(
    house, web, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_to_tell(_: object) -> None:
        raise ValueError(PATIENT)

    worker = house.start(**webhook(), give_up_after_h=1e-9)
    monkeypatch.setattr(worker._by, "tell", fail_to_tell)
    fail(house)
    with capture_logs() as said:
        worker.work()
    last = last_message(house.ledger, "ops")
    assert last is not None
    assert last.state is MessageState.FAILED
    assert "unforeseen error" in worker.complaint()
    assert [line["event"] for line in said] == ["message_failed", "message_given_up"]


@pytest.mark.parametrize("step", ["add_message", "end_message", "gather_lines"])
def test_kill_at_any_step_loses_nothing_and_sends_nothing_under_another_key(
    house, web, webhook: Webhook, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    worker = house.start(**webhook())
    fail(house)

    class Killed(BaseException):
        pass

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(telling, step, kill)
        with pytest.raises(Killed):
            worker.work()
    house.start(**webhook()).work()
    assert [item["study_key"] for message in told(web)[:1] for item in message["items"]] == ["key"]
    assert len(set(web.keys)) == 1
    assert pending_message(house.ledger, "ops") is None


def test_receiver_that_is_not_configured_any_more_is_forgotten(house, web, webhook: Webhook) -> None:
    worker = house.start(**webhook())
    web.status = 500
    fail(house)
    worker.work()
    house.start(**webhook(name="others"))
    tables = {table: house.ledger.read(f"SELECT * FROM {table}") for table in ("messages", "occasions")}
    assert tables == {"messages": [], "occasions": []}


def test_receiver_is_told_on_after_the_ledger_was_put_back_to_an_earlier_day(
    house, web, webhook: Webhook
) -> None:
    house.start(**webhook())
    with house.ledger.transaction() as transaction:
        transaction.execute("UPDATE receivers SET counted = counted + 1000, summed_up = summed_up + 1000")
    worker = house.start(**webhook())
    fail(house)
    worker.work()
    assert len(web.got) == 1


def test_messages_that_ended_long_ago_are_removed(
    house, web, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = house.start(**webhook())
    keys = add_studies(house, 2)
    fail(house, keys[0])
    worker.work()
    monkeypatch.setattr(messages, "KEPT_DAYS", 0)
    fail(house, keys[1])
    worker.work()
    assert len(web.got) == 2
    assert len(house.ledger.read("SELECT * FROM messages")) == 1
