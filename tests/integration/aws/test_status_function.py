"""The status API in the cloud, called as AWS calls it, over what a real ledger mirrored into moto's table."""

import hashlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from prometheus_client.parser import text_string_to_metric_families

from batch_job.contract import CONTRACT
from gateway.api import models
from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.probes.readiness import Readiness
from gateway.cloud.status_function import cloud_status_api
from gateway.cloud.uploads import NoUploads
from gateway.config import Config, ConfigError
from gateway.ledger.states import DeliveryEvent, JobEvent
from tests.cloud_status import ADMIN, HANDLER, VIEWER, Function
from tests.cloud_uploads import NEWS_HANDLER, VARIABLES
from tests.doubles.recording_proxy import RecordingProxy
from tests.mirrored_ledger import MirroredLedger, make_table

pytestmark = pytest.mark.usefixtures("aws_environment")

NOT_MIRRORED: dict[str, Any] = {
    "modalities": [],
    "senders": [],
    "last_step": None,
    **dict.fromkeys(("study_uid", "queue_id", "run_of", "waiting_since", "next_try", "delivery_key")),
    **dict.fromkeys(("patient_id", "accession_number", "study_date", "study_description", "series_uid"), ""),
    "series": [],
    "warnings": [],
    "runs": [],
}
"""What the cloud does not know, and says instead."""


@pytest.fixture
def ledger(tmp_path: Path, fresh_moto: str) -> Iterator[MirroredLedger]:
    ledger = MirroredLedger(tmp_path / "ledger.sqlite", fresh_moto, make_table(fresh_moto), site="north")
    ledger.open()
    yield ledger
    ledger.close()


@pytest.fixture
def function(ledger: MirroredLedger, monkeypatch: pytest.MonkeyPatch) -> Function:
    return Function(monkeypatch, ledger.table)


@pytest.fixture
def job(ledger: MirroredLedger) -> str:
    """The job of a study that is under way, mirrored."""
    job_key = ledger.job(ledger.study(1))
    ledger.ship()
    return job_key


def _as_mirrored(known: Any, *, name: str = "") -> Any:
    """The gateway's answer without what the cloud does not know; details and reasons are looked at apart."""
    if name in NOT_MIRRORED:
        return NOT_MIRRORED[name]
    if name in ("reason", "why", "since", "sentence", "detail"):
        return None
    if isinstance(known, dict):
        return {key: _as_mirrored(value, name=key) for key, value in known.items()}
    return [_as_mirrored(value) for value in known] if isinstance(known, list) else known


def _some_studies(ledger: MirroredLedger) -> list[str]:
    """One study in each state; their jobs' keys."""
    ledger.study(1, images=3)
    running, failed, done = (ledger.job(ledger.study(number)) for number in (2, 3, 4))
    ledger.move(running, JobEvent.SUBMITTED, run=1, columns={"run": 1})
    ledger.move(running, JobEvent.STARTED, run=1)
    ledger.progress(running, 0.25)
    ledger.move(failed, JobEvent.FAILED, reason="a sentence for a person", exit_code=2)
    key = ledger.encode(done)
    with ledger.ledger.transaction() as transaction:
        transaction.move_delivery(key, DeliveryEvent.SENT)
    ledger.ship()
    ledger.counts.work()
    return [running, failed, done]


# -- what is known ----------------------------------------------------------------------------------------


def test_studies_in_the_cloud_are_those_of_the_gateway(ledger: MirroredLedger, function: Function) -> None:
    _some_studies(ledger)
    here = LedgerStore(ledger.ledger)
    for number in range(1, 5):
        known, answer = here.study(f"key{number:04}"), function.get(f"/api/v1/studies/key{number:04}").json()
        models.Study.model_validate(answer)
        assert known is not None
        assert _as_mirrored(answer) == _as_mirrored(known)
        lines = zip(answer["timeline"], known["timeline"], strict=True)
        assert all(line["detail"].items() <= of_gateway["detail"].items() for line, of_gateway in lines)
        assert answer == {**answer, **{k: v for k, v in NOT_MIRRORED.items() if k in answer}}
    listed = function.get("/api/v1/studies").json()
    assert listed["next_cursor"] is None
    assert {one["study_key"]: one["state"] for one in listed["items"]} == {
        "key0001": "receiving", "key0002": "processing", "key0003": "failed", "key0004": "done",
    }  # fmt: skip


