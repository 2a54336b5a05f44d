"""What every engine has to keep, kept by those that need torch."""

from pathlib import Path
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


class TestNnUnet(EngineConformance):
    """The engine `nnunet` with a model of two folds, whose patches are smaller than the image."""

    engine = "nnunet"
    task = "Dataset501_Tissues"

    @pytest.fixture(autouse=True)
    def model(self, own_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IRIS_ENGINE__MODEL", str(own_model))

    def take_away(self, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Look for the weights where none are."""
        monkeypatch.setattr("batch_job.catalogue.trained_model.CHECKPOINT", "checkpoint_none.pth")
        return True
