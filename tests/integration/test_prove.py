"""`iris prove` between a gateway with its real engine and a PACS that does right, or one thing wrong."""

import copy
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import SegmentationStorage
from typer.testing import CliRunner

from gateway.adapters.dicom.peer import Peer
from gateway.app import App
from gateway.cli import app
from gateway.config import Config
from gateway.prove.at_gateway import AtGateway
from gateway.prove.clearing import cleared
from gateway.prove.commitment import commitment
from gateway.prove.course import WAY
from gateway.prove.forms import TRIALS, duplicates, forms_kept
from gateway.prove.pacs import Pacs
from gateway.prove.phantom import POSES, write_phantom
from gateway.prove.run import Wanted, run_proof
from gateway.prove.scene import Finding, Scene
from gateway.prove.stations import Report, StationFailed, Verdict
from tests.doubles.site_pacs import AE_TITLE, SitePacs
from tests.quick_start import IRIS, quick_python

WAIT_S = 60.0
STEPS = dict(WAY)
TAKEN = {"BodyPartExamined": "CHEST"}
"""What the rule looks for: a phantom that does not say so is not segmented."""


@dataclass
class Site:
    """A gateway and a PACS that know each other."""

    gateway: App
    config: Config
    pacs: SitePacs

    def prove(self, page: Path, **said: str) -> Report:
        wanted = Wanted(self.pacs.peer, "", None, said, WAIT_S, page)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gateway.prove.phantom.POSES", POSES[::3])  # all of them: test_prove_real_pacs.py
            return run_proof(self.config, wanted, lambda _: None, lambda _: None)

    def scene(self, folder: Path, *, wait_s: float = WAIT_S, **said: str) -> Scene:
        """One position only, which is as much as most stations need."""
        now = datetime.now(UTC)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gateway.prove.phantom.POSES", POSES[:1])
            phantom = write_phantom(folder / "phantom", now, said)
        return Scene(
            AtGateway(self.config),
            Pacs(self.pacs.peer, "IRIS", None),
            phantom,
            folder,
            wait_s,
            lambda _: None,
            Report(now),
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "routed").mkdir()
    pacs = SitePacs(folder / "routed")
    stop = pacs.start()
    config = Config(
        site={"data_dir": folder / "data", "low_water_mb": 0},
        dicom={"port": 0},
        api={"port": 0},
        study={"quiet_s": 0.1, "timeout_s": 2.0},
        destination=[{"name": "pacs", "ae_title": AE_TITLE, "host": "127.0.0.1", "port": pacs.peer.port}],
        rule=[{"name": "chests", "when": {"Modality": "CT", **TAKEN}}],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.prove.pacs.SETTLE_S", 0.2)
        patch.setattr(sys, "executable", quick_python(IRIS))
        gateway = App(config)
        gateway.start()
        pacs.gateway = Peer("IRIS", *gateway.listener.address)
        yield Site(gateway, config, pacs)
        gateway.stop()
    stop()


@pytest.fixture
def site(running: Site) -> Site:
    running.pacs.behave()
    return running


def failure_of(scene: Scene, *stations: str) -> str:
    """How the last of these stations fails, after the others were passed."""
    *before, last = [STEPS[name] for name in stations]
    for step in before:
        step(scene)
    with pytest.raises(StationFailed) as failed:
        last(scene)
    return str(failed.value)


# -- all right --------------------------------------------------------------------------------------------


def test_prove_with_a_pacs_that_does_all_right_passes_every_station_and_writes_one_page(
    site: Site, tmp_path: Path
) -> None:
    report = site.prove(tmp_path / "page.pdf", **TAKEN)
    assert report.failed is None, report.in_a_line
    verdicts = {station.name: station.verdict for station in report.stations if station.name != "Gateway"}
    names = ["PACS", *STEPS, "Forms", "Duplicates", "Commitment", "Removed"]
    assert verdicts == dict.fromkeys(names, Verdict.PASSED)
    (voxels,) = (station.finding for station in report.stations if station.name == "Voxels")
    assert voxels.startswith(
        f"all {2 * 30 * 112 * 120} voxels of 2 segmentations are right (bone right, back: "
    )
    found = {form.name: form.finding for form in report.forms}
    assert found["LABELMAP RLE"] == "every voxel as the balls lie"
    assert len(report.proven) == 5
    assert report.proven[-1] == (
        "A segmentation of the balls as LABELMAP RLE, made by this test, came back in every voxel."
    )
    page = (tmp_path / "page.pdf").read_bytes()
    assert page.startswith(b"%PDF-1.4")
    assert page.count(b"/Type /Page ") == 1
    accession = re.search(r"IRIS[0-9A-F]{10}", report.facts["Phantom"])
    assert accession
    assert any(f"accession number {accession[0]}" in sentence for sentence in report.to_do)
    study_uid = next(iter(site.pacs.held.values())).StudyInstanceUID
    client = AtGateway(site.config).client
    key = client.study(study_uid)["study_key"][:12]
    assert any(f"then `iris forget {key}`" in sentence for sentence in report.to_do)
    site.pacs.held.clear()  # as a person does
    assert cleared(site.scene(tmp_path / "next")).text == "the gateway has forgotten 1 phantom"
    _until(lambda: not client.is_known(study_uid))


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# -- the images' way --------------------------------------------------------------------------------------


def test_pacs_that_routes_nothing_fails_at_routed_and_says_which_rule_to_make(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.pacs, "gateway", None)
    said = failure_of(site.scene(tmp_path, wait_s=0.5), "Sent", "Kept", "Routed")
    assert said.startswith(
        "the PACS sent nothing of the phantom to the gateway in 0.5 s; make an auto-routing rule"
    )
    assert "sends CT to IRIS" in said


def test_pacs_that_answers_success_and_loses_images_fails_at_kept(site: Site, tmp_path: Path) -> None:
    site.pacs.keeps = lambda image: None if image.InstanceNumber % 3 == 0 else image
    said = failure_of(site.scene(tmp_path), "Sent", "Kept")
    assert said.startswith("it answered success, and shows 20 of 30 images by C-FIND")


def test_pacs_that_routes_a_part_fails_at_routed_with_the_number(site: Site, tmp_path: Path) -> None:
    site.pacs.routes = lambda image: None if image.InstanceNumber == 5 else image
    said = failure_of(site.scene(tmp_path, wait_s=1.5), "Sent", "Kept", "Routed")
    assert said.startswith(f"29 of 30 images came to the gateway, from {AE_TITLE}; let the rule send")


def test_pacs_without_c_find_that_gives_new_study_uids_fails_at_routed(site: Site, tmp_path: Path) -> None:
    def rewritten(image: Dataset) -> Dataset:
        image.StudyInstanceUID = f"{image.StudyInstanceUID[:40]}.9"
        return image

    site.pacs.keeps, site.pacs.has_find = rewritten, False
    scene = site.scene(tmp_path)
    STEPS["Sent"](scene)
    assert STEPS["Kept"](scene).verdict is Verdict.NOTED
    said = failure_of(scene, "Routed")
    assert said.startswith("the phantom came under another Study Instance UID")


def test_pacs_that_breaks_off_at_a_long_pdu_fails_at_sent(site: Site, tmp_path: Path) -> None:
    site.pacs.breaks_at_bytes = 4096
    said = failure_of(site.scene(tmp_path), "Sent")
    assert said.startswith("it broke the association off at image 1 of 30 (")
    assert said.endswith("takes smaller PDUs than it negotiated: lower its maximum PDU to 16384")


def test_pacs_that_coerces_the_patient_fails_at_images_unchanged(site: Site, tmp_path: Path) -> None:
    def coerced(image: Dataset) -> Dataset:
        image.PatientID, image.InstitutionName = "4711", "Hospital"
        return image

    site.pacs.routes = coerced
    said = failure_of(site.scene(tmp_path), "Sent", "Kept", "Routed", "Images unchanged")
    assert "PatientID IRIS-TEST to 4711 (30x)" in said
    assert "take this AE title out of its coercion" in said


def test_pacs_that_adds_what_it_may_passes_with_a_remark(site: Site, tmp_path: Path) -> None:
    def stamped(image: Dataset) -> Dataset:
        image.InstitutionName = "Hospital"
        return image

    site.pacs.routes = stamped
    scene = site.scene(tmp_path)
    for name in ("Sent", "Kept", "Routed"):
        STEPS[name](scene)
    assert STEPS["Images unchanged"](scene) == Finding(
        "the PACS changed InstitutionName added (30x)", "see that no rule needs them", Verdict.NOTED
    )


# -- the results' way -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def delivered(running: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, dict[str, Dataset]]:
    """A scene whose results have been delivered, and what the PACS holds then."""
    running.pacs.behave()
    scene = running.scene(tmp_path_factory.mktemp("delivered"), **TAKEN)
    for name in ("Sent", "Routed", "Chosen", "Segmented", "Delivered"):
        STEPS[name](scene)
    return scene, dict(running.pacs.held)


@pytest.fixture
def after_delivery(site: Site, delivered: tuple[Scene, dict[str, Dataset]], tmp_path: Path) -> Scene:
    """That scene anew, and a PACS that holds the results as they were sent."""
    scene, held = delivered
    site.pacs.held.update(copy.deepcopy(held))
    return replace(scene, folder=tmp_path, returned=[], came_back={}, report=Report(scene.report.began))


def seg_in(pacs: SitePacs) -> Dataset:
    (seg,) = (one for one in pacs.held.values() if one.SOPClassUID == SegmentationStorage)
    return seg


def test_study_that_is_still_waited_for_is_not_said_to_be_taken_by_no_rule(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = site.scene(tmp_path, wait_s=0.1)
    receiving = {"state": "receiving", "reason": "an association is open", "images": 30}
    monkeypatch.setattr(scene.gateway, "study", lambda _: receiving)
    said = failure_of(scene, "Chosen")
    assert said.startswith("the study is not complete after 0.1 s: an association is open; ")


def test_phantom_that_no_rule_takes_fails_at_chosen_with_the_reason(site: Site, tmp_path: Path) -> None:
    said = failure_of(site.scene(tmp_path), "Sent", "Routed", "Chosen")
    assert said.startswith("no rule takes the phantom: ")
    assert "--set KEYWORD=VALUE" in said


def test_pacs_that_drops_segmentations_fails_at_results_kept(site: Site, after_delivery: Scene) -> None:
    del site.pacs.held[seg_in(site.pacs).SOPInstanceUID]
    said = failure_of(after_delivery, "Results kept")
    assert said.startswith("it answered C-STORE of the results with success, and shows 1 of them nowhere")
    assert "1.2.840.10008.5.1.4.1.1.66.4" in said


def test_pacs_that_gives_results_new_uids_fails_at_results_kept(site: Site, after_delivery: Scene) -> None:
    seg = seg_in(site.pacs)
    seg.SeriesInstanceUID = seg.SOPInstanceUID = "2.25.123"
    said = failure_of(after_delivery, "Results kept")
    assert "but 1 series that nobody sent: it gives objects new UIDs" in said


def test_pacs_that_coerces_results_only_fails_at_results_unchanged(site: Site, after_delivery: Scene) -> None:
    seg_in(site.pacs).PatientName = "Doe^Jane"
    said = failure_of(after_delivery, "Results kept", "Fetched", "Results unchanged")
    assert "PatientName TEST^IRIS^NO PATIENT to Doe^Jane" in said


def test_pacs_that_exchanges_left_and_right_fails_at_voxels(site: Site, after_delivery: Scene) -> None:
    seg = seg_in(site.pacs)
    flipped = np.flip(seg.pixel_array, -1)
    seg.PixelData = np.packbits(flipped.ravel(), bitorder="little").tobytes()
    said = failure_of(after_delivery, "Results kept", "Fetched", "Results unchanged", "Voxels")
    assert said.startswith("axial, compared with the label map that the gateway kept: ")
    assert "left and right are exchanged" in said


@pytest.mark.parametrize("even_grid", [False, True])
def test_frames_that_lie_elsewhere_fail_at_voxels(
    site: Site, after_delivery: Scene, monkeypatch: pytest.MonkeyPatch, even_grid: bool
) -> None:
    config = site.config.model_copy(
        update={"seg": site.config.seg.model_copy(update={"even_grid": even_grid})}
    )
    monkeypatch.setattr(after_delivery.gateway, "config", config)
    for groups in seg_in(site.pacs).PerFrameFunctionalGroupsSequence:
        groups.PlanePositionSequence[0].ImagePositionPatient[0] += 0.5
    said = failure_of(after_delivery, "Results kept", "Fetched", "Results unchanged", "Voxels")
    assert said.startswith("the segmentation of axial: a frame of it does not lie on the slices")


def test_one_wrong_voxel_is_found(site: Site, after_delivery: Scene) -> None:
    seg = seg_in(site.pacs)
    pixels = seg.pixel_array.copy()
    pixels[len(pixels) // 2, 56, 60] ^= 1
    seg.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    said = failure_of(after_delivery, "Results kept", "Fetched", "Results unchanged", "Voxels")
    assert "1 of 403200 voxels are wrong" in said or "two of its segments share a voxel" in said


def test_with_another_engine_the_label_map_alone_is_compared_and_that_is_said(
    after_delivery: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.prove.at_gateway.MADE_FOR", ("another", "tissue"))
    for name in ("Results kept", "Fetched", "Results unchanged", "Voxels"):
        assert STEPS[name](after_delivery).verdict is Verdict.PASSED
    of_map, not_judged = after_delivery.report.proven
    assert "is that of the engine's own label map at the same place in mm" in of_map
    assert "finds in balls is not judged" in not_judged


def test_pacs_that_is_asked_for_commitment_and_offers_none_is_a_remark(
    site: Site, after_delivery: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commitment(after_delivery).text.startswith("it offers none to this AE title")
    asked = [each.model_copy(update={"commitment": True}) for each in site.config.destination]
    monkeypatch.setattr(
        after_delivery.gateway, "config", site.config.model_copy(update={"destination": asked})
    )
    found = commitment(after_delivery)
    assert found.verdict is Verdict.NOTED
    assert found.fix == "switch it on there, or set commitment = false"


def test_pacs_that_refuses_segmentations_fails_at_delivered_with_what_to_set(
    site: Site, tmp_path: Path
) -> None:
    site.pacs.refuses = frozenset({str(SegmentationStorage)})
    scene = site.scene(tmp_path, **TAKEN)
    said = failure_of(scene, "Sent", "Routed", "Chosen", "Segmented", "Delivered")
    assert said.startswith("seg to pacs is failed: ")
    assert "Segmentation Storage (1.2.840.10008.5.1.4.1.1.66.4)" in said
    assert "; add a supported context for it there" in said


# -- forms ------------------------------------------------------------------------------------------------


def test_forms_that_a_pacs_refuses_are_remarks_and_one_that_it_loses_is_a_failure(
    site: Site, tmp_path: Path
) -> None:
    site.pacs.refuses = frozenset({"1.2.840.10008.5.1.4.1.1.66.7"})
    site.pacs.keeps = lambda made: None if made.Modality == "SR" else made
    scene = site.scene(tmp_path)
    with pytest.raises(StationFailed, match="it takes SR, and does not keep what was sent"):
        forms_kept(scene)
    found = {form.name: form for form in scene.report.forms}
    verdicts = {Verdict.PASSED: ["BINARY", "RTSTRUCT", "SC", "PDF"], Verdict.FAILED: ["SR"]}
    for verdict, names in verdicts.items():
        assert [form.name for form in scene.report.forms if form.verdict is verdict] == names
    assert "Label Map Segmentation Storage" in found["LABELMAP"].finding
    assert (
        found["LABELMAP"].fix
        == "add a supported context for it there; or nothing: the gateway sends BINARY instead"
    )
    assert duplicates(scene).text.endswith("and it keeps the first one")


def test_pacs_that_breaks_off_at_long_pdus_fails_with_the_form_that_needs_them(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.prove.forms.TRIALS", [one for one in TRIALS if one.name == "SC"])
    site.pacs.breaks_at_bytes = 16300
    scene = site.scene(tmp_path)
    with pytest.raises(StationFailed, match="takes smaller PDUs than it negotiated"):
        forms_kept(scene)
    assert scene.report.forms[0].finding.startswith("it broke the association off while 57")


# -- what a person may say ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--set", "Stationname=CT1"), "is no DICOM keyword with a value"),
        (("--set", "StudyInstanceUID=1.2.3"), "StudyInstanceUID stays as it is"),
        (("--set", "PixelSpacing=1"), "PixelSpacing stays as it is"),
        (("--listen", "IRIS"), "is not of the form AE:PORT"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(option: tuple[str, str], said: str) -> None:
    ended = CliRunner().invoke(app, ["prove", "--to", "PACS@127.0.0.1:104", *option])
    assert ended.exit_code == 2
    assert said in " ".join(re.sub("[│╭╮╰╯─]", " ", ended.output).split())


def test_without_a_gateway_nothing_is_sent_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["prove", "--to", "PACS@127.0.0.1:104"])
    assert ended.exit_code == 1
    assert "FAILED at the station Gateway: no gateway is running on this data directory" in ended.output
    assert (tmp_path / "iris-prove.pdf").is_file()
