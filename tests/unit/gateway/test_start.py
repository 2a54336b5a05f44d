"""What the start of the gateway loads before the first sender is answered: nothing that takes long else."""

import os
import subprocess
import sys
from pathlib import Path

import gateway

LATER = (
    "fastapi",
    "starlette",
    "uvicorn",
    "highdicom",
    "skimage",
    "scipy.ndimage",
    "boto3",
    "torch",
    "httpx",
    "pydicom.sr",
)
"""Loaded when it is needed; each takes a tenth of a second and more, and the last, tables of codes, 20 MB."""

AFTER_THE_PORT = (
    "numpy",
    "pydicom",
    "pynetdicom",
    "nibabel",
    "structlog",
    "gateway.app",
    "gateway.ledger.store",
)
"""Loaded while who calls waits at the open port."""
PORT_ONLY = f"""
import sys
from pathlib import Path
import gateway.listener.door.port as module

def opened(host, port):
    print([name for name in {AFTER_THE_PORT} if name in sys.modules])
    raise SystemExit

module.open_port = opened
from gateway.cli import main
main()
"""


def test_port_is_open_before_anything_is_loaded_that_takes_long(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PORT_ONLY, "serve"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(gateway.__file__).parent.parent)},
    )

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_gateway_is_put_together_without_what_no_sender_waits_for() -> None:
    program = f"import sys, gateway.app; print([name for name in {LATER} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
