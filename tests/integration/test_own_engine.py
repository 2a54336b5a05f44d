"""A study through the whole gateway with a program of one's own as its engine."""

import time
from collections.abc import Callable
from pathlib import Path

from pydicom import dcmread

from gateway.adapters.dicom.peer import Peer
from gateway.app import App
from gateway.config import Config
from gateway.delivery.sending import send_files
from tests.own_engines import write_program

DEADLINE_S = 60.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_study_goes_through_a_program_of_ones_own_and_comes_back_with_its_names_and_codes(
    tmp_path: Path, small_study: Path
) -> None:
    command = write_program(tmp_path)
    (tmp_path / "share").mkdir()
    gateway = App(
        Config(
            site={"data_dir": tmp_path / "data", "low_water_mb": 0},
            dicom={"port": 0},
            api={"port": 0},
            study={"quiet_s": 0.1},
            engine={"name": "container", "command": command, "task": "bands", "version": "3"},
            destination=[{"name": "share", "folder": str(tmp_path / "share")}],
        )
    )
    gateway.start()
    try:
        host, port = gateway.listener.address
        send_files(sorted(small_study.glob("*.dcm")), Peer("IRIS", host, port), "TEST")
        until(lambda: list((tmp_path / "share").rglob("*.dcm")))
    finally:
        gateway.stop()
    (path,) = (tmp_path / "share").rglob("*.dcm")
    made = dcmread(path)
    assert "IRIS bands (research)" in made.SeriesDescription
    segments = {segment.TrackingID: segment for segment in made.SegmentSequence}
    assert segments.keys() == {"bone", "aerated lung"}
    (algorithm,) = segments["bone"].SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "container bands"
    assert algorithm.AlgorithmVersion.startswith("3 python")
    (known,) = segments["bone"].SegmentedPropertyTypeCodeSequence
    (said,) = segments["aerated lung"].SegmentedPropertyTypeCodeSequence
    assert (known.CodingSchemeDesignator, known.CodeMeaning) == ("SCT", "Bone")
    assert (said.CodingSchemeDesignator, said.CodeValue) == ("SCT", "39607008")  # as the program's table says
