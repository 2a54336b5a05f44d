"""What the API answers about studies, jobs and the quarantine."""

import base64
import json

import httpx
import pytest

from gateway.adapters.errors import Away, OutsideError, Permanent, Retriable
from gateway.adapters.queue import Lane
from gateway.api.ledger_store import LedgerStore
from gateway.api.store import Cut
from gateway.ledger.finding import ANY
from gateway.ledger.records import utc_now
from gateway.ledger.runs import begin_run, end_run, note_cost
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.store import Ledger
from tests.results import COST


def test_studies_none_arrived_gives_empty_list(client: httpx.Client) -> None:
    answer = client.get("/api/v1/studies")
    assert answer.status_code == 200
    assert answer.json() == {"items": [], "next_cursor": None, "total": None}


def test_study_with_delivered_job_has_contract_shape(world, client: httpx.Client) -> None:
    uid = world.study()
    job_key = world.job(uid)
    delivery = world.encode(job_key)
    world.move_delivery(delivery, DeliveryEvent.SENT)
    study = client.get(f"/api/v1/studies/{uid}").json()
    assert study["study_uid"] == uid
    assert study["study_key"] == "key0001"
    assert (study["state"], study["reason"]) == ("done", "delivered")
    assert study["received"].endswith("Z")
    [job] = study["jobs"]
    expected = {"job_key": job_key, "task": "tissue", "state": "delivered", "reason": "", "attempts": 0}
    assert expected.items() <= job.items()
    assert job["progress"] == {"stage": "", "fraction": 0.0}
    [sent] = study["deliveries"]
    assert {"key": delivery, "destination": "pacs", "state": "sent", "reason": ""}.items() <= sent.items()
    events = [line["event"] for line in study["timeline"]]
    assert events[0] == "study.instance_stored"
    assert events.index("job.encoded") < events.index("delivery.sent") < events.index("study.finished")
    assert all(isinstance(line["detail"], dict) and line["at"] for line in study["timeline"])
    [series] = study["series"]
    assert (series["number"], series["modality"], series["images"]) == (2, "CT", 2)
    [volume] = series["volumes"]
    assert volume["why"] == "taken by rule ct"
    assert volume["findings"] == [{"code": "gap", "sentence": "One slice is missing."}]
    assert volume["ranking"] == ["series 2: thin"]


def test_study_by_key_equals_study_by_uid(world, client: httpx.Client) -> None:
    uid = world.study()
    assert client.get("/api/v1/studies/key0001").json() == client.get(f"/api/v1/studies/{uid}").json()


def test_study_in_the_list_says_who_and_where(world, client: httpx.Client) -> None:
    world.job(world.study())
    [study] = client.get("/api/v1/studies").json()["items"]
    shown = {"patient_id": "PID1", "accession_number": "ACC1", "study_date": "20260131", "images": 2}
    assert shown.items() <= study.items()
    assert [job["task"] for job in study["jobs"]] == ["tissue"]
    assert "timeline" not in study


