"""What every engine has to keep, kept by those that need torch."""

from typing import Any, ClassVar

import pytest

from batch_job.conformance import EngineConformance


class TestTotalSegmentator(EngineConformance):
    """The engine `totalsegmentator` with its fast model, one network."""

    engine = "totalsegmentator"
    options: ClassVar[dict[str, Any]] = {"fast": True}

    def take_away(self, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Take the weights away."""
        monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", "nowhere")
        return True
