"""The auto-routing scripts of docs/pacs.md, run by a real Orthanc."""

import re
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from gateway.delivery.sending import send_files
from gateway.demo.orthanc import Orthanc, find_orthanc
from gateway.demo.pacs import choose_pacs

DOCUMENT = Path(__file__).parents[2] / "docs" / "pacs.md"
DEADLINE_S = 60.0


def _script(function: str) -> str:
    scripts = re.findall(r"```lua\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [script for script in scripts if f"function {function}(" in script]
    return str(found)


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("function", ["OnStableStudy", "OnStoredInstance"])
def test_orthanc_with_the_documented_script_forwards_a_study_as_it_is_stored(
    function: str, tmp_path: Path, demo_study: Path
) -> None:
    script = tmp_path / "to-iris.lua"
    script.write_text(_script(function), encoding="utf-8")
    files = sorted(demo_study.glob("*.dcm"))
    program = find_orthanc()
    assert program
    receiver = choose_pacs("builtin", tmp_path / "receiver")
    receiver.start()
    router = Orthanc(
        tmp_path / "router",
        program,
        configuration={
            "LuaScripts": [str(script)],
            "StableAge": 1,
            "DicomModalities": {
                "iris": ["IRIS", receiver.peer.host, receiver.peer.port],
                "sender": ["DEMOPACS", "127.0.0.1", 104],
            },
        },
    )
    try:
        router.start()
        send_files(files, router.peer, "DEMOPACS")
        stored = tmp_path / "receiver" / "storage"
        deadline = time.monotonic() + DEADLINE_S
        while len(list(stored.glob("*.dcm"))) < len(files):
            assert time.monotonic() < deadline, router.log.read_text()[-2000:]
            time.sleep(0.1)
        arrived = [dcmread(path) for path in stored.glob("*.dcm")]
    finally:
        router.stop()
        receiver.stop()
    assert {one.SOPInstanceUID for one in arrived} == {dcmread(path).SOPInstanceUID for path in files}
    assert {one.file_meta.TransferSyntaxUID for one in arrived} == {JPEG2000Lossless}
