"""A process that was started without standard streams."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, subprocess, sys
from gateway.standard_streams import open_closed_streams
open_closed_streams()
print("said")
print("said", file=sys.stderr)
child = [sys.executable, "-c", "import sys; print('said', file=sys.stderr)"]
code = subprocess.run(child).returncode
with open(sys.argv[1], "w") as opened:
    places = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
    print(opened.fileno(), code, *places, file=opened)
"""


def test_closed_streams_lead_nowhere_and_their_numbers_are_not_used_for_files(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = [sys.executable, "-c", PROGRAM, str(told)]
    subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *program], check=True, timeout=60)
    number, code, *places = told.read_text().split()
    assert int(number) > 2
    assert (code, places) == ("0", ["/dev/null"] * 3)
