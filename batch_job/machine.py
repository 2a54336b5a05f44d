"""The machine that a run holds, from its begin on: what its cost is reckoned from."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from .contract import MachineUse
from .ec2_metadata import Machine


class HeldMachine:
    """A machine, held from now on.

    Parameters
    ----------
    root
        Where `/proc` and `/dev` lie.
    """

    def __init__(self, machine: Machine, root: Path = Path("/")) -> None:
        self.machine = machine
        self._has_gpu = any((root / "dev").glob("nvidia[0-9]*"))
        self._up_s = _up_s(root) if machine.instance else None
        self._begun_at = datetime.now(UTC)
        self._since = time.monotonic()

    def use(self, seconds: Mapping[str, float]) -> MachineUse:
        """What was held until now; `seconds` are those of the stages."""
        return MachineUse(
            instance=self.machine.instance,
            zone=self.machine.zone,
            is_spot=self.machine.is_spot,
            up_s=self._up_s,
            begun_at=self._begun_at,
            machine_s=round(time.monotonic() - self._since, 2),
            gpu_s=round(seconds.get("segment", 0.0), 2) if self._has_gpu else 0.0,
        )


def _up_s(root: Path) -> float | None:
    """For how long the machine has been up, which a container sees as the machine does; None: not known."""
    try:
        return float((root / "proc" / "uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