def test_studies_paged_while_others_arrive_shows_each_once(world, client: httpx.Client) -> None:
    for number in range(1, 6):
        world.study(number)
    first = client.get("/api/v1/studies", params={"limit": 2}).json()
    world.study(6)
    world.study(1, images=3)  # an old study receives again: its place stays
    seen = [item["study_key"] for item in first["items"]]
    cursor = first["next_cursor"]
    while cursor is not None:
        page = client.get("/api/v1/studies", params={"limit": 2, "cursor": cursor}).json()
        seen += [item["study_key"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ["key0005", "key0004", "key0003", "key0002", "key0001"]


def test_studies_are_found_by_what_a_person_has_in_hand_and_its_beginning(
    world, client: httpx.Client
) -> None:
    job_key = world.job(world.study(7))
    delivery = world.encode(job_key)
    for number in (71, 8):
        world.study(number)

    def found(sought: str, **filters: str) -> list[str]:
        answer = client.get("/api/v1/studies", params={"q": sought, **filters})
        return [study["study_key"] for study in answer.json()["items"]]

    for sought in ("PID7", "ACC7", "1.2.826.0.1.7", " PID7 "):
        assert found(sought) == ["key0071", "key0007"], sought
    for sought in ("key0007", job_key, job_key[:8], delivery, delivery[:8]):
        assert found(sought) == ["key0007"], sought
    assert found("") == ["key0008", "key0071", "key0007"]
    assert found("PID7", state="receiving") == ["key0071"]
    assert found("nothing") == found("ID7") == found("PID7%") == []


def test_search_has_pages_with_each_study_once(world, client: httpx.Client) -> None:
    for number in (1, 11, 2, 12):
        world.study(number)
    first = client.get("/api/v1/studies", params={"q": "PID1", "limit": "2"}).json()
    assert [study["study_key"] for study in first["items"]] == ["key0012", "key0011"]
    rest = {"q": "PID1", "limit": "2", "cursor": first["next_cursor"]}
    last = client.get("/api/v1/studies", params=rest).json()
    assert ([study["study_key"] for study in last["items"]], last["next_cursor"]) == (["key0001"], None)


def test_cursor_holds_no_uid(world, client: httpx.Client) -> None:
    for number in (1, 2):
        world.study(number)
    cursor = client.get("/api/v1/studies", params={"limit": 1}).json()["next_cursor"]
    assert b"1.2.826" not in base64.urlsafe_b64decode(cursor + "===")


def test_studies_by_state_gives_only_those(world, client: httpx.Client) -> None:
    world.study(1)
    world.job(world.study(2))
    keys = {
        state: [
            s["study_key"] for s in client.get("/api/v1/studies", params={"state": state}).json()["items"]
        ]
        for state in ("receiving", "processing", "failed", "done")
    }
    assert keys == {"receiving": ["key0001"], "processing": ["key0002"], "failed": [], "done": []}


def test_studies_since_gives_only_later_ones(world, client: httpx.Client) -> None:
    world.study(1)
    world.study(2)
    received = client.get("/api/v1/studies/key0002").json()["received"]
    items = client.get("/api/v1/studies", params={"since": received}).json()["items"]
    assert [item["study_key"] for item in items] == ["key0002"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "state=lost", "since=yesterday", "since=2026-01-31T08:00:00",
     "cursor=%21", "cursor=bnVsbA", "cursor=WzEsMl0", "cursor=%C3%A9",
     "cursor=WyJcdWQ4MDAiLCJrIl0"],
)  # fmt: skip
def test_studies_bad_parameter_is_a_problem_that_names_it(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/v1/studies?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert query.partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize("address", ["studies/1.2.3", f"jobs/{'0' * 64}", f"jobs/{'0' * 64}/labels.nii.gz"])
def test_unknown_key_is_a_404_problem_without_the_key(client: httpx.Client, address: str) -> None:
    answer = client.get(f"/api/v1/{address}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"]) == (404, "Not Found")
    assert address.split("/")[1] not in problem["detail"]


def test_job_running_shows_stage_and_fraction(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    with world.ledger.transaction() as transaction:
        transaction.move_job(
            job_key, JobEvent.STARTED, columns={"stage": "segment", "fraction": 0.25, "run": 2}
        )
    job = client.get(f"/api/v1/jobs/{job_key}").json()
    assert job["progress"] == {"stage": "segment", "fraction": 0.25}
    assert (job["state"], job["attempts"], job["study_key"]) == ("running", 2, "key0001")
    assert [line["event"] for line in job["timeline"]] == ["job.planned", "job.started"]


def test_job_lists_its_runs_with_how_each_ended(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    world.runs(job_key)
    job = client.get(f"/api/v1/jobs/{job_key}").json()
    rows = world.ledger.read("SELECT submitted_at, ended_at FROM runs ORDER BY run")
    same = {"log_stream": None, "log_url": None}
    same |= {
        "where": "batch",
        "lane": "main",
        "region": None,
        "queue_id": None,
        "run_of": None,
        "started": None,
        "cost": None,
    }
    lost = {"run": 1, **same, "exit_code": 137, "how": "memory ran out"}
    present = {"run": 2, **same, "exit_code": None, "how": ""}
    assert job["runs"] == [
        {**lost, "submitted": rows[0]["submitted_at"], "ended": rows[0]["ended_at"]},
        {**present, "submitted": rows[1]["submitted_at"], "ended": None},
    ]
    assert client.get("/api/v1/studies/key0001").json()["jobs"][0]["runs"] == job["runs"]
    with world.ledger.transaction() as transaction:
        note_cost(transaction, transaction.job(job_key), COST, "i-0abc", utc_now())
        end_run(transaction, job_key, 2, exit_code=0)
    run = client.get(f"/api/v1/jobs/{job_key}").json()["runs"][1]
    assert run["how"] == "its result was taken"
    assert run["cost"] == {**COST.model_dump(), "usd": 0.006, "usd_shared": 0.021, "usd_lost": 0.0}


def test_job_with_very_many_runs_shows_the_last_ones(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    with world.ledger.transaction() as transaction:
        for run in range(1, 51):
            begin_run(transaction, job_key, run, Lane.MAIN)
        transaction.move_job(job_key, JobEvent.STARTED, columns={"run": 50})
    for job in (
        client.get(f"/api/v1/jobs/{job_key}").json(),
        client.get("/api/v1/studies").json()["items"][0]["jobs"][0],
    ):
        assert [run["run"] for run in job["runs"]] == list(range(31, 51))


def test_job_files_are_served_with_their_types(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    contents = {
        "labels.nii.gz": b"labels", "preview.png": b"png", "statistics.json": b"{}", "surface.glb": b"glTF",
        "surface.obj": b"v 0 0 0",
    }  # fmt: skip
    for name, content in contents.items():
        world.write_file(job_key, name, content)
    answers = {name: client.get(f"/api/v1/jobs/{job_key}/{name}") for name in contents}
    assert {name: answer.content for name, answer in answers.items()} == contents
    types = [answer.headers["content-type"] for answer in answers.values()]
    assert types[:3] == ["application/gzip", "image/png", "application/json"]
    assert types[3:] == ["model/gltf-binary", "model/obj"]
    assert "labels.nii.gz" in answers["labels.nii.gz"].headers["content-disposition"]


def test_job_file_that_is_not_there_is_a_404(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    answer = client.get(f"/api/v1/jobs/{job_key}/preview.png")
    assert answer.status_code == 404
    assert "preview.png" in answer.json()["detail"]


def test_job_file_in_the_cloud_is_a_redirect_that_nobody_keeps(world, client: httpx.Client) -> None:
    world.elsewhere = "https://bucket.example"
    job_key = world.job(world.study())
    answer = client.get(f"/api/v1/jobs/{job_key}/labels.nii.gz")
    assert answer.status_code == 307
    assert answer.headers["location"] == f"https://bucket.example/{job_key}/labels.nii.gz?signed"
    assert answer.headers["cache-control"] == "no-store"
    assert client.get(f"/api/v1/jobs/{'0' * 64}/labels.nii.gz").status_code == 404


@pytest.mark.parametrize(("error", "status"), [(Away, 503), (Retriable, 503), (Permanent, 502)])
def test_job_file_whose_store_fails_is_a_problem_with_its_sentence(
    world, client: httpx.Client, error: type[OutsideError], status: int
) -> None:
    world.elsewhere = error("AWS denies s3:GetObject; allow it")
    answer = client.get(f"/api/v1/jobs/{world.job(world.study())}/preview.png")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "AWS denies s3:GetObject; allow it"


def test_openapi_says_that_job_files_may_be_elsewhere(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    answers = paths["/api/v1/jobs/{job_key}/preview.png"]["get"]["responses"]
    assert {"200", "307", "404", "502", "503"} <= set(answers)
    assert "image/png" in answers["200"]["content"]
    assert "307" not in paths["/api/v1/studies"]["get"]["responses"]


def test_job_file_of_another_name_is_not_served(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    world.write_file(job_key, "request.json", b"{}")
    assert client.get(f"/api/v1/jobs/{job_key}/request.json").status_code == 404
    assert client.get(f"/api/v1/jobs/%2e%2e/{job_key}/preview.png").status_code == 404


def test_quarantine_lists_objects_and_held_jobs(world, client: httpx.Client) -> None:
    uid = world.study()
    world.refuse("object1", uid)
    world.refuse("object1", uid)
    job_key = world.job(uid, hold="One slice is missing.")
    items = client.get("/api/v1/quarantine").json()["items"]
    held, refused = items
    assert (held["kind"], held["key"], held["sentence"]) == ("job", job_key, "One slice is missing.")
    assert (held["task"], held["study_key"]) == ("tissue", "key0001")
    assert (refused["kind"], refused["key"], refused["times"]) == ("object", "object1", 2)
    assert (held["releasable"], refused["releasable"]) == (True, False)
    assert (refused["reason"], refused["sender"]) == ("not_dicom", "PACS")


def test_quarantine_paged_shows_each_once(world, client: httpx.Client) -> None:
    for number in range(3):
        world.refuse(f"object{number}")
    first = client.get("/api/v1/quarantine", params={"limit": 2}).json()
    rest = client.get("/api/v1/quarantine", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["key"] for item in first["items"] + rest["items"]] == ["object2", "object1", "object0"]
    assert rest["next_cursor"] is None


def test_listings_without_a_gateway_equal_the_api(world, client: httpx.Client) -> None:
    world.job(world.study())
    with Ledger(world.ledger.path, read_only=True) as ledger:
        store = LedgerStore(ledger)
        assert store.studies(ANY, None, Cut(50)) == client.get("/api/v1/studies").json()
        assert store.study("key0001") == client.get("/api/v1/studies/key0001").json()
        json.dumps(store.study("key0001"))
        assert store.study("nothing") is None


def test_timeline_very_long_keeps_the_newest(world, client: httpx.Client, monkeypatch) -> None:
    monkeypatch.setattr("gateway.api.studies.listings.MAX_TIMELINE", 2)
    uid = world.study()
    world.job(uid)
    study = client.get(f"/api/v1/studies/{uid}").json()
    assert [line["event"] for line in study["timeline"]] == ["study.completed", "job.planned"]
    assert study["timeline_left_out"] == 1


CHANGED = {
    "structure": "spleen",
    "then_ml": 100.0,
    "now_ml": 112.5,
    "change_ml": 12.5,
    "change_percent": 12.5,
    "not_compared": None,
}


def test_job_says_what_its_result_was_compared_with(world, client: httpx.Client) -> None:
    earlier, uid = world.study(1), world.study(2)
    prior, job_key = world.job(earlier), world.job(uid)
    assert client.get(f"/api/v1/jobs/{job_key}").json()["comparison"] is None
    compared = {"prior_study_uid": earlier, "prior_job_key": prior, "prior_date": "2026-03-04"}
    world.compare(job_key, **compared, interval_days=91, changes=[CHANGED])
    shown = {"why_none": "", **compared, "interval_days": 91, "structures": [CHANGED]}
    assert client.get(f"/api/v1/jobs/{job_key}").json()["comparison"] == shown
    (job,) = client.get(f"/api/v1/studies/{uid}").json()["jobs"]
    assert job["comparison"] == shown
    (listed,) = client.get("/api/v1/studies?limit=1").json()["items"]
    assert [job["comparison"] for job in listed["jobs"]] == [None]  # it may be long
    assert client.get(f"/api/v1/jobs/{prior}").json()["comparison"] is None


def test_job_says_why_its_result_was_compared_with_none(world, client: httpx.Client) -> None:
    job_key = world.job(world.study())
    world.compare(job_key, why_none="there is none")
    shown = client.get(f"/api/v1/jobs/{job_key}").json()["comparison"]
    assert (shown["why_none"], shown["prior_date"], shown["interval_days"]) == ("there is none", None, None)
    assert shown["structures"] == []
