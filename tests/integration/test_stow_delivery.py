"""Results that go to Orthanc by STOW-RS, as `docs/pacs.md` has it."""

import re
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.adapters.checks import Check, Verdict
from gateway.commands.doctor import _asked
from gateway.config import Config
from gateway.delivery.carriers.carrier import Outcome
from gateway.delivery.carriers.catalogue import carrier_of
from gateway.delivery.carriers.stow import StowCarrier
from gateway.demo.orthanc import Orthanc, find_orthanc
from tests.conftest import ROOT, find_dicomweb
from tests.unit.delivery.test_carriers import write_seg

pytestmark = pytest.mark.peer("orthanc", "orthanc-dicomweb")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    program, plugin = find_orthanc(), find_dicomweb()
    assert program
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc"), program, configuration={"Plugins": [plugin]})
    orthanc.start()
    yield orthanc
    orthanc.stop()


@pytest.fixture
def config(orthanc: Orthanc, tmp_path: Path) -> Config:
    """The documented destination, at this Orthanc."""
    text = (ROOT / "docs" / "pacs.md").read_text(encoding="utf-8")
    (block,) = [found for found in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "stow = " in found]
    (destination,) = tomllib.loads(block)["destination"]
    address, (user, password) = orthanc.rest
    (tmp_path / "password").write_text(f"{password}\n")
    assert destination["stow"].endswith("/dicom-web")
    found = {**destination, "stow": f"{address}/dicom-web", "user": user}
    del found["tls"]
    return Config(destination=[{**found, "password_file": str(tmp_path / "password")}])


@pytest.fixture
def carrier(config: Config) -> StowCarrier:
    carrier = carrier_of(config, config.destination[0])
    assert isinstance(carrier, StowCarrier)
    return carrier


def test_objects_arrive_as_they_were_sent_alone_together_and_again(
    orthanc: Orthanc, carrier: StowCarrier, tmp_path: Path
) -> None:
    segs = [write_seg(tmp_path / f"{number}.dcm", "1.2.8", f"1.2.8.{number}") for number in range(4)]
    implicit = dcmread(segs[3])
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    implicit.save_as(segs[3], implicit_vr=True, little_endian=True)
    outcomes = [carrier.carry(segs[0]), *carrier.carry_some(segs).values(), carrier.carry(segs[0])]
    assert [receipt.outcome for receipt in outcomes] == [Outcome.ARRIVED] * 6
    base, auth = orthanc.rest
    with httpx.Client(base_url=base, auth=auth, trust_env=False, verify=False) as rest:
        kept = {rest.get(f"/instances/{key}/file").content for key in rest.get("/instances").json()}
    assert kept > {path.read_bytes() for path in segs[:3]}
    (written,) = kept - {path.read_bytes() for path in segs}
    (tmp_path / "kept.dcm").write_bytes(written)
    assert dcmread(tmp_path / "kept.dcm") == implicit
    assert dcmread(tmp_path / "kept.dcm").file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_damaged_object_among_others_is_refused_and_they_are_stored(
    carrier: StowCarrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (write_seg(tmp_path / f"{name}.dcm", "1.2.9", f"1.2.9.{name}") for name in "12")
    contents = {good: good.read_bytes(), bad: b"\0" * 128 + b"DICM" + b"garbage" * 9}
    monkeypatch.setattr("gateway.adapters.dicomweb._part", contents.get)  # nobody reads it before
    assert {path: receipt.outcome for path, receipt in carrier.carry_some([good, bad]).items()} == {
        good: Outcome.ARRIVED
    }
    assert carrier.carry(bad).outcome is Outcome.REFUSED


def test_doctor_says_that_it_answers_and_what_to_do_where_it_does_not(config: Config) -> None:
    (destination,) = config.destination

    def says() -> Check:
        return _asked("destination", partial(carrier_of, config, destination))

    assert (says().verdict, says().finding) == (Verdict.OK, f"STOW-RS at {destination.stow} answers a search")
    Path(destination.password_file).write_text("another")
    assert says().verdict is Verdict.FAILED
    assert says().fix.startswith("renew what token_file, or password_file, has in it")


def test_orthanc_deletes_nothing_by_dicomweb_and_says_so(carrier: StowCarrier, tmp_path: Path) -> None:
    seg = write_seg(tmp_path / "seg.dcm", "1.2.11", "1.2.11.1")
    assert carrier.carry(seg).outcome is Outcome.ARRIVED
    receipt = carrier.remove(seg)
    assert receipt.outcome is Outcome.REFUSED
    assert receipt.sentence.endswith("removes nothing by DICOMweb")
    never_sent = write_seg(tmp_path / "other.dcm", "1.2.11", "1.2.11.2")
    assert carrier.remove(never_sent).outcome is Outcome.ARRIVED
