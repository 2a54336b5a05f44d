"""What Python and libraries print by themselves says nothing of a patient: in the gateway and in the job."""

import json
import subprocess
import sys

import pytest

PLANTED = "MUELLER-HANS-1961"

GATEWAY = """
from gateway.logs import configure_logging
from gateway.quiet_python import quieten_python
configure_logging()
quieten_python()
"""
JOB = """
from batch_job.quiet import quieten_python
quieten_python()
"""

PROGRAM = """
import logging, threading, warnings
{begin}
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
planted = "{planted}"
warnings.warn(planted)
{logging}
for vr in "AE AS CS DA DS DT IS LO PN SH TM UI UR FD US AT SQ".split():
    try:
        header = Dataset()
        tag = Tag(0x00091000)
        header[tag] = RawDataElement(tag, vr, 2 * len(planted), (planted * 2).encode(), 0, False, True)
        str(header)
    except Exception:
        pass
def fail():
    raise ValueError(planted)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""


@pytest.mark.parametrize("begin", [GATEWAY, JOB], ids=["gateway", "job"])
def test_nothing_that_is_printed_holds_a_value(begin: str) -> None:
    said_by_library = "logging.getLogger('any').error(planted)" if begin == GATEWAY else ""
    program = PROGRAM.format(begin=begin, planted=PLANTED, logging=said_by_library)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "MUELLER" not in ended.stdout + ended.stderr
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    failed = [line for line in lines if line.get("error") == "ValueError"]
    assert len(failed) == 2  # the thread and the program
    assert all(line["places"] for line in failed)
    assert any(line["event"] == "warning" for line in lines)
