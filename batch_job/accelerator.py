"""What an engine computed with: torch and CUDA, where it loaded torch, and the driver under them."""

import re
import sys
from pathlib import Path
from typing import Final

from .contract import Accelerator

DRIVER: Final = Path("/proc/driver/nvidia/version")
_VERSION: Final = re.compile(r"\s(\d{3}\.[\d.]+)\s")


def accelerator_used(driver: Path = DRIVER) -> Accelerator | None:
    """Which one; None where no engine in this process loaded torch.

    Parameters
    ----------
    driver
        What NVIDIA's kernel module says of itself; there is none without one.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    device = str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""
    return Accelerator(
        torch=str(torch.__version__),
        cuda=str(torch.version.cuda or ""),
        driver=_version_in(driver),
        device=device,
    )


def _version_in(driver: Path) -> str:
    try:
        found = _VERSION.search(driver.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""
