"""What was put aside: a person looks at it, saves it, takes it in after all, or dismisses it."""

import ast
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset, config, dcmread, dcmwrite
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.probes.readiness import Readiness
from gateway.api.server import ApiServer
from gateway.cli import app
from gateway.files.names import API_ADDRESS_NAME
from gateway.ledger.quarantine import REASONS
from gateway.ledger.retention import remove_put_aside
from gateway.ledger.watched import kept_counts
from gateway.listener.intake.filing import NOTHING_SAID, Said, Sender
from gateway.listener.intake.received import found
from gateway.listener.intake.shown import MOST_ELEMENTS, MOST_LETTERS
from gateway.listener.put_aside import PutAside
from tests.nifti import uploads_of

ROOT = Path(__file__).parents[2]
OTHER = Said(study_uid="1.2.3.4")


class Site:
    """An intake, and the API on its quarantine."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate
        put_aside = PutAside(gate.ledger, gate.intake)
        api = create_api(
            LedgerStore(gate.ledger),
            LedgerActions(gate.ledger, put_aside.take_in),
            lambda: Readiness(True),
            None,
            Access(None),
            None,  # type: ignore[arg-type]
            uploads_of(gate.ledger, gate.data_dir),
            put_aside=put_aside,
        )
        self.server = ApiServer(api, "127.0.0.1", 0)
        self.server.start()
        host, port = self.server.address
        self.client = httpx.Client(
            base_url=f"http://{host}:{port}", trust_env=False, timeout=30, verify=False
        )

    def comes(self, content: Dataset | bytes, said: Said = NOTHING_SAID, sender: str = "PACS") -> None:
        path = self.gate.data_dir / "incoming" / "came.part"
        if isinstance(content, Dataset):
            dcmwrite(path, content, enforce_file_format=True)
        else:
            path.write_bytes(content)
        self.gate.intake.file(found(path), Sender(sender, 1), said)
        path.unlink(missing_ok=True)

    def items(self, **asked: Any) -> list[dict[str, Any]]:
        answer = self.client.get("/api/v1/quarantine", params=asked)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def ask(self, key: str, what: str) -> Any:
        return self.client.post(f"/api/v1/quarantine/{key}/{what}")

    def act(self, action: str, dry_run: bool = False, **meant: str) -> Any:
        return self.client.post(
            "/api/v1/actions", json={"action": action, "filter": meant, "dry_run": dry_run}
        ).json()


@pytest.fixture
def site(make_gate: Callable[..., Any]) -> Iterator[Site]:
    site = Site(make_gate())
    with site.client:
        yield site
    site.server.stop()


@pytest.fixture
def image(small_study: Path) -> Dataset:
    return dcmread(min(small_study.iterdir()))


def test_every_code_of_an_object_says_what_happened_and_what_to_do() -> None:
    codes = {
        node.args[0].value
        for path in (ROOT / "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("Damaged", "NotReadable")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert codes | {"held", "found_again"} == set(REASONS)
    for reason in REASONS.values():
        assert reason.what.endswith(".")
        assert reason.to_do.endswith(".")


# -- taken in after all -----------------------------------------------------------------------------------


def test_object_whose_request_was_wrong_is_taken_in_as_what_it_says_itself(
    site: Site, image: Dataset
) -> None:
    site.comes(image, OTHER)
    [item] = site.items()
    assert (item["reason"], item["releasable"], item["study_key"]) == ("another_study", True, None)
    [path] = site.gate.files("quarantine")
    content = path.read_bytes()
    answer = site.ask(item["key"][:12], "release")
    assert answer.json() == {"kind": "object", "key": item["key"], "state": "released"}
    [row] = site.gate.instances()
    assert (row.sop_instance_uid, row.sender) == (image.SOPInstanceUID, "PACS")
    assert (site.gate.data_dir / row.path).read_bytes() == content
    assert site.items() == site.items(dismissed=True) == site.gate.files("incoming") == []
    line = next(line for line in site.gate.timeline() if line.event == "instance.released")
    assert (line.study_uid, line.detail["key"]) == (image.StudyInstanceUID, item["key"])
    removals = site.gate.ledger.read("SELECT name FROM removals WHERE kind = 'file'")
    assert [row["name"] for row in removals] == [f"quarantine/{item['key']}.dcm"]


def test_object_that_would_be_put_aside_again_stays_and_the_answer_says_why(
    site: Site, image: Dataset
) -> None:
    site.comes(image)
    image.SeriesInstanceUID = generate_uid()
    site.comes(image)
    [item] = site.items()
    assert (item["reason"], item["releasable"]) == ("same_uid_elsewhere", False)
    answer = site.ask(item["key"], "release")
    assert answer.status_code == 409
    assert "cannot be taken in: the same SOP Instance UID is kept under another" in answer.json()["detail"]
    [again] = site.items()
    assert again == item
    assert len(site.gate.files("quarantine")) == 1
    assert site.gate.files("incoming") == []


def test_object_that_is_known_by_now_leaves_the_quarantine_and_is_kept_once(
    site: Site, image: Dataset
) -> None:
    site.comes(image, OTHER)
    [item] = site.items()
    site.comes(image)
    assert site.ask(item["key"], "release").status_code == 202
    assert len(site.gate.instances()) == len(site.gate.files("instances")) == 1
    assert site.items() == []


def test_object_whose_file_is_gone_says_so(site: Site, image: Dataset) -> None:
    site.comes(image, OTHER)
    [item] = site.items()
    [path] = site.gate.files("quarantine")
    path.unlink()
    for answer in (
        site.ask(item["key"], "release"),
        site.client.get(f"/api/v1/quarantine/{item['key']}/header"),
        site.client.get(f"/api/v1/quarantine/{item['key']}/object"),
    ):
        assert (answer.status_code, "is not there any more" in answer.json()["detail"]) == (409, True)


# -- dismissed --------------------------------------------------------------------------------------------


def test_dismissed_object_stays_on_the_disk_out_of_the_list_until_it_is_old(
    site: Site, image: Dataset
) -> None:
    site.comes(image, OTHER)
    site.comes(b"no DICOM at all")
    broken = next(item for item in site.items() if item["reason"] == "not_dicom")
    assert kept_counts(site.gate.ledger)["quarantine", ""] == 2
    assert site.ask(broken["key"], "dismiss").json()["state"] == "dismissed"
    assert [item["reason"] for item in site.items()] == ["another_study"]
    [dismissed] = site.items(dismissed=True)
    assert (dismissed["key"], dismissed["dismissed_by"]) == (broken["key"], "anyone")
    assert kept_counts(site.gate.ledger)["quarantine", ""] == 1
    assert len(site.gate.files("quarantine")) == 2
    assert site.ask(broken["key"], "dismiss").status_code == 409
    site.comes(b"no DICOM at all")  # a person has seen these bytes
    assert [item["times"] for item in site.items(dismissed=True)] == [2]
    with site.gate.ledger.transaction() as transaction:
        assert remove_put_aside(transaction, "9999", 10) == 2
    assert site.items() == site.items(dismissed=True) == []
    assert kept_counts(site.gate.ledger)["quarantine", ""] == 0


def test_dismissal_is_a_line_with_its_author_in_the_study(site: Site, image: Dataset) -> None:
    site.comes(image)
    image.SeriesInstanceUID = generate_uid()
    site.comes(image)
    [item] = site.items()
    site.ask(item["key"], "dismiss")
    line = next(line for line in site.gate.timeline() if line.event == "instance.dismissed")
    assert (line.study_uid, line.detail["by"]) == (image.StudyInstanceUID, "anyone")


# -- many -------------------------------------------------------------------------------------------------


@pytest.fixture
def several(site: Site, image: Dataset) -> Site:
    """Three that are no DICOM, of two senders, and one that came to a wrong address."""
    for number, sender in enumerate(("CT1", "CT1", "CT2")):
        site.comes(f"nothing {number}".encode(), sender=sender)
    site.comes(image, OTHER, "CT2")
    return site


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ({}, 4),
        ({"reason": "not_dicom"}, 3),
        ({"sender": "CT1"}, 2),
        ({"reason": "not_dicom", "sender": "CT2"}, 1),
        ({"reason": "held"}, 0),
        ({"dismissed": True}, 0),
    ],
)
def test_quarantine_is_narrowed_down_and_read_in_pages(
    several: Site, asked: dict[str, Any], number: int
) -> None:
    whole = [item["key"] for item in several.items(**asked)]
    assert len(whole) == number
    paged: list[str] = []
    cursor = {}
    while True:
        page = several.client.get("/api/v1/quarantine", params={**asked, **cursor, "limit": 1}).json()
        paged += [item["key"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == whole
    assert page["waiting"] == 4
    assert [each["reason"] for each in page["reasons"]] == ["another_study", "not_dicom"]
    assert page["senders"] == ["CT1", "CT2"]


def test_bulk_dismissal_says_first_how_many_then_does_it(several: Site) -> None:
    assert several.act("dismiss", dry_run=True, reason="not_dicom")["count"] == 3
    assert len(several.items()) == 4
    assert several.act("dismiss", reason="not_dicom", object_sender="CT1")["count"] == 2
    assert [item["sender"] for item in several.items()] == ["CT2", "CT2"]
    assert several.act("dismiss")["count"] == 2
    assert several.act("dismiss")["count"] == 0


def test_bulk_release_takes_in_what_can_be_and_leaves_the_others(several: Site) -> None:
    said = several.act("release", object_sender="CT2")
    assert (said["count"], said["left_alone"]) == (1, 1)
    assert "cannot be parsed as DICOM" in said["why"]
    assert [item["reason"] for item in several.items(sender="CT2")] == ["not_dicom"]


def test_other_actions_know_nothing_of_the_quarantine(several: Site) -> None:
    [key] = [item["key"] for item in several.items(reason="another_study")]
    assert several.act("retry", object_sender="CT1")["status"] == 409
    assert several.act("cancel", key=key)["status"] == 404
    assert several.act("dismiss", key=key, dry_run=True)["keys"] == [key]


# -- looked at --------------------------------------------------------------------------------------------


def _header(site: Site) -> dict[str, Any]:
    [item] = site.items()
    answer = site.client.get(f"/api/v1/quarantine/{item['key']}/header")
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def test_header_is_shown_with_long_values_cut_and_bytes_left_out(
    site: Site, image: Dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    image.PatientName = "Nobody^Known"
    image.ImageComments = "long " * 100
    with config.disable_value_validation():
        image.LossyImageCompression = "no such value, since it is far too long"
    image.add_new(0x00091001, "OB", b"\0" * 20_000)
    image.ReferencedStudySequence = [Dataset()]
    image.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2.3"
    site.comes(image, OTHER)
    header = _header(site)
    found = {each["keyword"] or each["tag"]: each for each in header["elements"]}
    assert (header["is_dicom"], header["nature"], header["left_out"]) == (True, "a DICOM object", 0)
    assert found["PatientName"] == {
        "tag": "(0010,0010)", "keyword": "PatientName", "depth": 0, "vr": "PN", "value": "Nobody^Known",
    }  # fmt: skip
    assert len(found["ImageComments"]["value"]) == MOST_LETTERS + 1
    assert found["(0009,1001)"]["value"] == "20000 bytes, not shown"
    assert found["ReferencedStudySequence"]["value"] == "1 items"
    assert (found["ReferencedSOPInstanceUID"]["depth"], found["ReferencedSOPInstanceUID"]["value"]) == (
        1, "1.2.3",
    )  # fmt: skip
    assert "PixelData" not in found
    assert found["TransferSyntaxUID"]["tag"] == "(0002,0010)"
    logged = "".join(capfd.readouterr())
    assert "Nobody" not in logged
    assert "far too long" not in logged


def test_header_of_very_many_elements_says_how_many_are_left_out(site: Site, image: Dataset) -> None:
    for number in range(2 * MOST_ELEMENTS):
        image.add_new(0x00110000 + 0x1000 + number, "LO", "x")
    site.comes(image, OTHER)
    header = _header(site)
    assert len(header["elements"]) == MOST_ELEMENTS
    assert header["left_out"] > MOST_ELEMENTS


@pytest.mark.parametrize(
    ("content", "nature"),
    [
        (b"\xff\xd8\xff\xe0 a photograph", "a JPEG image"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<html>", "text like XML or HTML"),
        (b"just words", "text"),
        (b"\0" * 300, "nothing, or zeros only"),
        (bytes(range(1, 32)), "bytes of no kind that is known here"),
    ],
)
def test_what_is_no_dicom_shows_its_nature_alone(site: Site, content: bytes, nature: str) -> None:
    site.comes(content)
    header = _header(site)
    assert (header["is_dicom"], header["nature"], header["elements"]) == (False, nature, [])
    assert header["size_bytes"] == len(content)


def test_object_cut_short_shows_what_of_it_is_there(site: Site, image: Dataset) -> None:
    stream = io.BytesIO()
    dcmwrite(stream, image, enforce_file_format=True)
    whole = stream.getvalue()
    for content in (whole[:2000], whole[:700], whole[:300]):
        site.comes(content)
    assert len(site.items()) == 3
    for item in site.items():
        header = site.client.get(f"/api/v1/quarantine/{item['key']}/header").json()
        assert header["elements"][0]["keyword"] == "FileMetaInformationGroupLength"


def test_object_is_given_as_it_came(site: Site) -> None:
    site.comes(b"whatever it is")
    [item] = site.items()
    answer = site.client.get(f"/api/v1/quarantine/{item['key'][:16]}/object")
    assert answer.content == b"whatever it is"
    assert answer.headers["content-type"] == "application/dicom"
    assert f'filename="{item["key"][:16]}.dcm"' in answer.headers["content-disposition"]
    assert site.client.get("/api/v1/quarantine/nothing/object").status_code == 404


def test_quarantine_taken_away_from_under_it_says_so(site: Site) -> None:
    site.comes(b"whatever it is")
    [item] = site.items()
    shutil.rmtree(site.gate.data_dir / "quarantine")
    assert site.client.get(f"/api/v1/quarantine/{item['key']}/object").status_code == 409


# -- the command line -------------------------------------------------------------------------------------


def test_iris_quarantine_shows_saves_releases_and_dismisses(
    several: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = several.gate.data_dir
    (data_dir / API_ADDRESS_NAME).write_text(str(several.client.base_url))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{data_dir}"\n')

    def iris(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--config", "iris.toml"])
        assert result.exit_code == 0, result.output
        return result.stdout

    [sound] = several.items(reason="another_study")
    listed = iris("quarantine", "--sender", "CT2").splitlines()
    assert [line for line in listed if line.startswith(sound["key"][:16])]
    assert listed[-2].startswith("`iris release KEY` lets a job go on, or takes an object in")
    shown = iris("quarantine", "show", sound["key"][:16])
    assert shown.startswith("another_study: the request was for another study than the data set says")
    assert "Release files it under the study that it names itself" in shown
    assert re.search(r"\(0010,0010\)\s+PN\s+PatientName", shown)
    saved = iris("quarantine", "save", sound["key"][:16])
    assert saved.startswith(f"{sound['key'][:16]}.dcm: ")
    kept = data_dir / "quarantine" / f"{sound['key']}.dcm"
    assert (tmp_path / f"{sound['key'][:16]}.dcm").read_bytes() == kept.read_bytes()
    again = CliRunner().invoke(app, ["quarantine", "save", sound["key"][:16], "--config", "iris.toml"])
    assert (again.exit_code, "exists" in again.stderr) == (1, True)
    assert iris("release", sound["key"][:16]) == "1 job or object is released\n"
    assert iris("quarantine", "dismiss", "--all", "--sender", "CT1", "--yes") == "2 objects are dismissed\n"
    assert len(iris("quarantine", "--dismissed").splitlines()) == 3
    [left] = several.items()
    assert iris("quarantine", "dismiss", left["key"][:16]) == "1 object is dismissed\n"
    assert iris("quarantine") == "nothing waits for a person\n"
