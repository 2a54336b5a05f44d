"""What the start of the gateway loads before the first sender is answered: nothing that takes long else."""

import subprocess
import sys

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
)
"""Loaded when it is needed; each takes a tenth of a second and more."""


def test_gateway_is_put_together_without_what_no_sender_waits_for() -> None:
    program = f"import sys, gateway.app; print([name for name in {LATER} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