def test_jobs_in_the_cloud_are_those_of_the_gateway(ledger: MirroredLedger, function: Function) -> None:
    here = LedgerStore(ledger.ledger)
    for key in _some_studies(ledger):
        answer = function.get(f"/api/v1/jobs/{key}").json()
        models.Job.model_validate(answer)
        assert _as_mirrored(answer) == _as_mirrored(here.job(key))
    running = function.get("/api/v1/jobs/job-of-2").json()
    assert (running["progress"], running["attempts"]) == ({"stage": "segment", "fraction": 0.25}, 1)


def test_reasons_in_the_cloud_are_codes_and_nothing_tells_of_the_patient(
    ledger: MirroredLedger, function: Function
) -> None:
    _some_studies(ledger)
    failed, done = (function.get(f"/api/v1/studies/key{number:04}") for number in (3, 4))
    assert failed.json()["reason"] == "job_failed exit=2"
    assert failed.json()["jobs"][0]["reason"] == "failed exit=2"
    assert failed.json()["timeline"][-2]["detail"] == {"exit_code": 2}
    assert (done.json()["state"], done.json()["reason"]) == ("done", "delivered")
    for telling in (b"PID", b"ACC", b"ABDOMEN", b"1.2.826", b"TELLTALE", b"a sentence"):
        assert telling not in failed.content + done.content


def test_study_by_its_uid_or_unknown_is_not_found(ledger: MirroredLedger, function: Function) -> None:
    uid = ledger.study(1)
    ledger.ship()
    for path in (f"studies/{uid}", "studies/key0009", "jobs/none", "jobs/none/preview.png"):
        answer = function.get(f"/api/v1/{path}")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


def test_studies_of_one_state_are_listed_alone(ledger: MirroredLedger, function: Function) -> None:
    _some_studies(ledger)
    for state, number in (("receiving", 1), ("processing", 2), ("failed", 3), ("done", 4)):
        items = function.get("/api/v1/studies", state=state).json()["items"]
        assert [one["study_key"] for one in items] == [f"key{number:04}"]


def test_quarantine_in_the_cloud_is_empty(function: Function) -> None:
    nothing = {"items": [], "next_cursor": None, "waiting": 0, "reasons": [], "senders": []}
    assert function.get("/api/v1/quarantine").json() == nothing
    assert function.get("/api/v1/quarantine", cursor="none-of-ours").status == 422


def test_metrics_in_the_cloud_are_those_of_the_gateway(ledger: MirroredLedger, function: Function) -> None:
    _some_studies(ledger)
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(function.get("/metrics").content.decode())
        for sample in family.samples
    }
    states = ("receiving", "processing", "failed", "done")
    assert [samples["iris_studies", state] for state in states] == [1, 1, 1, 1]
    assert [samples["iris_jobs", state] for state in ("running", "failed", "delivered", "staged")] == [
        1, 1, 1, 0,
    ]  # fmt: skip
    assert samples["iris_deliveries", "sent"] == 1
    assert samples["iris_instances_stored",] == 9
    assert 0 < samples["iris_oldest_open_study_age_seconds",] < 300
    assert ("iris_disk_free_bytes",) not in samples


def test_metrics_in_the_cloud_add_up_every_site_and_cost_one_request_however_many_studies_there_are(
    ledger: MirroredLedger, function: Function, tmp_path: Path, recording_proxy: RecordingProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    south = MirroredLedger(tmp_path / "south.sqlite", ledger.url, ledger.table, site="south")
    south.open()
    for number in range(10, 40):
        south.job(south.study(number))
    south.counts.work()
    south.close()
    _some_studies(ledger)
    monkeypatch.setenv("AWS_ENDPOINT_URL", recording_proxy.url)
    function = Function(monkeypatch, ledger.table)
    recording_proxy.sent.clear()
    said = function.get("/metrics").content.decode()
    assert 'iris_studies{state="processing"} 31.0' in said
    assert 'iris_jobs{state="planned"} 30.0' in said
    assert recording_proxy.operations() == ["Query"]


def test_overview_in_the_cloud_counts_the_table_and_leaves_out_what_a_gateway_alone_knows(
    ledger: MirroredLedger, function: Function
) -> None:
    _some_studies(ledger)
    found = function.get("/api/v1/overview").json()
    assert found["counts"]["studies"]["failed"] == 1
    assert (found["queue"]["running"], found["verdict"]["level"]) == (1, "failed")
    assert [found[name] for name in ("started", "today", "disk", "workers", "associations", "aws")] == [
        None
    ] * 6
    for answer in (function.get("/api/v1/history"), function.post("/api/v1/destinations/pacs/test", ADMIN)):
        assert (answer.status, answer.headers["content-type"]) == (501, "application/problem+json")


def test_openapi_in_the_cloud_is_that_of_the_gateway(ledger: MirroredLedger, function: Function) -> None:
    api = create_api(
        LedgerStore(ledger.ledger), LedgerActions(ledger.ledger), lambda: Readiness(True), None,
        Access("token"), _NoFiles(), NoUploads(), mirror=ledger.control,
    )  # fmt: skip
    assert function.get("/openapi.json").json() == api.openapi()


def test_search_in_the_cloud_is_the_gateways_and_says_so(function: Function) -> None:
    answer = function.get("/api/v1/studies", q="P-1")
    assert answer.status == 501
    assert "search at the gateway" in answer.json()["detail"]


def test_dicom_in_the_cloud_is_taken_by_gateways_only(function: Function) -> None:
    for path in ("/dicom-web/studies", "/dicom-web/studies/1.2.3"):
        answer = function.post(path)
        assert (answer.status, answer.headers["content-type"]) == (501, "application/problem+json")
        assert "gateway of the site" in answer.json()["detail"]


class _NoFiles:
    def located(self, job_key: str, name: str) -> None:
        return None


def test_function_only_queries_scans_and_reads(
    ledger: MirroredLedger, recording_proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = _some_studies(ledger)
    boto3.client("s3").create_bucket(Bucket="iris-data")
    monkeypatch.setenv("AWS_ENDPOINT_URL", recording_proxy.url)
    function = Function(monkeypatch, ledger.table)
    for path in (
        "studies",
        "studies/key0004",
        f"jobs/{keys[2]}",
        f"jobs/{keys[2]}/preview.png",
        "quarantine",
    ):
        function.get(f"/api/v1/{path}")
    function.get("/metrics")
    function.post(f"/api/v1/jobs/{keys[0]}/cancel")
    assert {sent.operation or sent.method for sent in recording_proxy.sent} == {"Query", "GET"}


# -- what is not done here --------------------------------------------------------------------------------


def test_action_in_the_cloud_names_the_gateway_that_does_it(job: str, function: Function) -> None:
    paths = (
        f"jobs/{job}/retry",
        f"jobs/{job}/cancel",
        "studies/key0001/complete",
        "studies/key0001/forget",
        f"quarantine/{job}/release",
    )
    for path in paths:
        answer = function.post(f"/api/v1/{path}")
        assert (answer.status, answer.headers["content-type"]) == (501, "application/problem+json")
        assert "the gateway north" in answer.json()["detail"]
        assert function.post(f"/api/v1/{path.replace('1', '9')}").status == 404


def test_what_is_asked_of_many_at_once_in_the_cloud_is_each_gateways(function: Function) -> None:
    answer = function.post_json("/api/v1/actions", {"action": "retry"})
    assert (answer.status, "each gateway" in answer.json()["detail"]) == (501, True)
    assert function.post("/api/v1/deliveries/abc/resend").status == 404
    assert function.get("/api/v1/destinations").json() == {"items": []}


def test_choice_of_a_volume_in_the_cloud_names_the_gateway_that_does_it(job: str, function: Function) -> None:
    choice = {"series_uid": "1.2.3", "number": 1}
    answer = function.post_json("/api/v1/studies/key0001/use", choice)
    assert (answer.status, "the gateway north" in answer.json()["detail"]) == (501, True)
    assert function.post_json("/api/v1/studies/key0009/use", choice).status == 404


def test_stream_and_rebuild_in_the_cloud_are_refused_with_the_way_out(job: str, function: Function) -> None:
    stream = function.get("/api/v1/events")
    assert (stream.status, stream.json()["title"]) == (501, "Not Implemented")
    assert "ask for the lists again" in stream.json()["detail"]
    rebuild = function.post("/api/v1/mirror/rebuild")
    assert (rebuild.status, "iris mirror rebuild" in rebuild.json()["detail"]) == (501, True)
    assert function.get("/api/v1/mirror").json()["on"] is False


def test_destinations_of_gateways_are_not_known_in_the_cloud(function: Function) -> None:
    assert function.get("/api/v1/destinations").json() == {"items": []}


# -- files ------------------------------------------------------------------------------------------------


def test_file_of_a_job_is_a_url_that_gives_what_the_manifest_names(
    job: str, function: Function, fresh_moto: str
) -> None:
    boto3.client("s3").create_bucket(Bucket="iris-data")
    assert function.get(f"/api/v1/jobs/{job}/statistics.json").status == 404
    content = b'{"bone": {"volume_ml": 1.5}}'
    _leave_statistics("site", job, content)
    answer = function.get(f"/api/v1/jobs/{job}/statistics.json")
    assert (answer.status, answer.content) == (307, b"")
    with urllib.request.urlopen(answer.headers["location"], timeout=60) as download:
        assert download.read() == content
    assert function.get(f"/api/v1/jobs/{job}/preview.png").status == 404


@pytest.mark.parametrize(("files_of", "status"), [("own", 404), ("all", 307)])
def test_files_of_another_site_in_the_table_are_found_under_its_own_prefix_where_that_is_wanted(
    job: str,
    ledger: MirroredLedger,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files_of: str,
    status: int,
) -> None:
    boto3.client("s3").create_bucket(Bucket="iris-data")
    function = Function(monkeypatch, ledger.table, also={"IRIS_MIRROR__FILES_OF": files_of})
    south = MirroredLedger(tmp_path / "south.sqlite", ledger.url, ledger.table, site="south", prefix="south")
    south.open()
    theirs = south.job(south.study(7))
    south.ship()
    south.close()
    _leave_statistics("south", theirs, b"{}")
    _leave_statistics("site", job, b"{}")
    answer = function.get(f"/api/v1/jobs/{theirs}/statistics.json")
    assert answer.status == status
    assert ("/south/jobs/" in answer.headers.get("location", "")) == (status == 307)
    assert "/site/jobs/" in function.get(f"/api/v1/jobs/{job}/statistics.json").headers["location"]


def _leave_statistics(prefix: str, job: str, content: bytes) -> None:
    s3 = boto3.client("s3")
    output = {
        "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content),
        "path": "attempts/2/statistics.json",
    }  # fmt: skip
    manifest = {
        "contract": CONTRACT, "job_key": job, "outputs": {"statistics.json": output}, "labels": {"1": "bone"},
        "engine": {"name": "threshold", "version": "1", "weights": "none"}, "seconds": {}, "peak_rss_mb": 1,
        "attempt": 2,
    }  # fmt: skip
    folder = f"{prefix}/jobs/{job}"
    s3.put_object(Bucket="iris-data", Key=f"{folder}/attempts/2/statistics.json", Body=content)
    s3.put_object(Bucket="iris-data", Key=f"{folder}/manifest.json", Body=json.dumps(manifest).encode())


# -- who may ask ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "reading", "acting"),
    [
        (None, 401, 401),
        ("", 403, 403),
        ("[reader administrators]", 403, 403),
        (VIEWER, 200, 403),
        ("[others viewer]", 200, 403),
        (ADMIN, 200, 501),
        ("admin", 200, 501),
        ("[viewer,admin]", 403, 403),
        ("[viewer admin]", 200, 501),
    ],
)
def test_request_in_the_cloud_is_let_pass_by_the_groups_of_its_token(
    job: str, function: Function, groups: str | None, reading: int, acting: int
) -> None:
    for path in ("/api/v1/studies", "/api/v1/studies/key0001", "/metrics", "/openapi.json", "/"):
        answer = function.get(path, groups)
        assert answer.status == reading, path
        assert b"key0001" not in answer.content or reading == 200
    assert function.post(f"/api/v1/jobs/{job}/cancel", groups).status == acting
    assert function.get("/healthz", groups).status == 200


def test_request_without_claims_is_told_to_sign_in_whatever_headers_it_brings(function: Function) -> None:
    answer = function.get("/api/v1/studies", None)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


# -- when something is missing ----------------------------------------------------------------------------


def test_table_that_is_not_there_is_said(fresh_moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = Function(monkeypatch, "no-such-table")
    answer = function.get("/api/v1/studies")
    assert (answer.status, "no-such-table" in answer.json()["detail"]) == (503, True)
    ready = function.get("/readyz", None)
    assert (ready.status, ready.json()["ready"]) == (200, True)
    assert "no-such-table" in ready.json()["degraded"][0]


def test_table_that_answers_leaves_nothing_degraded(function: Function) -> None:
    assert function.get("/readyz", None).json() == {"ready": True, "reasons": [], "degraded": []}


def test_function_without_its_settings_is_refused_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"mirror: backend = 'dynamodb' needs table"):
        Function(monkeypatch, "")


def test_app_of_a_gateways_configuration_is_refused_with_what_is_missing() -> None:
    with pytest.raises(
        ConfigError, match=r"api\.auth = 'cognito' and mirror\.backend = .* and objects\.backend"
    ):
        cloud_status_api(Config())


@pytest.mark.parametrize("handler", [HANDLER, NEWS_HANDLER], ids=["status", "job news"])
def test_function_imports_nothing_that_its_requirements_do_not_name(
    aws_environment: dict[str, str], handler: Path
) -> None:
    program = (
        "import importlib.util, sys\n"
        "for name in sys.argv[2:]: sys.modules[name] = None\n"
        "spec = importlib.util.spec_from_file_location('handler', sys.argv[1])\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "rooms = ('app', 'arrival', 'making', 'running', 'listener', 'delivery')\n"
        "print([room for room in rooms if f'gateway.{room}' in sys.modules])\n"
    )
    variables = {
        "IRIS_API__AUTH": "cognito", "IRIS_MIRROR__BACKEND": "dynamodb", "IRIS_MIRROR__TABLE": "table",
        "IRIS_OBJECTS__BACKEND": "s3", "IRIS_OBJECTS__BUCKET": "bucket", **VARIABLES,
    }  # fmt: skip
    blocked = (
        "pydicom", "numpy", "highdicom", "pynetdicom", "nibabel", "scipy", "skimage", "PIL", "isal",
        "dcm2niix", "converter", "httpx", "rich", "tenacity", "typer", "uvicorn",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program, str(handler), *blocked],
        env={**aws_environment, **variables}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
